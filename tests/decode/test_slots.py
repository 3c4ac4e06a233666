"""The book of slots: nothing is lost, nothing is shared, whatever the order of events."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lits_deploy.decode.slots import Slots, create_memory, map_slots


def make(buffers: int = 3, batch: int = 4) -> Slots[int]:
    return Slots(np.zeros((buffers * batch, 1, 2, 2), np.uint8), buffers=buffers, batch=batch)


def fill(slots: Slots[int], tag: int) -> int:
    slot = slots.lease()
    assert slot is not None
    slots.memory[slot] = tag
    slots.fill(slot, tag)
    return slot


def test_a_full_buffer_is_ready_once_and_comes_back() -> None:
    slots = make()
    for tag in range(4):
        assert not list(slots.take_ready(end_of_input=False))
        fill(slots, tag)
    (batch,) = slots.take_ready(end_of_input=False)
    assert batch.tags == (0, 1, 2, 3)
    assert not list(slots.take_ready(end_of_input=False))
    for tag in range(8):
        fill(slots, tag)
    assert slots.lease() is None  # two ready, one with the network
    slots.release(batch)
    assert slots.lease() is not None


def test_a_slot_given_back_is_filled_by_the_next_slice() -> None:
    slots = make()
    first = slots.lease()
    assert first is not None
    slots.give_back(first)
    assert fill(slots, 1) == first


def test_a_lease_holds_one_buffer_and_the_others_go_on() -> None:
    slots = make()
    hung = slots.lease()
    assert hung is not None
    for tag in range(11):
        fill(slots, tag)
    ready = list(slots.take_ready(end_of_input=True))
    assert [len(batch.tags) for batch in ready] == [4, 4]
    slots.give_back(hung)
    (last,) = slots.take_ready(end_of_input=True)
    assert len(last.tags) == 3


def test_at_the_end_holes_are_closed_with_the_last_slices() -> None:
    slots = make(buffers=1)
    leases = [slots.lease() for _ in range(4)]
    for lease, tag in zip(leases[1:3], (7, 8), strict=True):
        assert lease is not None
        slots.memory[lease] = tag
        slots.fill(lease, tag)
    for lease in (leases[0], leases[3]):
        assert lease is not None
        slots.give_back(lease)
    assert not list(slots.take_ready(end_of_input=False))
    (batch,) = slots.take_ready(end_of_input=True)
    assert sorted(batch.tags) == [7, 8]
    assert [int(pixels.max()) for pixels in batch.pixels] == list(batch.tags)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5), st.integers(3, 5), st.integers(0, 60), st.integers())
def test_every_slice_reaches_the_network_once_with_its_pixels(batch: int, buffers: int, count: int, seed: int) -> None:
    dice = random.Random(seed)
    slots, todo = make(buffers, batch), list(range(count))
    leased: list[int] = []
    seen: list[int] = []
    while todo or leased:
        while todo and (slot := slots.lease()) is not None:
            leased.append(slot)
            if dice.random() < 0.3:
                break
        if leased:
            slot = leased.pop(dice.randrange(len(leased)))
            if todo and dice.random() < 0.7:
                tag = todo.pop()
                slots.memory[slot] = tag
                slots.fill(slot, tag)
            else:
                slots.give_back(slot)
        for ready in slots.take_ready(end_of_input=not todo and not leased):
            assert ready.pixels[:, 0, 0, 0].tolist() == list(ready.tags)
            seen += ready.tags
            slots.release(ready)
    assert sorted(seen) == list(range(count))


def test_memory_is_shared_by_descriptor_and_has_no_name() -> None:
    fd = create_memory(8 * 4)
    one, two = map_slots(fd, 8, (1, 2, 2)), map_slots(fd, 8, (1, 2, 2))
    os.close(fd)
    one[3] = 42
    assert int(two[3].max()) == 42
    assert "/dev/shm" not in Path("/proc/self/maps").read_text()


def test_memory_without_memfd_is_an_unlinked_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    fd = create_memory(32)
    map_slots(fd, 8, (1, 2, 2))[1] = 5
    assert os.fstat(fd).st_nlink == 0
    assert int(map_slots(fd, 8, (1, 2, 2))[1].max()) == 5
    os.close(fd)


def test_more_slots_than_memory_is_a_bug() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        Slots(np.zeros((3, 1, 2, 2), np.uint8), buffers=2, batch=2)
