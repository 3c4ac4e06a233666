"""Fetching: slices without a network, under the same supervision as in a run."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from folder_runs import SIZE, tricks
from lits_deploy.contract import InputContract
from lits_deploy.pipeline.fetch import fetch
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.stop import Stop
from lits_deploy.pipeline.workers import Job, Tag

CONTRACT = InputContract(window_hu=None, size=SIZE, crop=56)


def run(folder: Path, *names: str, **job: object) -> tuple[dict[tuple[str, int], int], dict[str, str | None]]:
    """(file, index) → grey value of the slices, and file → why it failed, in the order they ended."""
    slices: dict[tuple[str, int], int] = {}
    ended: dict[str, str | None] = {}
    jobs = [Job(n, str(folder / f"{name}.test"), "hostile_reader", name=name, **job) for n, name in enumerate(names)]  # type: ignore[arg-type]

    def on_slice(tag: object, pixels: np.ndarray) -> None:  # type: ignore[type-arg]
        slices[tag.job.name, tag.index] = int(pixels.max())  # type: ignore[attr-defined]

    def on_done(job: Job) -> None:
        ended[job.name] = job.reason

    options = ClassifyOptions(time_limit_s=1, memory_limit_mib=64)
    fetch(jobs, CONTRACT, options, on_slice=on_slice, on_done=on_done)
    return slices, ended


def test_every_slice_comes_once_and_bad_files_cost_nobody_else(tmp_path: Path) -> None:
    tricks(tmp_path, one="grey 7", many="slices 40", hang="hang", die="die", bad="fail")
    slices, ended = run(tmp_path, "hang", "one", "many", "die", "bad")
    assert slices == {("one", 0): 7, **{("many", index): index for index in range(40)}}
    assert ended["one"] is ended["many"] is None
    assert ended["bad"] == "broken on purpose"
    assert ended["hang"] == "decoding took longer than 1 s"
    assert "died" in str(ended["die"])


def test_only_the_slices_that_were_asked_for_are_decoded(tmp_path: Path) -> None:
    tricks(tmp_path, many="slices 40")
    slices, ended = run(tmp_path, "many", only=(3, 39))
    assert slices == {("many", 3): 3, ("many", 39): 39}
    assert ended == {"many": None}


def test_slices_of_a_file_come_with_those_beside_them(tmp_path: Path) -> None:
    tricks(tmp_path, many="slices 40")
    found: dict[int, list[int]] = {}

    def on_slice(tag: Tag, pixels: np.ndarray) -> None:  # type: ignore[type-arg]
        found[tag.index] = pixels[:, 0, 0].tolist()

    job = Job(0, str(tmp_path / "many.test"), "hostile_reader", only=(0, 20, 39))
    fetch([job], replace(CONTRACT, channels=5), ClassifyOptions(), on_slice=on_slice)
    assert found == {0: [0, 0, 0, 1, 2], 20: [18, 19, 20, 21, 22], 39: [37, 38, 39, 39, 39]}


def test_a_request_to_stop_waits_for_no_decoder(tmp_path: Path) -> None:
    tricks(tmp_path, slow="hang")
    stop = Stop()
    timer = threading.Timer(0.5, stop.request)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        fetch([Job(0, str(tmp_path / "slow.test"), "hostile_reader")], CONTRACT, ClassifyOptions(), stop=stop)
    timer.join()


def test_nothing_to_fetch_is_nothing(tmp_path: Path) -> None:
    assert run(tmp_path) == ({}, {})
