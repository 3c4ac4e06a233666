"""Pixels kept while volumes go by: the right ones, few of them, and a report that then decodes nothing again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from folder_runs import SALT, SIZE, read_tricks_as, tricks
from lits_deploy.decode.decoding import Decoding
from lits_deploy.decode.job import DecodeJob
from lits_deploy.ledger import Ledger
from lits_deploy.pipeline.context import RunHooks
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.run import run_folder
from lits_deploy.report.after import reporter
from lits_deploy.report.choose import SERIES, SLICES, highest
from lits_deploy.report.peaks import MOST, Peaks
from tiny_bundle import make_tiny_bundle


def pixels(value: int) -> np.ndarray[Any, Any]:
    return np.full((1, 4, 4), value, np.uint8)


def give(kept: Peaks, file: int, p2: list[float], *, order: list[int] | None = None) -> int:
    buffer = pixels(0)
    for index in order or range(len(p2)):
        buffer[:] = index % 256  # a slot is used again
        kept.add(file, index, p2[index], buffer)
    return file


def test_the_peaks_of_a_volume_are_kept_with_their_pixels_in_any_order() -> None:
    p2 = [0.9 - abs(k - 30) / 50 for k in range(70)]
    found = []
    for order in (None, list(np.random.default_rng(0).permutation(70))):
        kept = Peaks()
        kept.done(give(kept, 7, p2, order=order))
        found.append({key: int(slice_.max()) for key, slice_ in kept.pixels.items()})
    assert found[0] == found[1] == {(7, index): index for index in highest(p2)}
    assert len(found[0]) == SLICES


def test_memory_is_bounded_in_slices_and_in_volumes() -> None:
    kept = Peaks()
    file = give(kept, 0, [k / 1000 for k in range(5 * MOST)])
    assert len(kept._coming[0].pixels) == MOST
    assert min(kept._coming[0].pixels) == 4 * MOST
    kept.done(file)
    assert kept._coming == {}
    for file in range(1, 2 * SERIES):
        kept.done(give(kept, file, [0.0, file / 100, 0.0]))
    assert len({file for file, _ in kept.pixels}) == SERIES
    assert 1 not in {file for file, _ in kept.pixels}


def test_what_fails_begins_anew_or_has_one_slice_is_not_kept() -> None:
    kept = Peaks()
    kept.forget(give(kept, 1, [0.5, 0.9]))
    kept.done(1)
    kept.forget(2)
    kept.done(give(kept, 3, [0.9]))
    assert kept.pixels == {}


def test_a_report_of_volumes_decodes_none_of_them_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle", size=SIZE, crop=56, cam=True)
    scans = tricks(tmp_path / "scans", one_1="slices 90 then grey 140", two_1="slices 120", single_1="grey 130")
    asked: list[list[str]] = []
    real = Decoding.files

    def spied(self: Decoding, jobs: list[DecodeJob], **how: Any) -> Any:
        asked.append(sorted(job.name for job in jobs))
        return real(self, jobs, **how)

    monkeypatch.setattr(Decoding, "files", spied)
    options = ClassifyOptions(salt=SALT, batch_size=4, workers=2)
    finish = reporter(bundle, options)
    seen = []
    for kept in (True, False):
        out = tmp_path / f"out-{kept}"
        if not kept:  # everything done before: the run keeps nothing
            with read_tricks_as("picture"):
                run_folder(bundle, [scans], out, options=options)
        with read_tricks_as("picture"):
            run_folder(bundle, [scans], out, options=options, hooks=RunHooks(keep=Peaks, finish=finish))
        with Ledger(out) as ledger:
            seen.append(list(ledger.pictures()))
    assert seen[0] == seen[1] != []
    assert asked == [["single_1.test"], ["one_1.test", "single_1.test", "two_1.test"]]
