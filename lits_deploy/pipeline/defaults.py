"""Every number of the pipeline that trades speed for something, in one place; those of decoding: `decode.settings`.

They change when something happens, never what is in the tables.
"""

from __future__ import annotations

from lits_deploy.machine import cores

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

COMMIT_EVERY_S = 0.25
"""Answers wait at most this long for the ledger: those of a process that is killed are computed again. A commit for
each batch of eight takes a quarter more of the main thread (2,000 JPEGs at INT8: 0.40 s, not 0.33 s)."""

PROGRESS_EVERY_S = 0.1
"""Least time between two calls of `on_progress`."""

PAGE = 512
"""Pending files read from the ledger at once."""


def default_batch(device: str) -> int:
    """Slices in a batch for a device's name as RuntimeInfo has it."""
    return CPU_BATCH if device == "cpu" else GPU_BATCH


def default_lanes(threads: int) -> int:
    """Lanes for so many CPU threads; 0 threads are every core."""
    return min(MOST_LANES, threads or cores())
