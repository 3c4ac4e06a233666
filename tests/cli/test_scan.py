"""`lits-deploy scan`: what lies in a folder, read by supervised workers, without a name."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from lits_deploy.cli.app import app
from lits_deploy.errors import UserError
from scan_files import body, ct, dicom_bytes, enhanced, nifti, stack


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Six slices (one missing, one twice), a localizer, a volume with its mask, a zip, and something broken."""
    folder = tmp_path / "DOE_JANE"
    (folder / "series").mkdir(parents=True)
    for number, z in enumerate((0, 5, 10, 20, 25, 25)):
        data = ct(
            body(number),
            ImagePositionPatient=[0, 0, z],
            InstanceNumber=9 - number,
            SOPInstanceUID=f"2.25.30{number}",
            PatientName="DOE^JANE",
        )
        (folder / "series" / f"IM{number}").write_bytes(data)
    localizer = ct(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], SeriesInstanceUID="2.25.77")
    (folder / "scout.dcm").write_bytes(localizer)
    (folder / "volume.nii").write_bytes(nifti(stack(3)))
    (folder / "mask.nii").write_bytes(nifti((stack(3) > 0).astype(np.uint8)))
    (folder / "broken.dcm").write_bytes(ct(PatientName="DOE^JANE")[:-99])
    (folder / "notes.txt").write_text("DOE^JANE")
    with zipfile.ZipFile(folder / "more.zip", "w") as out:
        data = dicom_bytes(enhanced([body(0), body(1)], StudyInstanceUID="2.25.8", SeriesInstanceUID="2.25.9"))
        out.writestr("IM1", data)
    return folder


def surveyed(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["scan", *arguments, "--json"])
    assert result.exit_code == 1, result.output  # broken.dcm
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_headers_tell_series_steps_and_what_would_be_skipped(scans: Path) -> None:
    found = surveyed(str(scans))
    series = {one["series"]: one for study in found["studies"] for one in study["series"]}
    by_kind = {(one["kind"], one["slices"], one["step_mm"]): one for one in series.values()}
    ct_series = by_kind["dicom", 6, 5.0]
    assert (ct_series["missing"], ct_series["repeated"], ct_series["extent_mm"]) == (1, 1, 25.0)
    assert (ct_series["orientation"], ct_series["spacing_mm"]) == ("axial", [2.5, 2.5])
    assert ct_series["failed"] == {"the pixel data are truncated": 1}
    assert by_kind["dicom", 2, 5.0]["files"] == 1  # the zip's
    assert found["excluded"] == {"a localizer, not a slice": 1}
    assert found["failed"] == {"the pixel data are truncated": 1}
    assert (found["files"], found["slices"], found["others"]) == (11, 15, {".txt": 1})
    assert "not for clinical use" in found["disclaimer"]


def test_with_pixels_masks_are_reported_too(scans: Path) -> None:
    assert surveyed(str(scans), "--pixels")["excluded"] == {
        "only a few different values and no air: a mask or label map, not a CT slice": 3,
        "a localizer, not a slice": 1,
    }


def test_the_page_names_nobody_unless_asked(scans: Path) -> None:
    result = CliRunner().invoke(app, ["scan", str(scans)])
    assert result.exit_code == 1
    assert "1 missing, 1 twice" in result.output
    assert "for the network" in result.output
    assert "not for clinical use" in result.output
    for word in ("DOE", "JANE", "Doe", "2.25.", "IM1", "volume.nii", "ID-1"):
        assert word not in result.output
    named = CliRunner().invoke(app, ["scan", str(scans), "--identify"]).output
    assert all(word in named for word in ("patient_name=DOE^JANE", "volume.nii", "failed  broken.dcm"))


def test_nothing_there_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    result = CliRunner().invoke(app, ["scan", str(tmp_path)])
    assert result.exit_code == 1  # the exception itself; the program makes exit code 2 of it
    assert f"No scans in {tmp_path}" in str(result.exception)


def test_a_hanging_or_dying_file_costs_itself_only(tmp_path: Path) -> None:
    from folder_runs import tricks
    from lits_deploy.pipeline.options import ClassifyOptions
    from lits_deploy.pipeline.survey import survey_folder

    tricks(tmp_path, hang="hang", die="die", once=f"slices 3 then die once {tmp_path / 'marker'}", many="slices 20")
    survey = survey_folder([tmp_path], ClassifyOptions(time_limit_s=1), pixels=True)
    assert survey.files == 4
    assert len(survey.failed) == 2
    assert survey.failed["decoding took longer than 1 s"] == 1
    assert any("died" in reason for reason in survey.failed)


def test_headers_in_doubt_are_decided_by_the_user(tmp_path: Path) -> None:
    (tmp_path / "head.dcm").write_bytes(ct(BodyPartExamined="HEAD"))
    image = nib.Nifti1Image.from_bytes(nifti(stack(3)))
    image.set_sform(image.affine, code=1)
    image.set_qform(image.affine @ np.diag([-1.0, 1, 1, 1]), code=1)
    (tmp_path / "two.nii").write_bytes(bytes(image.to_bytes()))

    def excluded(*options: str) -> list[str]:
        result = CliRunner().invoke(app, ["scan", str(tmp_path), "--json", *options])
        assert result.exit_code == 0, result.output
        return sorted(json.loads(result.stdout)["excluded"])

    head, two = excluded()
    assert head == "another part of the body: head (--any-body-part takes it)"
    assert two.startswith("qform and sform are mirror images")
    assert excluded("--any-body-part") == [two]
    assert excluded("--trust", "sform") == [head]
    assert excluded("--trust", "qform", "--any-body-part") == []
    wrong = CliRunner().invoke(app, ["scan", str(tmp_path), "--trust", "both"])
    assert isinstance(wrong.exception, UserError)
