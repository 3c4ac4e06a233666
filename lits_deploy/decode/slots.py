"""The batch buffers: shared memory that decode workers write into, and the book of who may write where.

A *slot* is room for one slice, uint8 [C, S, S]; a *buffer* is `batch` slots in a row, handed to the network as it
lies. The parent *leases* a slot to a worker. The worker fills it (the slot then carries a tag: whose slice it is) or
the parent takes it back. A buffer is ready when none of its slots is free or leased; at the end of the input, when
none is leased and its holes have been closed. A decoder that hangs so blocks one buffer, and the others go on.

The memory is anonymous (memfd, or a file that is unlinked at once) and passed by descriptor: nothing to find in
/dev/shm, nothing left there after kill -9, and a restarted worker attaches like the first.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

Tag = TypeVar("Tag")
Slices = npt.NDArray[np.uint8]
"""Uint8 [N, C, S, S]."""


def create_memory(size: int) -> int:
    """Descriptor of `size` bytes of anonymous shared memory; pages are taken when they are first written."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("lits-deploy-slots", os.MFD_CLOEXEC)
    else:
        fd, name = tempfile.mkstemp(prefix="lits-deploy-slots-")
        os.unlink(name)  # noqa: PTH108
    os.ftruncate(fd, size)
    return fd


def map_slots(fd: int, slots: int, shape: tuple[int, int, int]) -> Slices:
    """The memory behind a descriptor as uint8 [slots, C, S, S]; unmapped when the last array on it is gone."""
    return np.frombuffer(mmap.mmap(fd, slots * int(np.prod(shape))), dtype=np.uint8).reshape(slots, *shape)


@dataclass
class _SlotBuffer(Generic[Tag]):
    first: int
    free: list[int]
    leased: set[int] = field(default_factory=set)
    filled: dict[int, Tag] = field(default_factory=dict)
    busy: bool = False  # with the network


@dataclass(frozen=True)
class ReadyBatch(Generic[Tag]):
    """A ready buffer: `tags[i]` belongs to `pixels[i]`, which lie still until the buffer is released."""

    buffer: int
    pixels: Slices
    tags: tuple[Tag, ...]


class Slots(Generic[Tag]):
    """The book over `buffers` × `batch` slots of `memory` (uint8 [≥ buffers × batch, C, S, S])."""

    def __init__(self, memory: Slices, *, buffers: int, batch: int) -> None:
        if buffers * batch > len(memory):
            raise ValueError(f"{buffers} buffers of {batch} slots do not fit {len(memory)} slots of memory")
        self.memory, self.batch = memory, batch
        self._buffers: list[_SlotBuffer[Tag]] = [
            _SlotBuffer(first=k * batch, free=list(range((k + 1) * batch - 1, k * batch - 1, -1)))
            for k in range(buffers)
        ]

    def lease(self) -> int | None:
        """A slot to write to, from the buffer that is nearest to being full; None when there is none."""
        open_buffers = [buffer for buffer in self._buffers if buffer.free and not buffer.busy]
        if not open_buffers:
            return None
        buffer = min(open_buffers, key=lambda b: len(b.free))
        slot = buffer.free.pop()
        buffer.leased.add(slot)
        return slot

    def give_back(self, slot: int) -> None:
        """End a lease without a slice."""
        buffer = self._of(slot)
        buffer.leased.remove(slot)
        buffer.free.append(slot)

    def fill(self, slot: int, tag: Tag) -> None:
        """End a lease: the slot holds the slice that `tag` names."""
        buffer = self._of(slot)
        buffer.leased.remove(slot)
        buffer.filled[slot] = tag

    def take_ready(self, *, end_of_input: bool) -> Iterator[ReadyBatch[Tag]]:
        """Yield every ready buffer; it is the network's until `release`."""
        for number, buffer in enumerate(self._buffers):
            if buffer.busy or buffer.leased or not buffer.filled or (buffer.free and not end_of_input):
                continue
            self._close_holes(buffer)
            buffer.busy = True
            tags = tuple(buffer.filled[slot] for slot in sorted(buffer.filled))
            yield ReadyBatch(number, self.memory[buffer.first : buffer.first + len(tags)], tags)

    @property
    def any_out(self) -> bool:
        """Whether somebody has a batch."""
        return any(buffer.busy for buffer in self._buffers)

    def release(self, batch: ReadyBatch[Tag]) -> None:
        """The network is done with a buffer: all its slots are free."""
        buffer = self._buffers[batch.buffer]
        buffer.filled.clear()
        buffer.free = list(range(buffer.first + self.batch - 1, buffer.first - 1, -1))
        buffer.busy = False

    def _of(self, slot: int) -> _SlotBuffer[Tag]:
        return self._buffers[slot // self.batch]

    def _close_holes(self, buffer: _SlotBuffer[Tag]) -> None:
        """Move the last slices into the holes, so that the first `len(filled)` slots hold them all."""
        end = buffer.first + len(buffer.filled)
        holes = [slot for slot in range(buffer.first, end) if slot not in buffer.filled]
        for hole in holes:
            last = max(buffer.filled)
            self.memory[hole] = self.memory[last]
            buffer.filled[hole] = buffer.filled.pop(last)
