"""A network of three neighbouring slices, from training through export to verify, evaluation and benchmark inputs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from benchmarks.inputs import from_layout, from_phantoms
from export.held_out import HeldOut
from export.run import export
from export.source import from_run, of_weights
from export.weights import read_weights
from lits_deploy.bundle import Bundle
from lits_deploy.cli.app import app
from lits_deploy.contract import InputContract
from lits_deploy.goldens import read_golden
from tiny_data import make_tiny_data
from train.data.layout import read_layout
from train.data.load import load_sample
from train.models.registry import NETWORKS, build

THREE = InputContract(window_hu=(-40.0, 160.0), channels=3, size=64, crop=None)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("three")
    data = make_tiny_data(folder / "data", window=[-40, 160])
    command = ["train", "--data", str(data), "--model", "unet", "--width", "2", "--size", "64", "--channels", "3"]
    result = CliRunner().invoke(app, [*command, "--epochs", "1", "--batch-size", "4", "--out", str(folder / "run")])
    assert result.exit_code == 0, result.output
    assert "3 slices at once" in result.output
    return folder / "run"


@pytest.fixture(scope="module")
def bundle(run: Path) -> Bundle:
    return export(from_run(run), run.parent / "bundle")


def test_the_bundle_takes_three_channels_and_proves_itself(run: Path, bundle: Bundle) -> None:
    assert bundle.manifest.contract.shape == (3, 64, 64)
    slices, _ = read_golden(bundle)
    assert slices.shape[1:] == (3, 64, 64)
    assert any((one[0] != one[2]).any() for one in slices)  # neighbours, not copies
    assert CliRunner().invoke(app, ["verify", str(bundle.folder)]).exit_code == 0
    assert "3 channels" in CliRunner().invoke(app, ["bundle", "inspect", str(bundle.folder)]).output
    card = (bundle.folder / "README.md").read_text()
    assert "sees 3 slices at once" in card
    assert "without its neighbours" not in card


def test_parity_and_benchmark_slices_have_their_neighbours(run: Path, bundle: Bundle) -> None:
    original = from_run(run)
    assert original.data is not None
    samples = read_layout(original.data).splits["validate"]
    _, (names, slices) = HeldOut(original).parity(256)
    assert names[1] == samples[1].image.stem
    assert np.array_equal(slices[1], load_sample(samples[1], THREE))
    tested = read_layout(original.data).splits["test"]
    assert np.array_equal(from_layout(bundle, original.data, 4).slices[2], load_sample(tested[2], THREE))
    phantoms = from_phantoms(bundle, 5).slices
    assert np.array_equal(phantoms[3, 0], phantoms[2, 1])
    assert np.array_equal(phantoms[3, 2], phantoms[4, 1])


def test_evaluation_gives_what_training_measured(run: Path, bundle: Bundle, tmp_path: Path) -> None:
    command = ["evaluate", str(bundle.folder), "--data", str(run.parent / "data"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())["figures"]["confusion_pixels"]
    trained = json.loads((run / "test.json").read_text())["confusion"]
    assert np.sum(found) == np.sum(trained)
    assert np.abs(np.subtract(found, trained)).sum() <= 4  # a pixel on the edge of two classes


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in ("alexnet", "vgg19", "resnet152")])
def test_networks_are_built_for_three_channels(name: str, tmp_path: Path) -> None:
    width = 2 if name == "unet" else None
    model = build(name, width=width, channels=3).eval()
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    crop = None if name == "unet" else 56
    contract = dataclasses.replace(THREE, crop=crop)
    original = of_weights(read_weights(tmp_path / "weights.pt"), name, width=width, contract=contract)
    with torch.inference_mode():
        answer = original.module(torch.zeros((2, 3, 64, 64), dtype=torch.uint8))[0]
    assert answer.shape[:2] == (2, 3)
