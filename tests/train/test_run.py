"""A run: its files, and that killed and resumed it reaches the weights of an undisturbed one."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from lits_deploy.contract import InputContract
from lits_deploy.errors import DataError, OutputError, UserError
from tiny_data import make_tiny_data
from train import checkpoint
from train.config import TrainConfig
from train.loop import cosine
from train.models.registry import build
from train.run import Observer, rank, train


class KilledInEpoch(Observer):
    """Raises in the middle of an epoch, as a power cut would end it."""

    def __init__(self, epoch: int) -> None:
        self.epoch, self.training = epoch, ""

    def start(self, what: str, slices: int) -> None:
        self.training = what

    def batch(self, meter: Any) -> None:
        if self.training.startswith(f"epoch {self.epoch}/") and meter.slices > 4:
            raise KeyboardInterrupt


def config(data: Path, model: str, **changes: Any) -> TrainConfig:
    crop = None if model == "unet" else 224
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 4, "width": 2 if model == "unet" else None, **changes}
    return TrainConfig(model=model, data=data, contract=InputContract(window_hu=None, crop=crop), **settings)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_data(tmp_path_factory.mktemp("tiny") / "data")


STRONG: dict[str, Any] = {
    "augment": "strong",
    "sampling": "balanced",
    "optimiser": "adamw",
    "schedule": "cosine",
    "average": 0.9,
    "coarse": 0.5,
    "amp": True,
}


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ("unet", {"schedule": "cosine"}),
        ("unet", {**STRONG, "dice": 1.0}),
        ("resnet18", {**STRONG, "masks": 1.0, "epochs": 2}),
    ],
    ids=["unet-thesis", "unet-strong", "resnet18-strong"],
)
def test_resumed_run_equals_undisturbed_run(data: Path, tmp_path: Path, model: str, changes: dict[str, Any]) -> None:
    settings = config(data, model, **changes)
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    train(settings, straight)
    with pytest.raises(KeyboardInterrupt):
        train(settings, broken, observer=KilledInEpoch(2))
    train(settings, broken, resume=True)
    ours, theirs = load_file(broken / "last.safetensors"), load_file(straight / "last.safetensors")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert any(name.startswith("optimiser.") for name in ours)
    assert any(name.startswith("trained.") for name in ours) == ("average" in changes)
    strip = [{k: v for k, v in row.items() if "second" not in k} for row in rows_of(broken)]
    assert strip == [{k: v for k, v in row.items() if "second" not in k} for row in rows_of(straight)]


def rows_of(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "unet"
    train(config(data, "unet", epochs=2, class_weights="balanced"), out)
    return out


def test_run_holds_what_it_should(run: Path) -> None:
    names = {path.name.split(".out.")[0] for path in run.iterdir()}
    assert names == {
        "config.json",
        "metrics.csv",
        "test.json",
        "last.safetensors",
        "last.json",
        "best.safetensors",
        "best.json",
        "confusion.png",
        "curves.png",
        "events",
        "seen.bin",
        ".lits-deploy.lock",
    }
    rows = rows_of(run)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(float(row["seconds"]) > 0 and row["validate_dice1"] for row in rows)
    written = json.loads((run / "config.json").read_text())
    assert written["dataset"]["patients"] == {"train": ["000", "001"], "validate": ["002"], "test": ["003"]}
    assert written["made_with"]["torch"] == torch.__version__
    assert json.loads((run / "test.json").read_text())["slices"] == 4


def test_best_is_the_best_epoch_on_validate(run: Path) -> None:
    record = checkpoint.read_record(run / "best.safetensors")
    qualities = [(float(r["validate_dice1"]) + float(r["validate_dice2"] or 0)) / 2 for r in rows_of(run)]
    assert record["epoch"] == 1 + max(range(len(qualities)), key=qualities.__getitem__)


def test_another_run_or_other_settings_are_refused(run: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="--resume"):
        train(config(data, "unet"), run)
    with pytest.raises(OutputError, match="other settings: lr"):
        train(config(data, "unet", class_weights="balanced", lr=0.5), run, resume=True)
    falling = config(data, "unet", schedule="cosine")
    assert falling.differences(config(data, "unet", schedule="cosine", epochs=9)) == ["epochs"]
    assert config(data, "unet").differences(config(data, "unet", epochs=9)) == []
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    with pytest.raises(OutputError, match="not empty"):
        train(config(data, "unet"), tmp_path / "full")


def test_max_minutes_is_checked_at_the_start_of_an_epoch(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No epoch was trained"):
        train(config(data, "unet", max_minutes=-1.0), tmp_path / "run")


def test_minutes_before_a_resume_count(data: Path, tmp_path: Path) -> None:
    settings = config(data, "unet", max_minutes=1e-9)
    train(settings, tmp_path / "run")
    train(settings, tmp_path / "run", resume=True)
    assert len(rows_of(tmp_path / "run")) == 1


class Measures(Observer):
    """Keeps what it is given at each epoch, and the figures on test."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.seen: list[tuple[int, bool, list[float], dict[str, Any]]] = []

    def measure(self, epoch: int, validate: dict[str, Any], evaluate: Callable[[str], dict[str, Any]]) -> None:
        saved = (self.run / "last.safetensors").is_file()
        self.seen.append((epoch, saved, validate["dice"], evaluate("test")))


