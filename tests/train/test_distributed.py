"""Two processes on a CPU train what one does."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lits_deploy.contract import InputContract
from tiny_data import make_tiny_data
from train import checkpoint, distributed
from train.config import TrainConfig
from train.models.registry import build
from train.run import train

ROOT = Path(__file__).resolve().parents[2]


def in_two_processes(data: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    args = ["--data", data, "--model", "unet", "--width", "4", "--out", out, "--amp", "off", "--device", "cpu", *more]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "train"]
    return subprocess.run(
        [sys.executable, *launch, *(str(word) for word in args)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    data = make_tiny_data(tmp_path / "data", window=[-40.0, 160.0])
    settings = ("--epochs", "2", "--batch-size", "5", "--lr", "1e-3", "--class-weights", "balanced")
    done = in_two_processes(data, tmp_path / "two", *settings)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("next:  lits-deploy export") == 1, "one process speaks"
    config = TrainConfig(
        model="unet",
        data=data,
        epochs=2,
        batch_size=5,
        width=4,
        lr=1e-3,
        class_weights="balanced",
        contract=InputContract(window_hu=(-40.0, 160.0), crop=None),
    )
    train(config, tmp_path / "one")

    rows = [list(csv.DictReader((tmp_path / run / "metrics.csv").read_text().splitlines())) for run in ("two", "one")]
    for two, one in zip(*rows, strict=True):
        for name in ("train_loss", "validate_loss", "validate_dice1"):
            assert float(two[name]) == pytest.approx(float(one[name]), rel=2e-3, abs=1e-4), name
    # Weights themselves may differ: a bias before BatchNorm has no gradient but rounding, which Adam makes a step of.
    networks = []
    for run in ("two", "one"):
        model = build("unet", width=4).eval()
        checkpoint.load(tmp_path / run / "last.safetensors", model)
        networks.append(model)
    x = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        two_out, one_out = (model(x).softmax(dim=1) for model in networks)
    assert (two_out - one_out).abs().max() < 5e-3


def test_several_processes_need_a_folder_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from lits_deploy.cli.app import app
    from lits_deploy.errors import UserError

    monkeypatch.setenv("WORLD_SIZE", "2")
    data = make_tiny_data(tmp_path / "data")
    result = CliRunner().invoke(app, ["train", "--data", str(data), "--model", "unet"])
    assert isinstance(result.exception, UserError)
    assert "--out RUN" in str(result.exception)


def test_one_process_is_left_alone() -> None:
    assert distributed.processes() == 1
    assert distributed.rank() == 0
    assert distributed.total(torch.tensor(3.0)) == 3.0
    assert distributed.gathered("a") == ["a"]
    assert distributed.agreed(True)
    layer = distributed.SharedBatchNorm(3)
    plain = torch.nn.BatchNorm2d(3)
    x = torch.rand(4, 3, 5, 5)
    assert torch.equal(layer(x), plain(x))
