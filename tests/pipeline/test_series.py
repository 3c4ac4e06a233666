"""What belongs together, in which order, and what counts once, from files to tables; the rules are in tests/series."""

from __future__ import annotations

import csv
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from folder_runs import classify, rows
from lits_deploy.bundle import Bundle
from lits_deploy.run_json import read_run_json
from scan_files import WINDOW, body, ct
from tiny_bundle import make_tiny_bundle

BRIGHT, COUNT = 150, 9


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"), size=64, crop=56, window_hu=WINDOW)


def hu(n: int, *, bright: bool, level: int = 0) -> np.ndarray[Any, Any]:
    """A slice's HU; bright ones are what the network calls suspicious."""
    return body(n + level) + (BRIGHT if bright else 0)


def series(
    folder: Path,
    *,
    count: int = COUNT,
    bright: tuple[int, ...] = (4, 5),
    name: Callable[[int], str] = "IM{}".format,
    level: int = 0,
    **changes: Callable[[int], Any],
) -> Path:
    """A DICOM series of slices 1 … count, 5 mm apart; changes: element → its value in slice n, None for none."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(1, count + 1):
        own: dict[str, Any] = {
            "SOPInstanceUID": f"2.25.9{level}{n}",
            "ImagePositionPatient": [-160, -160, 30 + 5 * n],
            "InstanceNumber": n,
        }
        own |= {element: value(n) for element, value in changes.items()}
        (folder / name(n)).write_bytes(ct(hu(n, bright=n in bright, level=level), **own))
    return folder


def studies(out: Path) -> list[dict[str, str]]:
    """The rows of studies.csv."""
    with (out / "studies.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


FIGURES = ("slices", "answered", "max_p2", "mean_p2", "suspicion", "longest_lesion_run", "liver_extent_mm")


def figures(bundle: Bundle, scans: Path, out: Path, **options: Any) -> list[tuple[str, ...]]:
    """What studies.csv says of each series, sorted, names left out."""
    classify(bundle, scans, out, **options)
    return sorted(tuple(row[name] for name in FIGURES) for row in studies(out))


def test_two_patients_without_any_uid_are_two_series(bundle: Bundle, tmp_path: Path) -> None:
    nobody = {name: lambda _: None for name in ("StudyInstanceUID", "SeriesInstanceUID", "PatientID", "SOPInstanceUID")}
    for level, patient in enumerate("ab"):
        series(tmp_path / "scans" / patient, level=20 * level, **nobody)
    found = figures(bundle, tmp_path / "scans", tmp_path / "out")
    assert [row[0] for row in found] == ["9", "9"]
    assert len({row["study"] for row in studies(tmp_path / "out")}) == 2
    assert {row["doubts"] for row in studies(tmp_path / "out")} == {
        "no series UID: the files of one folder are taken for a series"
    }


def test_two_patients_under_one_series_uid_are_two_series(bundle: Bundle, tmp_path: Path) -> None:
    for level, patient in enumerate("ab"):
        series(tmp_path / "scans" / patient, level=20 * level, PatientID=lambda _, patient=patient: patient)
    classify(bundle, tmp_path / "scans", tmp_path / "out")
    assert [(row["slices"], row["part"]) for row in studies(tmp_path / "out")] == [("9", ""), ("9", "")]
    assert len({row["study"] for row in studies(tmp_path / "out")}) == 2


def copied_files(scans: Path) -> None:
    for path in list(scans.iterdir()):
        shutil.copy(path, path.with_name(f"{path.name} (1)"))


def copied_folder(scans: Path) -> None:
    shutil.copytree(scans, scans / "again")


def copied_zip(scans: Path) -> None:
    files = list(scans.iterdir())
    with zipfile.ZipFile(scans / "scan.zip", "w") as archive:
        for path in files:
            archive.write(path, path.name)


def without_instances(scans: Path) -> None:
    series(scans / "sent again", SOPInstanceUID=lambda _: None)


@pytest.mark.parametrize("copy", [copied_files, copied_folder, copied_zip, without_instances])
def test_copies_count_once_and_say_of_what(bundle: Bundle, tmp_path: Path, copy: Callable[[Path], None]) -> None:
    scans = series(tmp_path / "scans")
    once = figures(bundle, scans, tmp_path / "once")
    copy(scans)
    assert figures(bundle, scans, tmp_path / "twice") == once
    table = rows(tmp_path / "twice")
    assert len(table) == 2 * COUNT
    assert [row["copy_of"] for row in table if row["copy_of"]] == sorted(f"IM{n}" for n in range(1, COUNT + 1))
    assert [row["copies"] for row in studies(tmp_path / "twice")] == [str(COUNT)]
    alone, both = (read_run_json(tmp_path / out / "run.json")["counts"] for out in ("once", "twice"))
    assert (both["classes"], both["copies"], both["slices"]) == (alone["classes"], COUNT, 2 * COUNT)


def test_a_series_that_is_wholly_a_copy_is_named_and_not_ranked(bundle: Bundle, tmp_path: Path) -> None:
    series(tmp_path / "scans/a")
    series(tmp_path / "scans/sent again", SeriesInstanceUID=lambda _: "2.25.77", SOPInstanceUID=lambda n: f"2.25.5{n}")
    classify(bundle, tmp_path / "scans", tmp_path / "out")
    first, again = studies(tmp_path / "out")
    assert (first["rank"], first["copy_of"], again["rank"], again["copy_of"]) == ("1", "", "", first["series"])


PHASES: dict[str, Callable[[int], Callable[[int], Any]]] = {
    "AcquisitionNumber": lambda phase: lambda _: phase + 1,
    "AcquisitionTime": lambda phase: lambda n: f"10{phase}0{n:02d}",
    "TriggerTime": lambda phase: lambda _: str(100 * phase),
    "TemporalPositionIdentifier": lambda phase: lambda _: phase + 1,
    "ConvolutionKernel": lambda phase: lambda _: "sharp" if phase else "soft",
    "ImageType": lambda phase: lambda _: ["ORIGINAL", "PRIMARY", "AXIAL", f"P{phase}"],
    "InstanceNumber": lambda phase: lambda n: n + 100 * phase,
}


@pytest.mark.parametrize("element", PHASES)
def test_phases_and_reconstructions_in_one_series_are_parts_of_their_own(
    bundle: Bundle, tmp_path: Path, element: str
) -> None:
    apart = []
    for phase in range(2):
        bright = (3, 4, 5) if phase else ()
        attributes = {"InstanceNumber": lambda _: None, element: PHASES[element](phase)}
        series(tmp_path / f"{phase}", level=30 * phase, bright=bright, **attributes)
        series(tmp_path / "both", level=30 * phase, bright=bright, name=f"{phase} {{}}".format, **attributes)
        apart += figures(bundle, tmp_path / f"{phase}", tmp_path / f"out{phase}")
    assert figures(bundle, tmp_path / "both", tmp_path / "out") == sorted(apart)
    parts = [row["part"] for row in studies(tmp_path / "out")]
    assert sorted(part[:11] for part in parts) == ["part 1 of 2", "part 2 of 2"]
    assert {row["part"] for row in rows(tmp_path / "out")} == {"1", "2"}


def test_phases_that_nothing_tells_apart_are_a_doubt(bundle: Bundle, tmp_path: Path) -> None:
    for phase in range(2):
        numbers = {"InstanceNumber": lambda n, phase=phase: 2 * n + phase}
        series(tmp_path / "scans", level=30 * phase, name=f"{phase} {{}}".format, **numbers)
    classify(bundle, tmp_path / "scans", tmp_path / "out")
    (row,) = studies(tmp_path / "out")
    assert row["doubts"] == "slices lie at one position, and nothing tells them apart"


@pytest.mark.parametrize(
    ("header", "by"),
    [
        ({}, "position"),
        ({"ImagePositionPatient": lambda _: None, "SliceLocation": lambda n: 30 + 5 * n}, "slice location"),
        ({"ImagePositionPatient": lambda _: None}, "instance number"),
        ({"ImagePositionPatient": lambda _: None, "InstanceNumber": lambda _: None}, "name"),
    ],
)
def test_order_by_position_location_number_or_name_gives_one_suspicion(
    bundle: Bundle, tmp_path: Path, header: dict[str, Any], by: str
) -> None:
    plain = figures(bundle, series(tmp_path / "plain", count=12, bright=(9, 10, 11)), tmp_path / "out")
    found = figures(bundle, series(tmp_path / "other", count=12, bright=(9, 10, 11), **header), tmp_path / "out other")
    assert [row[:6] for row in found] == [row[:6] for row in plain]
    assert [row["ordered_by"] for row in studies(tmp_path / "out other")] == [by]


def test_gaps_are_reported(bundle: Bundle, tmp_path: Path) -> None:
    scans = series(tmp_path / "scans")
    (scans / "IM6").unlink()
    classify(bundle, scans, tmp_path / "out")
    (row,) = studies(tmp_path / "out")
    assert (float(row["step_mm"]), row["missing"], row["repeated"], row["irregular"]) == (5.0, "1", "0", "0")


def variants(scans: Path, rng: random.Random) -> Iterator[str]:
    """Change a folder, step by step, in ways that change no patient."""
    files = sorted(path for path in scans.rglob("*") if path.is_file())
    for path in rng.sample(files, 4):
        shutil.copy(path, path.with_name(f"{path.name} (1)"))
    yield "copied"
    for number, path in enumerate(rng.sample(files, len(files))):
        (scans / f"{number % 3}").mkdir(exist_ok=True)
        path.rename(scans / f"{number % 3}" / f"{rng.randrange(10**9)}.dcm")
    yield "renamed, and split over folders"


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_copied_split_and_renamed_a_patient_has_the_same_figures(
    bundle: Bundle, tmp_path: Path, seed: int
) -> None:
    rng, scans = random.Random(seed), tmp_path / "scans"
    for phase in range(2):
        phased = {"AcquisitionNumber": lambda _, phase=phase: phase, "InstanceNumber": lambda _: rng.randrange(999)}
        series(scans, level=30 * phase, bright=(3, 4) if phase else (), name=f"{phase} {{}}".format, **phased)
    wanted = figures(bundle, scans, tmp_path / "out")
    for what in variants(scans, rng):
        assert figures(bundle, scans, tmp_path / what) == wanted, what
