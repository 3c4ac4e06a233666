"""A data set that is split by slice, or holds phantoms, says so in every figure made from it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.peers.lineup import find_scans
from benchmarks.report import model_table
from benchmarks.report_files import csv_text
from export.card import model_card
from lits_deploy.bundle import Artifact, Manifest
from lits_deploy.cli.app import app
from lits_deploy.contract import InputContract
from tiny_data import make_tiny_data
from train.data.layout import read_layout

SMALL = ["--model", "unet", "--width", "2", "--epochs", "1", "--batch-size", "4"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny slices whose dataset.json declares the leaky split, though no patient happens to leak."""
    folder = make_tiny_data(tmp_path_factory.mktemp("mark") / "data", window=[-40, 160])
    declared = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**declared, "split_by": "slice", "synthetic": True}))
    return folder


def test_the_layout_carries_it_even_of_one_split(data: Path) -> None:
    assert read_layout(data).leaks() == []
    assert read_layout(data).describe()["split_by"] == "slice"
    assert read_layout(data, ("test",)).describe()["split_by"] == "slice"


def test_training_prints_and_stores_it(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ["train", "--data", str(data), "--out", str(run), *SMALL]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "is split by slice; accuracies will be too high" in result.output
    assert f"{data} is SYNTHETIC: figures on phantoms say nothing about patients." in result.output.replace("\n", "")
    assert "test (SYNTHETIC data), split by slice" in result.output
    assert json.loads((run / "config.json").read_text())["dataset"]["split_by"] == "slice"
    assert json.loads((run / "config.json").read_text())["dataset"]["synthetic"] is True
    figures = json.loads((run / "test.json").read_text())
    assert (figures["split_by"], figures["synthetic"]) == ("slice", True)
    with (run / "metrics.csv").open(newline="") as stream:
        assert [row["split_by"] for row in csv.DictReader(stream)] == ["slice"]


def test_the_card_carries_it(data: Path) -> None:
    figures = {
        "data": "data/test",
        "split_by": "slice",
        "synthetic": False,
        "slices": 4,
        "patients": 1,
        "failed": 0,
        "left_out": 0,
        "runtime": "onnxruntime 1",
        "device": "cpu",
        "accuracy": 0.99,
        "balanced_accuracy": 0.9,
        "liver_accuracy": 0.9,
        "lesion_auroc": None,
        "confusion": [[2, 0, 0], [0, 1, 0], [0, 0, 1]],
    }
    artifact = Artifact(
        name="fp32",
        file="model.onnx",
        sha256="0" * 64,
        bytes=1,
        precision="fp32",
        opset=19,
        outputs=("logits",),
        tolerance=1e-4,
        parity={"slices": 256, "origin": "phantoms", "max_delta": 0.0, "flipped": 0},
    )
    settings = {"epochs": 1, "lr": 0.1, "batch_size": 4, "class_weights": "none", "seed": 0}
    manifest = Manifest(
        task="classify",
        model={"name": "resnet18"},
        contract=InputContract(window_hu=None),
        artifacts=(artifact,),
        files={},
        training={"dataset": read_layout(data).describe(), "settings": settings, "epoch": 1, "checkpoint": "best"},
        metrics={"artifacts": {"fp32": {"test": figures}}},
    )
    card = model_card(manifest)
    assert "On data/test, 4 slices of 1 patient, SPLIT BY SLICE." in card
    assert "split by slice. train: 8 slices" in card


def test_benchmarks_carry_it(data: Path) -> None:
    assert find_scans([data / "test"]).line == "data, test split BY SLICE: 4 files"
    document = {
        "bundle": {"task": "classify"},
        "against": None,
        "data": {"split_by": "slice"},
        "rows": [],
        "end_to_end": [],
    }
    assert "accuracy (SPLIT BY SLICE)" in model_table(document)[0]
    synthetic = {**document, "data": {"split_by": "slice", "synthetic": True}}
    assert "accuracy (SPLIT BY SLICE) (SYNTHETIC)" in model_table(synthetic)[0]
    assert "split_by" in csv_text(document).splitlines()[0].split(",")
