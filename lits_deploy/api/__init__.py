"""What `import lits_deploy` offers to programs (docs/python.md); the command line's own steps, and nothing printed.

    paths        bundles, scans and folders as callers name them
    parameters   errors that name parameters, not options of the command line
    answers      what is said of a slice, and of a series
    open_network a bundle's network, open for arrays: what classifier and segmenter share
    classifier   arrays and series → classes; segmenter: arrays and series → masks
    series       one series, read from files: what both take of the run that answers it
    folders      folders of scans → tables, as `classify`, `segment` and `scan` do it
    tables       the tables that a run wrote, read again

`lits_deploy/__init__.py` names what is public. CHANGELOG.md lists changes to that.
"""
