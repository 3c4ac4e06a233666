"""A folder of scans through a network: discover → decode → batch → infer → write.

`lits_deploy.pipeline.run.run_folder` is the entry. Nothing is imported here, because every decode worker imports
this package on its way to `pipeline.worker`.

    run         the whole of a run: output folder, identity, ledger, tables, run.json
    intake      which files a start has to answer: discovery against the ledger
    loop        the one thread that owns ledger, buffers and workers, and waits on pipes
    workers     the parent's side of the decode processes: hand out, time out, restart, try again
    worker      the child's side: read, decode, write into the slot, answer
    slots       shared memory, and the book of who may write where
    inference   the threads that own the network
    stop        how Ctrl-C gets in;  tuning: every number that trades speed
"""
