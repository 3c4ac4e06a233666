"""What is seen of a training: a bar a pass, a line an epoch."""

from __future__ import annotations

import math
import time
from typing import Any

from lits_deploy.cli.console import console, progress_bar
from lits_deploy.events.emit import emit, phase
from train.meter import EpochMeter
from train.session import Observer

LOSS_EVERY = 0.5
"""Seconds between two looks at the loss: each waits for a GPU."""


_LOGGED = ("train_loss", "validate_loss", "validate_balanced_accuracy", "seconds", "slices_per_second")
"""Of an epoch's row, what a log has."""


class Bars(Observer):
    """The observer that draws: one bar a pass, one line an epoch."""

    def __init__(self) -> None:
        self._console, self._progress = console, progress_bar()
        self._task: Any = None
        self._said: set[str] = set()

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def say(self, line: str) -> None:
        """A line for the user. A note or warning that holds for several parts of a run is said once."""
        if self.part and line.startswith(("note:", "warning:")):
            if line in self._said:
                return
            self._said.add(line)
        self._console.print(self._of_part(line))

    def _of_part(self, line: str) -> str:
        return f"{self.part}: {line}" if self.part else line

    def start(self, what: str, slices: int) -> None:
        """A pass over the data begins: its bar replaces the one before."""
        phase(self._of_part(what))
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._began, self._read = time.perf_counter(), -math.inf
        self._task = self._progress.add_task(self._of_part(what), total=slices, rate=0.0, note="", unit="slices")

    def batch(self, meter: EpochMeter) -> None:
        """A batch is done."""
        now = time.perf_counter()
        if now - self._read >= LOSS_EVERY:
            self._progress.update(self._task, note=f"loss {figure(meter.mean_loss())}")
            self._read = time.perf_counter()
        self._progress.update(self._task, completed=meter.slices, rate=meter.slices / (now - self._began))

    def end_epoch(self, epoch: int, epochs: int, row: dict[str, Any]) -> None:
        """An epoch is done: its line."""
        emit("epoch", epoch=epoch, epochs=epochs, **{name: value for name, value in row.items() if name in _LOGGED})
        figures = "nobody is held out"
        if row["validate_accuracy"] is not None:
            figures = f"accuracy {row['validate_accuracy']:.3f}, balanced {row['validate_balanced_accuracy']:.3f}"
        if row.get("validate_dice1") is not None:
            figures = f"Dice liver {row['validate_dice1']:.3f}, tumour {figure(row.get('validate_dice2'))}"
        elif row.get("validate_lesion_auroc") is not None:
            figures += f", lesion AUROC {row['validate_lesion_auroc']:.3f}"
        if row.get("split_by") == "slice":
            figures += " (split by slice)"
        loss = f"train loss {figure(row['train_loss'], 4)}"
        if row["validate_accuracy"] is not None:
            loss += f", validate loss {figure(row['validate_loss'], 4)}"
        pace = f"{row['seconds']:.0f} s, {row['slices_per_second']:.1f} slices/s"
        self._console.print(self._of_part(f"epoch {epoch}/{epochs}: {loss}, {figures}; {pace}"))


def figure(value: float | None, digits: int = 3) -> str:
    """A figure as text, where there is one."""
    return "not defined here" if value is None else f"{value:.{digits}f}"
