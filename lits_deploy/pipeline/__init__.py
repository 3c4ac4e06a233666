"""A folder of scans through a network: discover → decode → batch → infer → write.

`lits_deploy.pipeline.run.run_folder` is the entry.

    run         the whole of a run, station by station
    context     what all stations know
    intake      which files a start has to answer: its listing against the ledger
    network     which file of the bundle it is, and how it is opened;  identity: what a run is known by
    loop        the one thread that owns the ledger: slices from `decode` to the network, answers to the ledger
    inference   the threads that own the network
    conclude    tables, what follows them, run.json (`record`), the summary
    stop        how Ctrl-C gets in;  tuning: every number that trades speed
"""
