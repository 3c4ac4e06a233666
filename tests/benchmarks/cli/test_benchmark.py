"""`lits-deploy benchmark` as it is typed, on a machine without PyTorch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_box import block, edge_box
from lits_deploy.backends import targets
from lits_deploy.cli.app import app
from lits_deploy.errors import BundleError, OutputError, UserError
from tiny_bundle import make_tiny_bundle
from tiny_data import make_tiny_data

runner = CliRunner()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with bundle/, data/ and blocked/: modules that an edge box lacks."""
    folder = tmp_path_factory.mktemp("home")
    make_tiny_bundle(folder / "bundle")
    make_tiny_data(folder / "data", slices=9)
    block(folder, "torch", "torchvision", "onnx", "matplotlib")
    return folder


def test_an_edge_box_without_pytorch(home: Path) -> None:
    done = edge_box(home, "benchmark", "bundle", "--data", "data", "--batch-sizes", "1,4", "--quick")
    assert done.returncode == 0, done.stderr
    out = home / "benchmark-bundle"
    assert {path.name for path in out.iterdir()} == {
        "benchmark.json",
        "benchmark.csv",
        "benchmark.md",
        "benchmark.html",
    }
    assert "no plot: matplotlib is not installed. Fix: pip install 'lits-deploy[bench]'" in done.stdout
    lines = done.stdout.splitlines()
    assert lines[-2] == "benchmark-bundle: benchmark.json, benchmark.csv, benchmark.md, benchmark.html"
    assert lines[-1] == "Not a medical device, not for clinical use."
    (header,) = [line for line in lines if "p99 ms" in line]
    for column in ("precision", "slices/s", "size MB", "peak MB", "accuracy", "same class"):
        assert column in header
    assert "× PyTorch" not in header
    document = json.loads((out / "benchmark.json").read_text())
    assert [row["batch"] for row in document["rows"]] == [1] * len(targets()) + [4] * len(targets())
    assert all(row["error"] is None for row in [*document["rows"], *document["end_to_end"]])
    assert all(row["cold"]["torch_imported"] is False for row in document["rows"])
    assert all(row["cold"]["peak_mb"] > row["cold"]["before_load_mb"] for row in document["rows"])
    assert document["data"]["split_by"] == "patient"
    assert document["rows"][0]["figures"]["slices"] == 9


def test_against_needs_pytorch_and_says_so(home: Path) -> None:
    done = edge_box(home, "benchmark", "bundle", "--against", "run", "--data", "data", "--quick", "--out", "other")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "torch, which --against needs, is not installed. Fix: pip install 'lits-deploy[train]'" in done.stderr
    assert not (home / "other").exists()


def test_a_plot_and_a_place_of_ones_own(home: Path) -> None:
    arguments = ["benchmark", str(home / "bundle"), "--data", str(home / "data"), "--batch-sizes", "2", "--quick"]
    result = runner.invoke(app, [*arguments, "--out", str(home / "mine")], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert (home / "mine" / "latency.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (["bundle", "--batch-sizes", "1,x"], UserError, "no batch sizes"),
        (["bundle", "--batch-sizes", "0"], UserError, "no batch sizes"),
        (["data"], BundleError, "not a bundle"),
        (["bundle", "--out", "data"], OutputError, "something else"),
    ],
)
def test_users_errors(
    home: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], error: type[UserError], says: str
) -> None:
    monkeypatch.chdir(home)
    with pytest.raises(error, match=says):
        runner.invoke(app, ["benchmark", *arguments], catch_exceptions=False)
