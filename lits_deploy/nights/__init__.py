"""Whole nights against the training series, and against each other: does the distribution of series differ?

    night      the series of an OUT, in numbers and words (`lits_deploy.drift`), from its ledger alone
    compare    two-sample tests over series, false discoveries controlled; needs SciPy, as nothing else here does
    smallest   the smallest shift that such a test would find
    page       all of it as one HTML page

One series a study counts, the longest: those of one patient are no witnesses of their own. It lies in `lits_deploy` and
not in `benchmarks`, because an OUT holds patients' data, and stays where it was made.
"""

from __future__ import annotations
