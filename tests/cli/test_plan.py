"""`lits-deploy plan` on real files: pictures, DICOM, NIfTI, frames, a zip, and what is damaged; killed and private."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from listings import live_rows
from lits_deploy.cli.app import app
from lits_deploy.sharding.job_folder import JobFolder
from pictures import encoded, grey_pixels
from scan_files import body, ct, dicom_bytes, enhanced, nifti, stack
from tiny_bundle import make_tiny_bundle

runner = CliRunner()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny", size=64, crop=56).folder


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two DICOM series of 3 in one folder, one of them with a slice in a zip; a file of 4 frames; a NIfTI volume of 5;
    pictures of two volumes in one folder; a broken DICOM file; a link that leads out; a text file."""
    folder = tmp_path_factory.mktemp("scans")
    (folder / "ct").mkdir()
    for series in "12":
        for number in range(3):
            slice_ = {"SOPInstanceUID": f"2.25.{series}.{number}", "ImagePositionPatient": [-160, -160, 5 * number]}
            data = ct(SeriesInstanceUID=f"2.25.{series}", **slice_)
            if (series, number) == ("2", 2):
                with zipfile.ZipFile(folder / "more.zip", "w") as archive:
                    archive.writestr("deep/IM2", data)
            else:
                (folder / "ct" / f"{series}-{number}.dcm").write_bytes(data)
    levels = [body(level) for level in range(4)]
    (folder / "frames.dcm").write_bytes(dicom_bytes(enhanced(levels, SeriesInstanceUID="2.25.9")))
    (folder / "volume.nii.gz").write_bytes(gzip.compress(nifti(stack(5))))
    for volume in "78":
        for number in range(3):
            path = folder / f"volume-{volume}_{number}.png"
            path.write_bytes(encoded(grey_pixels(seed=10 * int(volume) + number)))
    (folder / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    (folder / "out.dcm").symlink_to("/etc/hostname")
    (folder / "readme.txt").write_text("nothing")
    return folder


def _plan(*arguments: Any) -> dict[str, Any]:
    result = runner.invoke(app, ["plan", *map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output + result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_every_kind_of_file_is_planned_with_its_series(bundle: Path, scans: Path, tmp_path: Path) -> None:
    document = _plan(bundle, scans, "--out", tmp_path / "job", "--salt-file", tmp_path / "salt", "--shard-slices", 4)
    assert {name: document[name] for name in ("files", "series", "slices", "unread", "salt_file_made")} == {
        "files": 16,
        "series": 6,
        "slices": 22,
        "unread": 1,
        "salt_file_made": True,
    }
    assert document["others"] == {".txt": 1}
    shards = live_rows(tmp_path / "job")
    together = [{row.path for row in rows} for rows in shards.values()]
    assert any({"ct/2-0.dcm", "ct/2-1.dcm", "more.zip/deep/IM2"} <= paths for paths in together)
    rows = {row.path: row for shard in shards.values() for row in shard}
    assert (rows["frames.dcm"].slices, rows["volume.nii.gz"].slices, rows["broken.dcm"].slices) == (4, 5, 1)
    assert rows["volume-7_1.png"].series == rows["volume-7_2.png"].series != rows["volume-8_1.png"].series
    assert (rows["more.zip/deep/IM2"].container, rows["more.zip/deep/IM2"].member) == ("more.zip", 0)
    assert [rows[f"ct/1-{number}.dcm"].order for number in range(3)] == [0, 1, 2]
    assert rows["out.dcm"].reason is not None
    again = _plan(bundle, scans, "--out", tmp_path / "job", "--salt-file", tmp_path / "salt")
    assert (again["new"], again["superseded"], again["shards"]) == (0, [], document["shards"])


def test_it_says_what_came_of_it(bundle: Path, scans: Path, tmp_path: Path) -> None:
    arguments = ["plan", str(bundle), str(scans), "--out", str(tmp_path / "job"), "--shard-slices", "4"]
    result = runner.invoke(app, arguments, env={"LITS_DEPLOY_SALT_FILE": str(tmp_path / "salt")})
    assert result.exit_code == 0, result.output
    assert "16 files, 6 series, 22 slices in" in result.stdout
    assert "1 header cannot be read" in result.stdout
    assert "The salt was made" in result.stderr
    result = runner.invoke(app, [*arguments, "--no-recursive"], env={"LITS_DEPLOY_SALT_FILE": str(tmp_path / "salt")})
    assert "recursive True there, False now" in str(result.exception)


def test_without_a_salt_or_with_one_in_job_it_is_one_line(bundle: Path, scans: Path, tmp_path: Path) -> None:
    for more, says in (
        ([], "A job needs a salt"),
        (["--salt-file", str(tmp_path / "job" / "salt")], "The salt must not lie in JOB"),
    ):
        command = [sys.executable, "-m", "lits_deploy", "plan", str(bundle), str(scans), "--out", str(tmp_path / "job")]
        done = subprocess.run([*command, *more], capture_output=True, text=True, env=_environment(tmp_path))
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: {says}")
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "job").exists()


def test_what_it_makes_is_its_owners_alone(bundle: Path, scans: Path, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        _plan(bundle, scans, "--out", tmp_path / "job", "--salt-file", tmp_path / "salt")
    finally:
        os.umask(before)
    made = [tmp_path / "job", tmp_path / "salt", *(tmp_path / "job").rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in made if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in made if path.is_file()} == {0o600}


@pytest.mark.slow
def test_killed_at_any_moment_the_earlier_plan_holds_and_the_next_is_the_same(
    bundle: Path, scans: Path, tmp_path: Path
) -> None:
    salt, job, scratch = tmp_path / "salt", tmp_path / "job", tmp_path / "scratch"
    scratch.mkdir()
    begun = time.monotonic()
    _start(bundle, scans, tmp_path / "undisturbed", salt, scratch).wait()
    took = time.monotonic() - begun
    random.seed(19)
    for _ in range(12):
        process = _start(bundle, scans, job, salt, scratch)
        time.sleep(random.uniform(0.2, 1.1) * took)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (job / "job.json").exists():
            shards = live_rows(job)
            assert sum(map(len, shards.values())) == 16
    assert [path for path in scratch.rglob("*") if path.is_file() and not path.name.endswith(".lock")] == []
    assert _start(bundle, scans, job, salt, scratch).wait() == 0
    assert JobFolder(str(job)).read().shards == JobFolder(str(tmp_path / "undisturbed")).read().shards
    assert not list((job / "plan").glob(".*"))


def _start(bundle: Path, scans: Path, job: Path, salt: Path, scratch: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "lits_deploy", "plan", str(bundle), str(scans), "--out", str(job)]
    return subprocess.Popen(
        [*command, "--salt-file", str(salt), "--shard-slices", "4"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=_environment(scratch),
    )


def _environment(scratch: Path) -> dict[str, str]:
    return {**{k: v for k, v in os.environ.items() if not k.startswith("LITS_DEPLOY_SALT")}, "TMPDIR": str(scratch)}
