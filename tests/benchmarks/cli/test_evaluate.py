"""`lits-deploy evaluate` as it is typed: on a machine without PyTorch, on a run, and with what users get wrong."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_box import block, edge_box
from lits_deploy.cli.app import app
from lits_deploy.errors import BundleError, DataError, DeviceError, OutputError, UserError
from tiny_bundle import make_tiny_bundle, with_manifest
from tiny_data import make_tiny_data

runner = CliRunner()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with bundle/, data/ and blocked/: modules that an edge box lacks."""
    folder = tmp_path_factory.mktemp("home")
    make_tiny_bundle(folder / "bundle", temperature=1.5)
    make_tiny_data(folder / "data", slices=6, patients=(1, 1, 2))
    block(folder, "torch", "torchvision", "onnx", "matplotlib", "scipy")
    return folder


def test_a_bundle_needs_no_pytorch(home: Path) -> None:
    done = edge_box(home, "evaluate", "bundle", "--data", "data")
    assert done.returncode == 0, done.stderr
    out = home / "evaluation-bundle"
    assert {path.name for path in out.iterdir()} == {"evaluation.json", "slices.csv", "patients.csv", "evaluation.html"}
    lines = done.stdout.splitlines()
    assert lines[-1] == "Not a medical device, not for clinical use."
    assert lines[-2] == "evaluation-bundle: evaluation.json, slices.csv, patients.csv, evaluation.html"
    assert "matplotlib is not installed. Fix: pip install 'lits-deploy[bench]'" in lines[-3]
    document = json.loads((out / "evaluation.json").read_text())
    accuracy = document["figures"]["accuracy"]["value"]
    (shown,) = [line for line in lines if line.startswith("accuracy, 3 classes")]
    assert f"{accuracy:.3f}" in shown
    assert "with fewer than 10 patients they are decoration" in done.stdout
    assert document["data"]["split_by"] == "patient"
    assert document["figures"]["calibration"]["temperature"] == 1.5


def test_a_run_needs_pytorch_and_says_so(home: Path) -> None:
    (home / "run").mkdir(exist_ok=True)
    (home / "run" / "config.json").write_text("{}")
    done = edge_box(home, "evaluate", "run", "--data", "data")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "torch, which evaluating a training run needs, is not installed" in done.stderr
    assert "pip install 'lits-deploy[train]'" in done.stderr


def test_a_broken_file_is_counted_and_exits_1(home: Path, tmp_path: Path) -> None:
    data = make_tiny_data(tmp_path / "broken", slices=6)
    next(iter(sorted((data / "test" / "images").iterdir()))).write_bytes(b"\x89PNG")
    out = tmp_path / "out"
    arguments = ["evaluate", str(home / "bundle"), "--data", str(data), "--out", str(out)]
    result = runner.invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 1, result.output
    assert "1 files could not be used, such as test/images/volume-003_0000.png" in result.output
    with (out / "slices.csv").open(newline="") as stream:
        first = next(csv.DictReader(stream))
    assert (first["status"], first["p0"]) == ("failed", "")
    assert first["reason"]
    assert "Files that could not be used (1)" in (out / "evaluation.html").read_text()


