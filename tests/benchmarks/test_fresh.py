"""Fresh processes: their own memory, their own imports, errors that come back as errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.candidates import Candidate, candidates_of, spec_of
from benchmarks.cold import cold_start
from benchmarks.folder import classify_fresh, read_labels, steady_rate
from benchmarks.fresh import ChildError, run_fresh
from lits_deploy.bundle import Bundle
from pictures import grey_pixels
from tiny_bundle import make_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("fresh") / "bundle", size=64, crop=56)


def tiny(bundle: Bundle) -> Candidate:
    return candidates_of(bundle, threads=1)[0]


def test_memory_is_the_fresh_process_alone(bundle: Bundle) -> None:
    ballast = np.ones(400_000_000, np.uint8)  # ru_maxrss would hand this down to the child
    values = cold_start(tiny(bundle), 2)
    assert ballast[-1] == 1
    assert values["before_load_mb"] < values["peak_mb"] < 350
    assert values["torch_imported"] is False
    assert 0 < values["load_s"] < values["process_s"]
    assert values["first_ms"] > 0


def test_errors_come_back(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    candidate = tiny(bundle)
    gone = {**candidate.spec, "bundle": str(tmp_path / "elsewhere"), "batch": 1}
    with pytest.raises(ChildError, match="is not a bundle"):
        run_fresh("benchmarks.cold", gone)
    with pytest.raises(ChildError, match="cannot use cuda:7"):
        run_fresh("benchmarks.cold", {**candidate.spec, "device": "cuda:7", "batch": 1})
    with pytest.raises(ChildError, match=r"a fresh process failed: .*KeyError"):
        run_fresh("benchmarks.cold", {"threads": 1})


def test_a_folder_in_a_fresh_process(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')")  # the user's folder is not searched
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").mkdir()
    for index in range(20):
        picture = (grey_pixels(64) // 2 + index * 6).astype(np.uint8)  # not flat: that would be excluded
        Image.fromarray(picture).save(tmp_path / "scans" / f"{index:02d}.png")
    (tmp_path / "scans" / "bad.png").write_bytes(b"not a picture")
    values = classify_fresh(spec_of(bundle, threads=1), [tmp_path / "scans"], tmp_path / "out")
    assert (values["slices"], values["files"], values["failed"]) == (20, 21, 1)
    assert values["wall_s"] < values["process_s"]
    assert values["slices_per_second"] == pytest.approx(20 / values["wall_s"])
    labels = read_labels(tmp_path / "out", [tmp_path / "scans"])
    assert labels[str((tmp_path / "scans" / "bad.png").resolve())] is None
    assert len({label for label in labels.values() if label is not None}) > 1


def test_steady_rate_leaves_the_first_batch_out() -> None:
    timings = {"start_up": {"first_file_s": 1.0, "first_result_s": 2.0}, "files_s": 11.0}
    assert steady_rate(timings, 108, 8) == pytest.approx(10.0)
    assert steady_rate(timings, 8, 8) is None
    assert steady_rate({"start_up": {"first_file_s": 1.0, "first_result_s": None}, "files_s": 0.0}, 0, 8) is None
