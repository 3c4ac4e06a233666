"""Decode rates: the same slices in every format, all of them judged, and a record that says where it was measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.decode_formats import phantom_slices, written
from benchmarks.decode_rates import CONTRACT, Format, main
from lits_deploy import exits
from lits_deploy.program import outcome
from lits_deploy.scans import dicom, nifti
from scan_files import ct

FORMATS = [
    "PNG", "JPEG", "DICOM", "DICOM deflated", "DICOM RLE", "DICOM JPEG-LS", "DICOM JPEG 2000", "DICOM JPEG lossless",
    "NIfTI", "NIfTI gz",
]  # fmt: skip


def test_all_formats_are_timed_and_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--slices", "2", "--rounds", "1", "--out", str(tmp_path / "rates.json")]) == 0
    record = json.loads((tmp_path / "rates.json").read_text())
    assert [one["format"] for one in record["formats"]] == FORMATS
    assert all(one["slices"] == 2 and one["slices_per_second"] > 0 for one in record["formats"])
    assert record["machine"]["processor"]
    printed = capsys.readouterr().out
    assert all(name in printed for name in FORMATS)


def test_lossless_formats_hold_the_same_slices() -> None:
    pixels: dict[str, bytes] = {}
    for name, module, files in written(phantom_slices(2), (-160.0, 240.0)):
        if "image" in module:
            continue
        reader = dicom if module.endswith("dicom") else nifti
        frames = [frame for data in files for frame in reader.read(data, CONTRACT).frames]
        assert all(frame.pixels is not None for frame in frames)
        pixels[name] = np.stack([frame.pixels for frame in frames if frame.pixels is not None]).tobytes()
    assert len(pixels) == 8
    assert len(set(pixels.values())) == 1


def test_a_format_that_is_not_judged_is_not_timed() -> None:
    with pytest.raises(RuntimeError, match="0 of 1 slices are judged"):
        Format("odd", "lits_deploy.scans.dicom", [ct(Modality="MR")], 1).check()


def test_a_zip_without_files_is_the_users_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(lambda: main(["--dicom", str(tmp_path)])) == exits.USER_ERROR
    assert "There is no file in" in capsys.readouterr().err
