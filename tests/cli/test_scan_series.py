"""`lits-deploy scan` of folders as anonymisers, archives and browsers leave them: which slices are one series."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from pydicom.sequence import Sequence
from typer.testing import CliRunner

from lits_deploy.cli.app import app
from scan_files import body, ct, dicom_bytes, enhanced

COUNT = 6


def write(folder: Path, *, level: int = 0, names: str = "{n:03d}.dcm", **changes: Any) -> Path:
    """A series of COUNT slices 5 mm apart; changes: elements, or functions of the slice's number."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(COUNT):
        values: dict[str, Any] = {
            "SOPInstanceUID": f"2.25.{1000 + 100 * level + n}",
            "ImagePositionPatient": [-160, -160, 30 + 5 * n],
            "InstanceNumber": n + 1,
        }
        values |= {keyword: value(n) if callable(value) else value for keyword, value in changes.items()}
        (folder / names.format(n=n)).write_bytes(ct(body(level + n), **values))
    return folder


def scan(folder: Path, *options: str) -> list[list[dict[str, Any]]]:
    """The series of each study."""
    result = CliRunner().invoke(app, ["scan", str(folder), "--json", "--workers", "1", *options])
    assert result.exit_code == 0, result.output
    return [study["series"] for study in json.loads(result.stdout)["studies"]]


def only(folder: Path) -> dict[str, Any]:
    ((one,),) = scan(folder)
    return one


def test_two_folders_without_any_uid_are_two_patients(tmp_path: Path) -> None:
    nothing = dict.fromkeys(("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID"))
    write(tmp_path / "a", **nothing)
    write(tmp_path / "b", level=20, **nothing)
    assert [[one["slices"] for one in study] for study in scan(tmp_path)] == [[COUNT], [COUNT]]


def test_rounding_prose_and_frames_of_reference_split_no_series(tmp_path: Path) -> None:
    """All at once: whatever of it an exporter or anonymiser did, it is one series."""

    def directions(n: int) -> list[float]:
        sine = 0.005 + (1e-6 if n % 2 else -1e-6)
        return [round((1 - sine**2) ** 0.5, 8), round(sine, 8), 0, -round(sine, 8), round((1 - sine**2) ** 0.5, 8), 0]

    write(
        tmp_path,
        ImageOrientationPatient=directions,
        PixelSpacing=lambda n: ["2.50005", "2.50005"] if n % 2 else ["2.50004999", "2.50004999"],
        SeriesDescription=lambda n: "Abd 5.0" if n % 2 else "Abd  5.0",
        PatientBirthDate=lambda n: "19700101" if n else None,
        FrameOfReferenceUID=lambda n: f"2.25.77{n}",
    )
    one = only(tmp_path)
    assert (one["slices"], one["missing"], one["doubts"]) == (COUNT, 0, [])


def test_other_patients_and_another_matrix_do_split_it(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b", level=20, PatientID="ID-2")
    write(tmp_path / "c", level=40, PixelSpacing=[2.4, 2.4])
    assert [[one["slices"] for one in study] for study in scan(tmp_path)] == [[COUNT, COUNT], [COUNT]]


def test_copies_of_a_browser_and_in_a_zip_count_once(tmp_path: Path) -> None:
    folder = write(tmp_path / "scan")
    for n in range(COUNT):
        shutil.copy(folder / f"{n:03d}.dcm", folder / f"{n:03d} (1).dcm")
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as out:
        for n in range(COUNT):
            out.write(folder / f"{n:03d}.dcm", f"{n:03d}.dcm")
    one = only(tmp_path)
    assert (one["files"], one["slices"], one["copies"], one["repeated"]) == (3 * COUNT, COUNT, 2 * COUNT, 0)
    page = CliRunner().invoke(app, ["scan", str(tmp_path)]).output
    assert f"{3 * COUNT} files, {COUNT} slices and {2 * COUNT} copies: {COUNT} for the network" in page


def test_slices_that_an_exporter_gave_one_instance_uid_are_no_copies(tmp_path: Path) -> None:
    write(tmp_path, SOPInstanceUID="2.25.3")
    one = only(tmp_path)
    assert (one["slices"], one["copies"]) == (COUNT, 0)
    assert one["doubts"] == ["slices of one SOP instance UID differ"]


def test_phases_of_one_series_uid_are_parts(tmp_path: Path) -> None:
    write(tmp_path, AcquisitionNumber=1, names="1.2.{n}7.dcm")
    write(tmp_path, level=20, AcquisitionNumber=2, InstanceNumber=lambda n: COUNT + n + 1, names="1.2.{n}3.dcm")
    ((first, second),) = scan(tmp_path)
    assert (first["part"], second["part"]) == ("part 1 of 2: acquisition 1", "part 2 of 2: acquisition 2")
    assert (first["slices"], second["slices"], first["step_mm"], first["repeated"]) == (COUNT, COUNT, 5.0, 0)
    page = CliRunner().invoke(app, ["scan", str(tmp_path)]).output
    assert "part 2 of 2: acquisition 2" in page


def test_phases_that_nothing_tells_apart_are_doubtful(tmp_path: Path) -> None:
    dataset = enhanced([body(n) for n in range(4)])
    groups = list(dataset.PerFrameFunctionalGroupsSequence)
    for one, other in ((0, 1), (2, 3)):
        groups[other].PlanePositionSequence = groups[one].PlanePositionSequence
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    (tmp_path / "f.dcm").write_bytes(dicom_bytes(dataset))
    series = only(tmp_path)
    assert (series["slices"], series["repeated"]) == (4, 2)
    assert series["doubts"] == ["slices lie at one position, and nothing tells them apart"]
    page = CliRunner().invoke(app, ["scan", str(tmp_path)]).output
    assert "1.1 is doubtful: slices lie at one position" in page


@pytest.mark.parametrize(
    ("missing", "order"),
    [
        ((), "position"),
        (("ImagePositionPatient",), "slice location"),
        (("ImagePositionPatient", "SliceLocation"), "instance number"),
        (("ImagePositionPatient", "SliceLocation", "InstanceNumber"), "name"),
    ],
)
def test_the_order_is_said_and_by_what(missing: tuple[str, ...], order: str, tmp_path: Path) -> None:
    write(tmp_path, **{"SliceLocation": lambda n: 30 + 5 * n, **dict.fromkeys(missing)}, names="IM{n}")
    one = only(tmp_path)
    assert (one["order"], one["slices"], one["doubts"]) == (order, COUNT, [])
    page = CliRunner().invoke(app, ["scan", str(tmp_path)]).output
    assert (f"by {order}" in page) is (order != "position")


def test_gaps_and_irregular_distances_are_said(tmp_path: Path) -> None:
    positions = [30, 35, 40, 50, 55, 62]
    write(tmp_path, ImagePositionPatient=lambda n: [-160, -160, positions[n]])
    one = only(tmp_path)
    assert (one["missing"], one["irregular"], one["step_mm"], one["extent_mm"]) == (1, 1, 5.0, 32.0)
    page = CliRunner().invoke(app, ["scan", str(tmp_path)]).output
    assert "1 missing, 1 irregular distances" in page
