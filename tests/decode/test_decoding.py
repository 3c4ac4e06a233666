"""Decoding: slices and ends of files, whatever the workers are up to, in runs that follow each other."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from folder_runs import SIZE, tricks, workers_of
from lits_deploy.contract import InputContract
from lits_deploy.decode.decoding import Batch, Decoding, StoppedError
from lits_deploy.decode.job import Again, DecodeJob, Ended
from lits_deploy.decode.settings import DecodeSettings
from lits_deploy.decode.slots import ReadyBatch as AnyBatch
from lits_deploy.pipeline.stop import Stop

CONTRACT = InputContract(window_hu=None, size=SIZE, crop=56)


def started(stop: Stop | None = None, **more: Any) -> Decoding:
    return Decoding(
        DecodeSettings(**{"contract": CONTRACT, "time_limit_s": 1, "memory_limit_mib": 64, **more}), stop or Stop()
    )


def jobs(folder: Path, *names: str, **more: Any) -> Iterator[DecodeJob]:
    for number, name in enumerate(names):
        yield DecodeJob(number, str(folder / f"{name}.test"), "hostile_reader", name=name, **more)


def read(decoding: Decoding, folder: Path, *names: str, **more: Any) -> dict[str, list[tuple[int, int]] | str]:
    """Name → (index, grey value) of its slices, or why it failed."""
    found: dict[str, list[tuple[int, int]] | str] = {}
    for end, frames in decoding.files(jobs(folder, *names, **more), pixels=True):
        slices = [(one.index, int(one.pixels.max())) for one in frames if one.pixels is not None]
        found[end.job.name] = end.reason or slices
    return found


def test_every_slice_comes_once_and_bad_files_cost_nobody_else(tmp_path: Path) -> None:
    tricks(tmp_path, one="grey 7", many="slices 40", hang="hang", die="die", bad="slices 20 then fail")
    tricks(tmp_path, once=f"slices 30 then die once {tmp_path / 'marker'}")
    with started() as decoding:
        found = read(decoding, tmp_path, "hang", "one", "many", "die", "bad", "once")
        assert found == {
            "one": [(0, 7)],
            "many": [(index, index) for index in range(40)],
            "hang": "decoding took longer than 1 s",
            "die": "the decoder died (signal 11)",
            "bad": "broken on purpose",
            "once": [*((index, index) for index in range(30)), (30, 0)],
        }
        assert decoding.figures.replaced == 4
        assert read(decoding, tmp_path) == {}
        assert read(decoding, tmp_path, "many", only=(3, 39)) == {"many": [(3, 3), (39, 39)]}


def test_slices_of_a_file_come_with_those_beside_them(tmp_path: Path) -> None:
    tricks(tmp_path, many="slices 40")
    with started(contract=replace(CONTRACT, channels=5)) as decoding:
        ((_, frames),) = decoding.files(jobs(tmp_path, "many", only=(0, 20, 39)), pixels=True)
    found = {one.index: one.pixels[:, 0, 0].tolist() for one in frames if one.pixels is not None}
    assert found == {0: [0, 0, 0, 1, 2], 20: [18, 19, 20, 21, 22], 39: [37, 38, 39, 39, 39]}


def test_a_batch_lies_still_until_it_is_released_and_its_files_end_with_it(tmp_path: Path) -> None:
    """Batches are held back as a slow network would, and one file begins anew meanwhile."""
    tricks(tmp_path, a="slices 9", b="slices 20", c=f"slices 5 then die once {tmp_path / 'marker'}", d="slices 3")
    held: list[Batch] = []
    seen: dict[str, list[int]] = {}
    ended: list[str] = []
    with started(workers=1) as decoding:
        for event in decoding.run(jobs(tmp_path, *"abcd"), batch=4):
            if isinstance(event, AnyBatch):
                held.append(event)
            elif isinstance(event, Ended):
                ended.append(event.job.name)
            elif isinstance(event, Again):
                assert event.job.name not in ended
                seen.pop(event.job.name, None)
            elif held:
                batch = held.pop(0)
                for pixels, tag in zip(batch.pixels, batch.tags, strict=True):
                    if tag.counts:
                        assert tag.job.name not in ended
                        value = 0 if (tag.job.name, tag.frame.index) == ("c", 5) else tag.frame.index
                        assert (pixels == value).all()
                        seen.setdefault(tag.job.name, []).append(tag.frame.index)
                ended += [end.job.name for end in decoding.release(batch)]
    assert {name: sorted(found) for name, found in seen.items()} == {
        name: list(range(count)) for name, count in (("a", 9), ("b", 20), ("c", 6), ("d", 3))
    }
    assert sorted(ended) == list("abcd")


def test_a_request_to_stop_waits_for_no_worker(tmp_path: Path) -> None:
    marker, stop = tmp_path / "marker", Stop()
    tricks(tmp_path, slow=f"hang at {marker}", next="grey 1")

    def request() -> None:
        while not marker.exists():
            time.sleep(0.01)
        stop.request()

    asking = threading.Thread(target=request)
    with started(stop, time_limit_s=60, workers=1) as decoding:
        asking.start()
        with pytest.raises(StoppedError):
            read(decoding, tmp_path, "slow")
        asking.join()
        assert not workers_of(), "what is at a file is ended"
        stop.requested = False
        assert read(decoding, tmp_path, "next") == {"next": [(0, 1)]}
    assert not workers_of()


def test_who_leaves_early_can_read_on(tmp_path: Path) -> None:
    tricks(tmp_path, many="slices 500", one="grey 7")
    with started(workers=2) as decoding:
        for event in decoding.run(jobs(tmp_path, "many", "many", "one"), batch=2):
            if event is not None:
                break
        assert read(decoding, tmp_path, "one", "many") == {"one": [(0, 7)], "many": [(k, k % 256) for k in range(500)]}


def test_a_wake_from_another_thread_is_noticed_at_once(tmp_path: Path) -> None:
    tricks(tmp_path, slow="slow 5")
    with started(time_limit_s=60, workers=1) as decoding:
        waits, timers = 0, [threading.Timer(1 + 0.01 * k, decoding.wake) for k in range(100)]
        for timer in timers:
            timer.start()
        for event in decoding.run(jobs(tmp_path, "slow")):
            waits += event is None
            if waits > 30:  # one every half second without
                break
        assert any(timer.is_alive() for timer in timers)
        for timer in timers:
            timer.join()
