"""The gate of a network that was trained on all patients: nobody is left to measure it on, so it must agree with the
folds' networks, which were measured.

Its answers are held against the mean of the folds' on slices that none of them was trained on (test, whose truth is not
looked at); where these are few, on those of training patients, too. How far off a network may be is set by the folds:
each is held against the mean of the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from export.held_out import HeldOut
from export.parity import original_probabilities
from export.progress import ExportProgress
from export.source import Original
from lits_deploy.errors import DataError, SliceError
from lits_deploy.scans import Slice
from train.data.spread import evenly

MOST = {"classify": 512, "segment": 64}
"""Slices that are compared, evenly spread: each goes through every network."""

FACTOR, SLACK = 1.5, 0.01
"""A network is let off with this much of the largest disagreement among the folds, and this share of slices more: the
most deviant of six alike networks is any of them one time in six."""

_BATCH = {"classify": 16, "segment": 2}


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """slices, origin: of what was compared, and where from. same: share of slices (U-Net: of pixels) to which the
    network gives the class that the mean of the folds gives; folds: the same of each fold against the mean of the
    others. delta: mean |Δp|."""

    slices: int
    origin: str
    same: float
    folds: tuple[float, ...]
    delta: float

    @property
    def least(self) -> float:
        """The share under which the gate fails."""
        return 1 - FACTOR * (1 - min(self.folds)) - SLACK

    def to_json(self) -> dict[str, Any]:
        """For `metrics.agreement` of the manifest."""
        return {
            "slices": self.slices,
            "origin": self.origin,
            "same_class": self.same,
            "folds": list(self.folds),
            "least": self.least,
            "mean_delta": self.delta,
        }


def agree(held: HeldOut, folds: list[Original], observer: ExportProgress) -> Agreement:
    """Hold the original against the mean of the folds; DataError where it is further off than the folds allow."""
    task = held.original.info.task
    origin, slices = _slices(held, MOST[task])
    observer.phase("agreement with the folds", len(slices))
    same, each, deltas = [], [], []
    for start in range(0, len(slices), _BATCH[task]):
        part = slices[start : start + _BATCH[task]]
        own, theirs = original_probabilities(held.original, part), [original_probabilities(one, part) for one in folds]
        mean = np.mean(theirs, axis=0)
        same.append(_share(own, mean))
        others = [np.mean([p for n, p in enumerate(theirs) if n != k], axis=0) for k in range(len(theirs))]
        each.append([_share(one, rest) for one, rest in zip(theirs, others, strict=True)])
        deltas.append(np.abs(own - mean).mean(axis=tuple(range(1, own.ndim))))
        observer.progress(len(part))
    found = Agreement(
        slices=len(slices),
        origin=origin,
        same=float(np.concatenate(same).mean()),
        folds=tuple(float(np.concatenate(column).mean()) for column in zip(*each, strict=True)),
        delta=float(np.concatenate(deltas).mean()),
    )
    if found.same < found.least:
        raise DataError(
            f"The network of all patients gives another class than the mean of the folds to {1 - found.same:.1%} of "
            f"{found.slices} slices ({origin}), and at most {1 - found.least:.1%} is allowed: the folds' figures do "
            "not hold for it.",
            fix="export --from average or best, or remove its `final` folder and train it again with --final --resume",
        )
    return found


def _share(one: npt.NDArray[np.float32], other: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Of each slice 1 where both give one class, else 0; of a U-Net the share of such pixels."""
    equal = one.argmax(axis=1) == other.argmax(axis=1)
    return np.asarray(equal.reshape(len(equal), -1).mean(axis=1), np.float64)


def _slices(held: HeldOut, count: int) -> tuple[str, npt.NDArray[np.uint8]]:
    """Of test, filled up with those of training patients; phantoms where neither is at hand."""
    origins, slices = [], list[Slice]()
    for split in ("test", "train"):
        found = held.unseen(split)
        samples = () if found is None else found.samples if split == "test" else found.layout.splits["train"]
        if more := list(_usable(held, evenly(samples, count - len(slices)))):
            origins.append(held.named(split))
            slices += more
    if not slices:
        return "phantoms", np.stack([picture for _, picture in held.phantoms(count)])
    return " and ".join(origins), np.stack(slices)


def _usable(held: HeldOut, samples: Any) -> Iterator[Slice]:
    for sample in samples:
        try:
            yield held.load(sample)
        except (SliceError, OSError):
            continue
