"""Every number of the pipeline that trades speed for something, in one place.

They change when something happens, never what is in the tables.
"""

from __future__ import annotations

import math

from lits_deploy.machine import cores

QUEUE_DEPTH = 8
"""Files handed to a worker ahead of need, so that it does not wait for a parent that waits for a core.

2,875 JPEGs on two overloaded cores: 5.5 s at 4, 4.5 s at 8, 4.5 s at 16.
"""

SPARE_BUFFERS = 2
"""Batches in memory beside those that the network is at: one ready, one filling."""

MOST_LANES = 4
"""Batches that a CPU computes at once, each on its share of the threads.

FP32 ResNet18 from JPEGs on two cores, OpenVINO, batch 8: 128 slices/s with one lane, 134 with two; INT8: 428 and 474.
"""

CPU_BATCH, GPU_BATCH = 8, 32
"""Default slices in a batch."""

CPU_BATCHES, GPU_BATCHES = (1, 2, 4, 8, 16, 32), (8, 16, 32, 64, 128)
"""Batch sizes that `--tune` tries."""

MOST_BATCH = 128
"""Largest batch size that there is room for unless the user asks for more."""

COMMIT_EVERY_S = 1.0
"""Failed files wait at most this long for the ledger; slices are written batch by batch."""

GROW_EVERY_S, STARVED = 0.5, 0.2
"""Every so often one more decode worker is started if the network has waited for more than this share of the time."""

PROGRESS_EVERY_S = 0.1
"""Least time between two calls of `on_progress`."""

LOT = 16
"""Files of one slice in a row that one worker gets where each is another's neighbour: of 3 channels it then decodes
18 for 16, in place of 2 (of two workers) or 3 (of more) for each.
"""

PAGE = 512
"""Pending files read from the ledger at once."""

WORKER_START_S = 60.0
"""Longest start of a worker (numpy and Pillow from a cold network disk) before it counts as failed."""


def default_workers(*, spare: int = 1) -> int:
    """One core is left to the network; four workers feed any of them. spare: cores left to others."""
    return max(1, min(4, cores() - spare))


def most_workers() -> int:
    """How many decode workers a run may grow to while the network waits for them: one a core, up to eight."""
    return max(default_workers(), min(8, cores()))


def default_batch(device: str) -> int:
    """Slices in a batch for a device's name as RuntimeInfo has it."""
    return CPU_BATCH if device == "cpu" else GPU_BATCH


def default_lanes(threads: int) -> int:
    """Lanes for so many CPU threads; 0 threads are every core."""
    return min(MOST_LANES, threads or cores())


def buffers_for(workers: int, batch: int, lanes: int = 1) -> int:
    """Buffers that keep every worker's queue leased while each lane has its batch and the next one is ready."""
    return max(lanes + SPARE_BUFFERS, math.ceil(workers * QUEUE_DEPTH / batch) + lanes + 1)
