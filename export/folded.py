"""Which of a folded run's networks goes into a bundle, and what is known of it beside a run's: folds, answers, layout.

best      the network of one fold: the one whose figures on its held-out patients are the median of the folds'. The
          highest would be the luckiest, and its figures would promise too much.
average   all folds' networks in one graph (`export.mean_of_folds`)
all       the network that was trained on all patients (`train --folds K --final`)

A fold's network is that of its last epoch, as its answers out of fold are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.choices import Networks
from lits_deploy.errors import DataError
from lits_deploy.files import sha256_file
from train.data.layout import Layout, read_layout
from train.folder import LAST
from train.folds.figures import by_fold
from train.folds.folder import FoldsRecord, fold_folder, pool_listing
from train.folds.splits import fold_layout
from train.out_of_fold import OutOfFold, of_run


@dataclass(frozen=True, kw_only=True)
class Folded:
    """What a bundle of a folded run comes from.

    fold: of `best`, its number; None where all patients of train and validate taught the network. layout: the data it
    was trained on, dealt as it was; of `average` and `all` validate holds the patients of the last fold, which it was
    trained on too. None where that data is not at hand. answers: of all folds, out of fold.
    """

    run: Path
    taken: Networks
    folds: int
    fold: int | None
    layout: Layout | None
    answers: OutOfFold

    def named(self, split: str) -> str:
        """What readers see a split of `layout` called."""
        assert self.layout is not None
        name = self.layout.root.resolve().name
        if split == "test":
            return f"{name}/test"
        if split == "train":
            return f"{name}, training patients"
        number, known = self.fold or self.folds, "held out" if self.fold else "trained on"
        return f"{name}, fold {number} of {self.folds} ({known})"


def median_fold(answers: OutOfFold) -> tuple[int, list[float]]:
    """The fold whose figure is the median, the lower of two, and the figure of each: `deciding_figure`."""
    found = [_figure(row) for row in by_fold(answers)]
    order = sorted(range(len(found)), key=lambda n: (found[n], n))
    return order[(len(found) - 1) // 2] + 1, found


def deciding_figure(answers: OutOfFold) -> str:
    """What folds are held against each other by."""
    return "balanced accuracy" if answers.task == "classify" else "mean Dice of liver and tumour"


def _figure(row: dict[str, Any]) -> float:
    if "dice" in row:
        return sum(value or 0.0 for value in row["dice"][1:]) / 2
    return float(row["balanced_accuracy"] or 0.0)


def fresh_answers(run: Path, record: FoldsRecord) -> OutOfFold:
    """The answers of a folded run; DataError where they are not those of its checkpoints, or not there."""
    answers = of_run(run)
    paths = [fold_folder(run, number) / LAST for number in range(1, len(record.folds) + 1)]
    if [sha256_file(path) if path.is_file() else None for path in paths] != answers.record["checkpoints"]:
        raise DataError(
            f"{run} has answers out of fold of other checkpoints than its own.",
            fix="the same `train --folds` command, with --resume",
        )
    return answers


def dealt(record: FoldsRecord, data: Path | None, fold: int | None) -> Layout | None:
    """The layout of a fold (None: of all patients, the last fold as validate); None where the data is not at hand."""
    if data is None or not data.is_dir():
        return None
    try:
        layout = read_layout(data)
    except DataError:
        return None
    if pool_listing(layout) != record.listing:
        return None
    return fold_layout(layout, record.folds, fold or len(record.folds))
