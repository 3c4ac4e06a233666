"""Beyond one machine: a plan of shards, shards done anywhere, and their answers merged into one output folder.

    job_folder  JOB's layout: the plan, its record, and the ledgers of shards that are published
    plan, cut   scans are listed once, and whole series are cut into shards
    plan_listing rows of a plan as a `scans.listing.Listing`
    shard       one shard through the ordinary pipeline, and its ledger published in one step
    merge       published shards → the output folder that one machine would have written
    scheduler   hands shards out to a crew of workers: `devices` of this machine or a `ray_cluster`
    spread      plan, work and merge in one command

What works on the shards, and how many do, changes no result: a shard is the ordinary pipeline over listed files, and a
merge is an ordinary run whose answers come out of the shards' ledgers (`ledger.absorb`).
"""
