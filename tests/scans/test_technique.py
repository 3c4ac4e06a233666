"""What a header says of how a slice was made: words of fixed lists, whatever it says."""

from __future__ import annotations

from typing import Any

import pytest

from lits_deploy.contract import InputContract
from lits_deploy.scans import SeriesHeader
from lits_deploy.scans.dicom import read
from lits_deploy.scans.dicom.technique import KERNELS, OTHER, SCANNERS, sharpness
from scan_files import ct_dataset, dicom_bytes

CONTRACT = InputContract(window_hu=(-40.0, 160.0), size=64, crop=56)


def technique(**values: Any) -> dict[str, str | float]:
    series = read(dicom_bytes(ct_dataset(**values)), CONTRACT, headers_only=True).series
    assert series is not None
    assert SeriesHeader.from_json(series.to_json()) == series
    return dict(series.technique)


def test_it_is_told_by_its_attributes() -> None:
    found = technique(Manufacturer="GE MEDICAL SYSTEMS", ConvolutionKernel="STANDARD", KVP="120", SliceThickness="2.5")
    assert found == {"scanner": "GE", "kernel": "standard", "voltage": "120 kV", "thickness_mm": 2.5}
    assert technique(SliceThickness=None) == {}


@pytest.mark.parametrize(
    ("maker", "scanner"),
    [
        ("SIEMENS", "Siemens"),
        ("Siemens Healthineers", "Siemens"),
        ("GE", "GE"),
        ("Philips", "Philips"),
        ("TOSHIBA", "Canon"),
        ("Canon Medical Systems", "Canon"),
        ("UIH", "United Imaging"),
        ("GERTRUDE MILLER", OTHER),
        ("Dr Siemens", OTHER),
    ],
)
def test_makes_are_of_the_list(maker: str, scanner: str) -> None:
    found = technique(Manufacturer=maker)["scanner"]
    assert found == scanner
    assert found in (*SCANNERS, OTHER)


@pytest.mark.parametrize(
    ("kernel", "word"),
    [
        ("STANDARD", "standard"),
        ("soft", "soft"),
        ("BONEPLUS", "sharp"),
        ("B20f", "soft"),
        ("Br40d", "standard"),
        ("B70f", "sharp"),
        ("I31f", "standard"),
        ("FC08", "standard"),
        ("FC51", "sharp"),
        ("B", "standard"),
        ("D", "sharp"),
        ("MILLER 1951", OTHER),
        ("B123", OTHER),
        ("", OTHER),
    ],
)
def test_kernels_have_names(kernel: str, word: str) -> None:
    assert sharpness(kernel) == word
    assert word in (*KERNELS, OTHER)


def test_numbers_that_no_scanner_has_are_none() -> None:
    assert technique(KVP="121", SliceThickness="19510203") == {"voltage": OTHER}
    assert technique(SliceThickness="-1") == {}


def test_a_voltage_that_is_no_number_is_none() -> None:
    data = dicom_bytes(ct_dataset(KVP="121"))
    assert data.count(b"DS\x04\x00121 ") == 1
    series = read(data.replace(b"DS\x04\x00121 ", b"DS\x04\x00MILL"), CONTRACT, headers_only=True).series
    assert series is not None
    assert "voltage" not in series.technique