def test_json_is_the_document(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["evaluate", str(home / "bundle"), "--data", str(home / "data"), "--out", str(out), "--json"]
    result = runner.invoke(app, arguments, catch_exceptions=False)
    assert json.loads(result.output)["figures"] == json.loads((out / "evaluation.json").read_text())["figures"]


def test_a_leaky_split_is_said_loudly(home: Path, tmp_path: Path) -> None:
    data = make_tiny_data(tmp_path / "leaky", slices=6)
    (data / "dataset.json").write_text(json.dumps({"split_by": "slice"}))
    out = tmp_path / "out"
    result = runner.invoke(
        app, ["evaluate", str(home / "bundle"), "--data", str(data), "--out", str(out)], catch_exceptions=False
    )
    assert "!! LEAKY: the data was split by slice" in result.output
    assert "SPLIT BY SLICE" in result.output
    assert json.loads((out / "evaluation.json").read_text())["data"]["split_by"] == "slice"


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (["bundle", "--data", "none"], DataError, "no data at none"),
        (["bundle", "--data", "data", "--split", "tests"], DataError, "not a split"),
        (["data", "--data", "data"], UserError, "neither a bundle nor a training run"),
        (["nowhere", "--data", "data"], UserError, "does not exist"),
        (["bundle", "--data", "data", "--out", "data"], OutputError, "something else"),
        (["bundle", "--data", "data", "--artifact", "int4"], BundleError, "no artifact"),
        (["bundle", "--data", "data", "--runtime", "torch"], UserError, "not a runtime"),
        (["bundle", "--data", "data", "--device", "tpu"], DeviceError, "not a device"),
        (["run", "--data", "data", "--artifact", "fp32"], UserError, "--artifact is for bundles"),
        (["run", "--data", "data", "--runtime", "openvino"], UserError, "--runtime is for bundles"),
    ],
)
def test_users_errors(
    home: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], error: type[UserError], says: str
) -> None:
    (home / "run").mkdir(exist_ok=True)
    (home / "run" / "config.json").write_text("{}")
    monkeypatch.chdir(home)
    with pytest.raises(error, match=says) as raised:
        runner.invoke(app, ["evaluate", *arguments], catch_exceptions=False)
    assert set(re.findall(r"--[a-z][a-z-]+", str(raised.value))) <= options_of_evaluate()


def options_of_evaluate() -> set[str]:
    shown = runner.invoke(app, ["evaluate", "--help"], catch_exceptions=False).output
    return set(re.findall(r"--[a-z][a-z-]+", shown))


def test_an_artifact_for_another_place_is_refused_with_an_option_that_evaluate_has(home: Path, tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "two")
    first = bundle.artifact()
    elsewhere = dataclasses.replace(first, name="int8-trt", precision="int8", runtimes=("tensorrt",))
    with_manifest(bundle, artifacts=(first, elsewhere))
    call = ["evaluate", str(bundle.folder), "--data", str(home / "data"), "--runtime", "onnxruntime", "--device", "cpu"]
    with pytest.raises(BundleError, match=r"not for onnxruntime on cpu\. Fix: --artifact fp32$") as raised:
        runner.invoke(app, [*call, "--artifact", "int8-trt", "--out", str(tmp_path / "out")], catch_exceptions=False)
    assert set(re.findall(r"--[a-z][a-z-]+", str(raised.value))) <= options_of_evaluate()


def test_help_names_no_artifact_that_a_bundle_may_not_have() -> None:
    shown = runner.invoke(app, ["evaluate", "--help"], catch_exceptions=False).output
    assert not re.search(r"\b(fp16|int8)\b", shown)


def test_data_must_be_given(home: Path) -> None:
    with pytest.raises(UserError, match="no data to measure on") as caught:
        runner.invoke(app, ["evaluate", str(home / "bundle")], catch_exceptions=False)
    assert "--data" in caught.value.fix


@pytest.mark.slow
def test_a_run_and_its_bundle_have_the_same_figures(tmp_path: Path) -> None:
    """Trains, exports and evaluates both: the figures of the classes and of the ranking agree."""
    pytest.importorskip("torch")
    data = make_tiny_data(tmp_path / "data", slices=6, patients=(2, 1, 3), window=[-40, 160])
    for command in (
        ["train", "--data", data, "--model", "resnet18", "--epochs", "1", "--batch-size", "4", "--out", "run"],
        ["export", "run", "--out", "bundle"],
        ["evaluate", "run", "--data", data],
        ["evaluate", "bundle", "--data", data],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "lits_deploy", *map(str, command)], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    run, bundle = (
        json.loads((tmp_path / f"evaluation-{name}" / "evaluation.json").read_text()) for name in ("run", "bundle")
    )
    assert run["subject"]["checkpoint_sha256"] == bundle["subject"]["checkpoint_sha256"]
    assert run["data"] == bundle["data"]
    for name in ("confusion", "accuracy", "balanced_accuracy", "liver_accuracy"):
        assert run["figures"][name] == bundle["figures"][name]
    for ours, theirs in zip(run["figures"]["classes"], bundle["figures"]["classes"], strict=True):
        assert ours["auroc"]["value"] == pytest.approx(theirs["auroc"]["value"], abs=0.02)
