"""Trainings that are done once: a run is kept under a name made of everything that changes its weights.

The same settings on the same data are one run, whichever recipe asks; asked for more epochs, it goes on from where it
is. Killed, it resumes (`train.run`). Epochs, minutes and the number of workers are no part of the name.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import torch

from lits_deploy.files import canonical_json, sha256_bytes
from lits_deploy.machine import processor
from train import checkpoint
from train.config import FREE, TrainConfig
from train.folder import CONFIG, LAST
from train.recipes.lab.runs import (
    EVERY_EPOCH,
    Figures,
    FinishedRun,
    Recorder,
    keep_snapshot,
    read_every_epoch,
    read_rows,
    slim,
)
from train.run import TEST, train
from train.session import Observer

ENDLESS = 1_000
"""Epochs of a run that minutes end."""


@dataclass(frozen=True, kw_only=True)
class WantedRun:
    """A run that a recipe asks for.

    view, split_by: what the data is recognised by, and how it is split.
    landmark: the epoch whose weights are kept where training goes on beyond it. slim: as in `Scale`.
    config.max_minutes, if set, ends the run in place of config.epochs.
    """

    config: TrainConfig
    view: str
    split_by: str
    landmark: int
    slim: bool = False

    @property
    def name(self) -> str:
        """Folder of the run: readable, then 8 hex digits of everything that changes its weights."""
        c = self.config
        named = {key: value for key, value in c.to_json().items() if key not in FREE}
        kind = torch.device(c.device).type
        key = sha256_bytes(canonical_json([named, self.view, kind]).encode())[:8]
        parts = [c.model, "kaiming" if c.init == "kaiming" else "", f"lr{c.lr:.0e}".replace("e-0", "e-")]
        parts += ["nodecay" if c.weight_decay == 0 else "", f"seed{c.seed}", key]
        return "-".join(word for word in parts if word)

    def enough(self, rows: Sequence[Figures]) -> bool:
        """Whether so many epochs are all that is asked for."""
        if self.config.max_minutes is not None:
            return sum(row["seconds"] for row in rows) > 60 * self.config.max_minutes or len(rows) >= ENDLESS
        return len(rows) >= self.config.epochs

    def part(self, rows: Sequence[Figures]) -> int:
        """How many of the epochs there are were asked for."""
        if self.config.max_minutes is None:
            return min(len(rows), self.config.epochs)
        return epochs_within([row["seconds"] for row in rows], self.config.max_minutes)


def epochs_within(seconds: Sequence[float], minutes: float) -> int:
    """Epochs trained under a limit that is checked at the start of each: one begun in time is finished."""
    begun = zip(accumulate(seconds, initial=0.0), seconds, strict=False)
    return sum(spent <= 60 * minutes for spent, _ in begun)


def trained(wanted: WantedRun, runs: Path, watch: Observer) -> tuple[FinishedRun, bool]:
    """The run in its folder below `runs`, trained as far as it lacks; and whether anything was left to train."""
    folder, config = runs / wanted.name, wanted.config
    if folder.exists() and not (folder / CONFIG).is_file():  # killed before it began
        shutil.rmtree(folder)
    rows = read_rows(folder)
    if wanted.enough(rows) and (folder / TEST).is_file():
        return _read(folder, wanted), False
    if rows and not checkpoint.has_optimiser(folder / LAST):  # a slim run cannot go on
        shutil.rmtree(folder)
        rows = []
    recorder = Recorder(folder, wanted.name, watch)
    last = ENDLESS if config.max_minutes is not None else config.epochs
    if len(rows) < wanted.landmark < last:  # stop there on the way: its weights are there whichever recipe came first
        train(replace(config, epochs=wanted.landmark), folder, resume=folder.exists(), observer=recorder)
        rows = read_rows(folder)
    if len(rows) == wanted.landmark < last and not wanted.enough(rows):
        keep_snapshot(folder, wanted.landmark)
        (folder / TEST).unlink(missing_ok=True)  # a killed run must not pass for one that was tested at its end
    train(replace(config, epochs=max(last, len(rows))), folder, resume=folder.exists(), observer=recorder)
    if wanted.slim:
        slim(folder)
    return _read(folder, wanted), True


def _read(folder: Path, wanted: WantedRun) -> FinishedRun:
    rows, lines = read_rows(folder), read_every_epoch(folder / EVERY_EPOCH)
    count = wanted.part(rows)
    written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    device = torch.device(written["device"])
    return FinishedRun(
        name=wanted.name,
        folder=folder,
        config=wanted.config,
        split_by=wanted.split_by,
        device=device_name(device),
        rows=tuple(rows[:count]),
        lines=tuple(lines[:count]),
    )


def device_name(device: torch.device) -> str:
    """The device as its maker calls it."""
    if device.type == "cuda" and torch.cuda.is_available():
        return f"{device}, {torch.cuda.get_device_name(device)}"
    return f"{device}, {processor()}" if device.type == "cpu" else str(device)
