"""What decoding may take of a machine, and every number of it that trades speed for something.

They change when something happens, never what is in the tables.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from lits_deploy.contract import InputContract
from lits_deploy.machine import cores
from lits_deploy.scans import READING, Reading
from lits_deploy.scans.containment import Within

QUEUE_DEPTH = 8
"""Files handed to a worker ahead of need, so that it does not wait for a parent that waits for a core.

2,875 JPEGs on two overloaded cores: 5.5 s at 4, 4.5 s at 8, 4.5 s at 16.
"""

SPARE_BUFFERS = 2
"""Batches in memory beside those that the network is at: one ready, one filling."""

GROW_EVERY_S, STARVED = 0.5, 0.2
"""Every so often one more worker is started if who takes the slices has waited for more than this share of the time."""

LOT = 16
"""Files of one slice in a row that one worker gets where each is another's neighbour: of 3 channels it then decodes
18 for 16, in place of 2 (of two workers) or 3 (of more) for each.
"""

WORKER_START_S = 60.0
"""Longest start of a worker (numpy and Pillow from a cold network disk) before it counts as failed."""


def default_workers() -> int:
    """One core is left to the network; four workers feed any of them."""
    return max(1, min(4, cores() - 1))


def most_workers() -> int:
    """How many workers there may be while the network waits for them: one a core, up to eight."""
    return max(default_workers(), min(8, cores()))


def buffers_for(workers: int, batch: int, lanes: int = 1) -> int:
    """Buffers that keep every worker's queue leased while each lane has its batch and the next one is ready."""
    return max(lanes + SPARE_BUFFERS, math.ceil(workers * QUEUE_DEPTH / batch) + lanes + 1)


@dataclass(frozen=True, kw_only=True)
class DecodeSettings:
    """How to decode.

    contract: what slices look like. workers: processes at the start, None chooses for this machine, where they also
    grow in number while they are waited for. time_limit_s, memory_limit_mib: what one file may take. within: where
    files have to lie (`scans.containment`). preload: reader modules to import before the first file.
    most_batch, most_lanes: the largest that `Decoding.run` will be asked for; unused memory is never touched.
    """

    contract: InputContract
    workers: int | None = None
    time_limit_s: float = 30.0
    memory_limit_mib: int = 1024
    reading: Reading = READING
    within: Within = None
    objects: bool = False
    preload: tuple[str, ...] = ()
    most_batch: int = 8
    most_lanes: int = 1

    @cached_property
    def first_workers(self) -> int:
        """Workers to start with."""
        return self.workers or default_workers()

    @cached_property  # it is looked at in every turn, and cores are counted in files
    def most_workers(self) -> int:
        """Workers that there may come to be."""
        return self.workers or most_workers()

    @property
    def room(self) -> int:
        """Slots for any batch size that may come."""
        sizes = range(1, self.most_batch + 1)
        return max(buffers_for(self.most_workers, batch, self.most_lanes) * batch for batch in sizes)
