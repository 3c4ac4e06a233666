"""What is installed on an edge box: the night's script with a real bundle, and the unit, timer and container file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lits_deploy.bundle import Bundle
from pictures import grey_pixels, save
from tiny_bundle import make_tiny_bundle

DEPLOY = Path(__file__).parent.parent / "deploy"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("deploy") / "bundle", size=64, crop=56)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans of tonight"
    for index in range(3):
        save(folder / f"{index}.png", grey_pixels(64, index))  # a flat one would be withheld: no body in it
    return folder


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "lits-deploy"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m lits_deploy "$@"\n')
    path.chmod(0o755)
    return path


def nightly(program: Path, **variables: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LITS_DEPLOY": str(program), **{name: str(value) for name, value in variables.items()}}
    return subprocess.run([DEPLOY / "nightly.sh"], env=environment, capture_output=True, text=True, timeout=120)


def test_a_night_verifies_and_then_classifies(bundle: Bundle, scans: Path, program: Path, tmp_path: Path) -> None:
    places = {"BUNDLE": bundle.folder, "SCANS": scans, "OUT": tmp_path / "out"}
    done = nightly(program, **places)
    assert done.returncode == 0, done.stderr
    assert done.stdout.index("verified") < done.stdout.index("3 slices in")
    assert len((tmp_path / "out" / "slices.csv").read_text().splitlines()) == 4
    (scans / "bad.png").write_bytes(b"not a picture")
    done = nightly(program, **places)  # the next night goes on
    assert done.returncode == 4, "one failed file is a row"
    assert "3 before" in done.stdout


def test_a_bundle_that_does_not_hold_ends_the_night_with_3(
    bundle: Bundle, scans: Path, program: Path, tmp_path: Path
) -> None:
    altered = tmp_path / "altered"
    shutil.copytree(bundle.folder, altered)
    with (altered / "model.onnx").open("ab") as stream:
        stream.write(b"x")
    done = nightly(program, BUNDLE=altered, SCANS=scans, OUT=tmp_path / "out")
    assert done.returncode == 3
    assert not (tmp_path / "out").exists()


def test_no_crash_is_a_success(tmp_path: Path) -> None:
    """Of the program, of Python before it, of a library beneath it."""
    stub = tmp_path / "stub"
    crashes = (1, 2, 3, 70, 126, 127, 134, 136, 137, 139)
    for code in crashes:
        stub.write_text(f"#!/bin/sh\n[ $1 = verify ] || exit {code}\n")
        stub.chmod(0o755)
        assert nightly(stub, BUNDLE="b", SCANS="s", OUT="o").returncode == code
    for unit in DEPLOY.glob("*.service"):
        (success,) = re.findall(r"^SuccessExitStatus=(.*)$", unit.read_text(), re.MULTILINE)
        assert not {*map(str, crashes)} & {*success.split()}
        assert {"129", "130", "143"} <= {*success.split()}


def test_every_setting_reaches_the_command(tmp_path: Path) -> None:
    stub = tmp_path / "stub"
    stub.write_text('#!/bin/sh\nprintf "<%s>" "$@"; echo\n')
    stub.chmod(0o755)
    settings = {"RUNTIME": "tensorrt", "DEVICE": "cuda", "PRECISION": "fp16", "FORMATS": "csv,parquet"}
    done = nightly(stub, BUNDLE="b", SCANS="s c", OUT="o", ENGINE_CACHE="e f", **settings)
    assert done.stdout.splitlines() == [
        "<verify><b><--engine-cache><e f>",
        "<classify><b><s c><--out><o><--runtime><tensorrt><--device><cuda><--format><csv,parquet>"
        "<--engine-cache><e f><--precision><fp16>",
    ]
    done = nightly(stub, BUNDLE="b", SCANS="")
    assert done.returncode == 2
    assert "SCANS is not set. Fix: " in done.stderr


def test_settings_file_names_what_the_script_reads() -> None:
    script, settings = ((DEPLOY / name).read_text() for name in ("nightly.sh", "nightly.env"))
    named = set(re.findall(r"^#?([A-Z_]+)=", settings, re.MULTILINE))
    assert named == {
        "BUNDLE",
        "SCANS",
        "OUT",
        "RUNTIME",
        "DEVICE",
        "PRECISION",
        "FORMATS",
        "ENGINE_CACHE",
        "LITS_DEPLOY",
    }
    assert all(name in script for name in named)
    assert "Not a medical device" in settings


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_finds_no_fault_in_unit_and_timer(tmp_path: Path) -> None:
    for path in DEPLOY.glob("*.*"):
        text = path.read_text().replace("/opt/lits-deploy", str(tmp_path))
        (tmp_path / path.name).write_text(text)
    (tmp_path / "nightly.sh").chmod(0o755)
    units = [str(tmp_path / f"lits-deploy-nightly.{kind}") for kind in ("service", "timer")]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_container_installs_from_the_wheelhouse_alone_and_runs_as_nobody_special() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    assert "--no-index --find-links /wheelhouse" in text
    assert re.search(r"^USER \d+$", text, re.MULTILINE)
    copied = re.findall(r"^COPY (\S+) ", text, re.MULTILINE)
    assert all((DEPLOY.parent / name).is_file() for name in copied)