def test_an_observer_measures_every_epoch_and_changes_nothing(run: Path, data: Path, tmp_path: Path) -> None:
    watch = Measures(tmp_path / "run")
    train(config(data, "unet", epochs=2, class_weights="balanced"), tmp_path / "run", observer=watch)
    assert [(epoch, saved) for epoch, saved, _, _ in watch.seen] == [(1, False), (2, True)]
    assert [float(row["validate_dice1"]) for row in rows_of(run)] == [dice[1] for _, _, dice, _ in watch.seen]
    best = checkpoint.read_record(run / "best.safetensors")["epoch"]
    assert watch.seen[best - 1][3]["dice"] == json.loads((run / "test.json").read_text())["dice"]


def test_cosine_rises_then_falls_to_nothing() -> None:
    rates = [cosine(step, 100, 1e-3) for step in range(100)]
    assert rates[0] == pytest.approx(1e-4)
    assert max(rates) == rates[9] > 0.97e-3
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[-1] < 1e-6


def test_moments_take_the_layout_of_their_weights(tmp_path: Path) -> None:
    """A fused optimiser steps weights and moments in the order of their memory, and says nothing where they differ."""
    x = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))

    def conv() -> tuple[Any, torch.optim.Optimizer]:
        torch.manual_seed(0)
        made: Any = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return made, torch.optim.Adam(made.parameters(), lr=0.1, fused=True)

    def step(model: Any, optimiser: torch.optim.Optimizer) -> None:
        optimiser.zero_grad()
        model(x).square().mean().backward()
        optimiser.step()

    straight, its_optimiser = conv()
    step(straight, its_optimiser)
    checkpoint.save(tmp_path / "one.safetensors", straight, {}, its_optimiser)
    step(straight, its_optimiser)
    resumed, optimiser = conv()
    checkpoint.load(tmp_path / "one.safetensors", resumed, optimiser)
    assert optimiser.state[resumed.weight]["exp_avg"].stride() == resumed.weight.stride()
    step(resumed, optimiser)
    assert torch.equal(resumed.weight, straight.weight)


def test_a_run_with_masks_keeps_the_plain_network(data: Path, tmp_path: Path) -> None:
    said: list[str] = []

    class Listener(Observer):
        def say(self, line: str) -> None:
            said.append(line)

    train(config(data, "resnet18", epochs=1, masks=1.0, average=0.9), tmp_path / "run")
    for name in ("best", "last"):
        checkpoint.load(tmp_path / "run" / f"{name}.safetensors", build("resnet18"))
    assert all(name.startswith("model.") for name in load_file(tmp_path / "run" / "best.safetensors"))
    train(config(data, "alexnet", epochs=1, masks=1.0), tmp_path / "alexnet", observer=Listener())
    assert any("takes no masks" in line for line in said)


def test_half_the_side_is_refused_where_the_network_fixes_it(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--coarse 0"):
        train(config(data, "alexnet", coarse=0.5), tmp_path / "run")
    assert config(data, "unet", coarse=0.5).differences(config(data, "unet", coarse=0.5, epochs=9)) == ["epochs"]


def test_checkpoint_of_another_network_is_refused(run: Path) -> None:
    with pytest.raises(DataError, match="does not fit the network"):
        checkpoint.load(run / "best.safetensors", build("unet", width=4))


def test_tied_blocks_survive_a_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tied = build("resnet34-tied").eval()
    checkpoint.save(tmp_path / "tied.safetensors", tied, {})
    again = build("resnet34-tied").eval()
    checkpoint.load(tmp_path / "tied.safetensors", again)
    x = torch.rand(1, 1, 224, 224)
    with torch.no_grad():
        assert torch.equal(tied(x), again(x))


def test_with_a_falling_rate_the_best_epoch_is_of_the_later_half(tmp_path: Path) -> None:
    contract = InputContract(window_hu=None, crop=None)
    config = TrainConfig(model="unet", data=tmp_path, epochs=4, schedule="cosine", contract=contract)
    ranks = [rank(config, epoch, found) for epoch, found in ((1, 0.5), (2, 0.9), (3, 0.6), (4, 0.7))]
    assert sorted(ranks) == [ranks[0], ranks[1], ranks[2], ranks[3]]
    constant = dataclasses.replace(config, schedule="constant")
    assert rank(constant, 4, 0.7) < rank(constant, 2, 0.9)


def test_slices_without_neighbours_are_reported(tmp_path: Path) -> None:
    data = make_tiny_data(tmp_path / "data", slices=2)
    for path in sorted(data.glob("train/*/volume-000_0001.png")):
        path.rename(path.with_name("volume-000_0001-copy-of-2.png"))
    said: list[str] = []

    class Listener(Observer):
        def say(self, line: str) -> None:
            said.append(line)

    contract = InputContract(window_hu=None, crop=None, size=64, channels=3)
    config = TrainConfig(model="unet", data=data, epochs=1, batch_size=2, width=2, contract=contract)
    train(config, tmp_path / "run", observer=Listener())
    assert "note: 2 training slices have no neighbours: their names tell no number, or another's too." in said
