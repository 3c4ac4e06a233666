"""What a run tells, epoch by epoch, up to the epoch a recipe asks for: it may have been trained longer by another.

Needs an observer at work while it trained (`Recorder`): metrics.csv has no figures on test after each epoch, which
Figures 15 and 20 and Table 8 show.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lits_deploy.files import write_json
from train import checkpoint
from train.config import TrainConfig
from train.folder import BEST, LAST
from train.meter import EpochMeter
from train.models.registry import build
from train.session import Observer

EVERY_EPOCH = "every_epoch.json"
Figures = dict[str, Any]


class Recorder(Observer):
    """Keeps every epoch's figures on validate and test in RUN/every_epoch.json, and passes progress on."""

    def __init__(self, folder: Path, name: str, watch: Observer) -> None:
        self.path, self.name, self.watch = folder / EVERY_EPOCH, name, watch

    def start(self, what: str, slices: int) -> None:
        """A pass begins."""
        self.watch.start(f"{self.name}: {what}", slices)

    def batch(self, meter: EpochMeter) -> None:
        """A batch is done."""
        self.watch.batch(meter)

    def measure(self, epoch: int, validate: Figures, evaluate: Callable[[str], Figures]) -> None:
        """Before the epoch's checkpoint: an epoch that is done has its line, one that is repeated replaces it."""
        before = [line for line in read_every_epoch(self.path) if line["epoch"] < epoch]
        write_json(self.path, [*before, {"epoch": epoch, "validate": validate, "test": evaluate("test")}])


def read_every_epoch(path: Path) -> list[Figures]:
    """The lines of a Recorder's file, [] where there is none."""
    if not path.is_file():
        return []
    lines: list[Figures] = json.loads(path.read_text(encoding="utf-8"))
    return lines


def read_rows(folder: Path) -> list[Figures]:
    """The rows of metrics.csv with their types, from the last checkpoint; [] where there is none."""
    if not (folder / LAST).is_file():
        return []
    rows: list[Figures] = checkpoint.read_record(folder / LAST)["rows"]
    return rows


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A finished run, seen up to `epochs`.

    name: of its folder. split_by: patient or slice. rows: of metrics.csv; lines: figures on validate and test
    (`EpochMeter.result`), one an epoch.
    """

    name: str
    folder: Path
    config: TrainConfig
    split_by: str
    device: str
    rows: tuple[Figures, ...]
    lines: tuple[Figures, ...]

    @property
    def epochs(self) -> int:
        """Epochs that are looked at."""
        return len(self.rows)

    def row(self, name: str) -> list[float]:
        """A column of metrics.csv, such as train_loss or seconds."""
        return [row[name] for row in self.rows]

    def curve(self, split: str, name: str, index: int | None = None) -> list[float | None]:
        """A figure on train, validate or test after each epoch; index: of a class, for lists of figures."""
        if split == "train":
            return [row[f"train_{name}"] for row in self.rows]
        values = [line[split][name] for line in self.lines]
        return values if index is None else [value[index] for value in values]

    def percent(self, split: str, name: str, index: int | None = None) -> list[float | None]:
        """A share after each epoch, in %."""
        return [None if value is None else 100 * value for value in self.curve(split, name, index)]

    def last(self, split: str) -> Figures:
        """The figures after the last epoch."""
        found: Figures = self.lines[-1][split]
        return found

    @property
    def best_epoch(self) -> int:
        """The epoch, from 1, of the highest balanced accuracy on validate, the first of equals."""
        values = self.curve("validate", "balanced_accuracy")
        return 1 + max(range(len(values)), key=lambda i: values[i] or 0.0)

    def weights(self) -> Path:
        """The checkpoint of the last epoch looked at."""
        snapshot = snapshot_path(self.folder, self.epochs)
        return snapshot if snapshot.is_file() else self.folder / LAST

    def model(self, device: torch.device) -> nn.Module:
        """The network after the last epoch looked at, for inference."""
        model = build(self.config.model, width=self.config.width)
        record = checkpoint.load(self.weights(), model)
        assert record["epoch"] == self.epochs, f"{self.folder} holds no weights of epoch {self.epochs}"
        return model.to(device).eval()


def ends(
    split: str, figure: str, *, of: Callable[[FinishedRun], int] = lambda run: run.epochs
) -> Callable[..., list[Any]]:
    """For a column of a table: of (name, runs) the figure of each run after its last epoch, or that which `of` names.

    Accuracies in %.
    """

    def found(_: str, runs: Sequence[FinishedRun]) -> list[float | None]:
        values = ((run.percent if "accuracy" in figure else run.curve)(split, figure) for run in runs)
        return [curve[of(run) - 1] for curve, run in zip(values, runs, strict=True)]

    return found


def snapshot_path(folder: Path, epoch: int) -> Path:
    """Where the weights after an epoch are kept, if training goes on beyond it."""
    return folder / f"epoch-{epoch:03d}.safetensors"


def keep_snapshot(folder: Path, epoch: int) -> None:
    """Keep the last checkpoint's weights, which are those after `epoch`, without the optimiser."""
    if not (target := snapshot_path(folder, epoch)).is_file():
        checkpoint.copy_weights(folder / LAST, target)


def slim(folder: Path) -> None:
    """Take the optimiser out of the last checkpoint; where it is the best one too, both become one file."""
    if not checkpoint.has_optimiser(folder / LAST):
        return
    checkpoint.copy_weights(folder / LAST, folder / LAST)
    last, best = (checkpoint.read_record(folder / name)["epoch"] for name in (LAST, BEST))
    if last == best:
        (folder / BEST).unlink()
        (folder / BEST).hardlink_to(folder / LAST)
