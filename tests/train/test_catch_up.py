"""After a kill behind the last checkpoint, whatever is written of a run is brought up to that checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lits_deploy.contract import InputContract
from tiny_data import make_tiny_data
from train import plots
from train import run as training
from train.config import TrainConfig
from train.run import train


def config(data: Path, epochs: int) -> TrainConfig:
    contract = InputContract(window_hu=None, crop=None, size=64)
    return TrainConfig(model="unet", data=data, epochs=epochs, width=2, contract=contract)


def points(run: Path, name: str) -> list[tuple[int, float]]:
    """Steps and values that TensorBoard shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves take longer than these epochs."""
    monkeypatch.setattr(plots, "save", lambda figure, path: None)


@pytest.mark.parametrize("declared", [{}, {"synthetic": True, "split_by": "slice"}])
def test_pictures_of_accuracy_carry_the_marks_of_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, declared: dict[str, Any]
) -> None:
    data, titles = make_tiny_data(tmp_path / "data", slices=3, patients=(1, 1, 1)), {}
    (data / "dataset.json").write_text(json.dumps(declared))
    monkeypatch.setattr(plots, "save", lambda figure, path: titles.update({path.name: figure.axes[-1].get_title()}))
    train(config(data, 1), tmp_path / "run")
    mark = ", SPLIT BY SLICE, SYNTHETIC" if declared else ""
    assert titles == {"curves.png": f"Dice on validate{mark}", "confusion.png": f"Validate, pixels{mark}"}


def killed_in_epoch_2(keeper: Any, rows: list[dict[str, Any]], *_: Any) -> None:
    if rows[-1]["epoch"] == 2:
        raise KeyboardInterrupt


@pytest.mark.parametrize("lost", ["_draw", "_tensorboard"])
def test_everything_is_there_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    data, run = make_tiny_data(tmp_path / "data", slices=3, patients=(1, 1, 1)), tmp_path / "run"
    train(config(data, 1), run)
    with monkeypatch.context() as patch:
        patch.setattr(training._Keeper, lost, killed_in_epoch_2)
        with pytest.raises(KeyboardInterrupt):
            train(config(data, 2), run, resume=True)
    (run / "best.json").unlink()
    train(config(data, 2), run, resume=True)  # nothing is left to train
    rows = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()[1:]]
    assert [row[0] for row in rows] == ["1", "2"]
    assert [(step, pytest.approx(value)) for step, value in points(run, "train/loss")] == [
        (int(row[0]), float(row[1])) for row in rows
    ]
    assert len(list(run.glob("events.out.tfevents.*"))) == 1
    assert json.loads((run / "best.json").read_text())["epoch"] in (1, 2)


def test_figures_on_test_are_those_of_best_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, run = make_tiny_data(tmp_path / "data", slices=3, patients=(1, 1, 1)), tmp_path / "run"
    train(config(data, 1), run)
    assert json.loads((run / "test.json").read_text())["epoch"] == 1
    monkeypatch.setattr(training, "rank", lambda config, epoch, found: float(epoch))
    monkeypatch.setattr(training._Keeper, "_tensorboard", killed_in_epoch_2)
    with pytest.raises(KeyboardInterrupt):
        train(config(data, 2), run, resume=True)
    assert not (run / "test.json").exists()
