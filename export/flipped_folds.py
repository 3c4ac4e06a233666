"""A folded run's answers out of fold with mirror images, for a file that answers mirror images with each slice.

Those that the run has are without: a threshold on them would lie elsewhere, and a promise would be of another file.
"""

from __future__ import annotations

import dataclasses
from functools import partial

from export.choices import Flips
from export.evidence import of_folds
from export.flips import Flipped
from export.progress import ExportProgress
from export.source import Original
from lits_deploy.errors import DataError
from train.data.layout import read_layout
from train.folds.answers import answered_anew
from train.folds.folder import read_record
from train.meter import EpochMeter
from train.session import Observer


def with_flipped_answers(original: Original, flips: Flips, observer: ExportProgress) -> Original:
    """The original of a folded run with its answers out of fold, and its evidence, as `flips` has them.

    DataError where the data set is not at hand, or not the one that the folds were trained on.
    """
    folded = original.folded
    assert folded is not None
    if folded.layout is None:
        raise DataError(
            f"The answers of {folded.run} out of fold are without mirror images, and its data set is not at hand to "
            "answer it anew.",
            fix="--data with the data set that the folds were trained on, or leave --flips out",
        )
    answers = answered_anew(
        folded.run,
        read_record(folded.run),
        read_layout(folded.layout.root),
        _FoldProgress(observer),
        partial(Flipped, flips=flips),
        flips=flips,
    )
    return dataclasses.replace(
        original,
        folded=dataclasses.replace(folded, answers=answers),
        out_of_fold=of_folds(answers) if answers.task == "classify" else None,
    )


class _FoldProgress(Observer):
    """Passes over the slices, as an export shows its work."""

    def __init__(self, observer: ExportProgress) -> None:
        self.observer, self.done = observer, 0

    def start(self, what: str, slices: int) -> None:
        """A fold's patients."""
        self.done = 0
        self.observer.phase(f"{what}, with mirror images", slices)

    def batch(self, meter: EpochMeter) -> None:
        """So many more slices."""
        self.observer.progress(meter.slices - self.done)
        self.done = meter.slices
