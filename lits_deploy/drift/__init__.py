"""Is a series like those that the network was trained on?

    portrait   a series in some twenty numbers and a few words, from what the ledger has of its slices
    features   what each of these numbers is called, and on which scale it is compared
    reference  these numbers of the series that a network was trained on, as its bundle keeps them
    compare    one series against a reference: unlike, or not, and in what

Everything is a function of the ledger, so a page drawn again says the same. What compares whole nights, with SciPy, is
`lits_deploy.nights`. Needs numpy alone.
"""

from __future__ import annotations
