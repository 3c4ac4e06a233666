"""What a data set knows of scanner and kernel: words of fixed lists, whatever stands in its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from train.data.technique import KEY, joined, noted, of_volume

HEADER = {"Manufacturer": "SIEMENS", "ConvolutionKernel": ["Br40d", "2"], "KVP": 120, "SliceThickness": 2.5}
TECHNIQUE = {"scanner": "Siemens", "kernel": "standard", "voltage": "120 kV", "thickness_mm": 2.5}


@pytest.mark.parametrize("name", ["volume-3.nii", "volume-3.nii.gz"])
def test_what_dcm2niix_writes_of_a_volume_reaches_a_bundle_by_name(name: str, tmp_path: Path) -> None:
    (tmp_path / "volume-3.json").write_text(json.dumps({**HEADER, "PatientName": "MILLER^GERTRUDE"}))
    found = of_volume(tmp_path / name)
    assert found == {"Manufacturer": "Siemens", "ConvolutionKernel": "standard", "KVP": 120.0, "SliceThickness": 2.5}
    declared = json.loads(json.dumps(joined([("3", found), ("4", {})])))
    assert noted(declared, "3") == TECHNIQUE
    assert noted(declared, "4") == {}
    assert joined([("4", {})]) == {}


@pytest.mark.parametrize("kernel", ["soft", "standard", "sharp", "other"])
def test_its_own_names_stay_what_they_are(kernel: str) -> None:
    assert noted({KEY: {"1": {"ConvolutionKernel": kernel}}}, "1") == {"kernel": kernel}


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"Manufacturer": "Dr MILLER", "ConvolutionKernel": "MILLER"}, {"scanner": "other", "kernel": "other"}),
        ({"KVP": 19510203}, {"voltage": "other"}),
        ({"KVP": "x", "SliceThickness": -1, "Manufacturer": 3, "ConvolutionKernel": []}, {}),
        ([], {}),
        (None, {}),
    ],
)
def test_no_other_text_leaves_dataset_json(said: Any, found: dict[str, str]) -> None:
    assert noted({KEY: {"1": said}}, "1") == found


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, "3"])
def test_a_broken_file_says_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "volume-3.json").write_text(text)
    assert of_volume(tmp_path / "volume-3.nii.gz") == {}
    assert of_volume(tmp_path / "volume-4.nii.gz") == {}
