"""How right an artifact is, and whether a timed run gives the very answers that were scored.

Scored once over all slices, before anything is timed; the outputs of every timed call are then held against it with
the artifact's own tolerance. A network that is fast because it computes something else becomes an error row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.inputs import Inputs, Slices
from lits_deploy.contract import Task
from lits_deploy.parity import Parity
from lits_deploy.runtime import Outputs, Runtime
from train.metrics import classification_summary, confusion_matrix, segmentation_summary_of


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The answers of one candidate to all slices.

    classes: uint8 [N], or [N, S, S] for a U-Net. probabilities: float32 [N, K], None for a U-Net (they would take
    786 kB a slice). sure: bool like `classes`, where no Δp within the tolerance can change the class.
    """

    task: Task
    tolerance: float
    classes: npt.NDArray[np.uint8]
    probabilities: npt.NDArray[np.float32] | None
    sure: npt.NDArray[np.bool_]

    def figures(self, inputs: Inputs) -> dict[str, Any] | None:
        """Accuracy and its companions, or Dice and IoU; None without targets."""
        if self.task == "segment":
            if inputs.masks is None:
                return None
            return segmentation_summary_of(confusion_matrix(inputs.masks.ravel(), self.classes.ravel()))
        if inputs.targets is None or self.probabilities is None:
            return None
        return classification_summary(inputs.targets, self.probabilities)

    def same_class(self, other: Scored) -> float:
        """Share of slices (U-Net: of pixels) with the same class as `other`'s."""
        return float((self.classes == other.classes).mean())

    def mismatch(self, indices: npt.NDArray[np.int64], outputs: Outputs) -> str | None:
        """Why a timed call's outputs for these slices are not the scored ones; None where they are."""
        if self.probabilities is not None:
            if outputs.probabilities is None:
                return "the timed run returned no probabilities"
            parity = Parity(self.tolerance)
            parity.add([str(index) for index in indices], self.probabilities[indices], outputs.probabilities)
            if parity.passed:
                return None
            return (
                f"the timed run answered otherwise than the accuracy run: max |Δp| {parity.max_delta:.1e} "
                f"(≤ {self.tolerance:.0e}), {parity.flipped} of {parity.slices} slices flipped"
            )
        if outputs.labels is None:
            return "the timed run returned no labels"
        differs = (outputs.labels != self.classes[indices]) & self.sure[indices]
        if not differs.any():
            return None
        return f"the timed run labelled {int(differs.sum())} sure pixels otherwise than the accuracy run"


def score(runtime: Runtime, slices: Slices, *, task: Task, tolerance: float) -> Scored:
    """Run all slices once, in order; `runtime` must return probabilities."""
    classes, sure, kept = [], [], []
    for start in range(0, len(slices), runtime.max_batch):
        probabilities = runtime.infer(slices[start : start + runtime.max_batch]).probabilities
        assert probabilities is not None
        ordered = np.sort(probabilities, axis=1)
        sure.append((ordered[:, -1] - ordered[:, -2]) > 2 * tolerance)
        classes.append(probabilities.argmax(axis=1).astype(np.uint8))
        if task == "classify":
            kept.append(probabilities)
    return Scored(
        task=task, tolerance=tolerance, classes=np.concatenate(classes), sure=np.concatenate(sure),
        probabilities=np.concatenate(kept) if kept else None,
    )  # fmt: skip


def golden_agreement(runtime: Runtime, slices: Slices, expected: npt.NDArray[np.float32]) -> float:
    """Share of the goldens (U-Net: of their pixels) with the class that the original gave at export."""
    same = []
    for start in range(0, len(slices), runtime.max_batch):
        got = runtime.infer(slices[start : start + runtime.max_batch]).probabilities
        assert got is not None
        same.append(got.argmax(axis=1) == expected[start : start + runtime.max_batch].argmax(axis=1))
    return float(np.concatenate(same).mean())


def headline(figures: dict[str, Any] | None) -> float | None:
    """The one figure that a speed is judged with: accuracy, or a U-Net's mean Dice of liver and tumour."""
    if figures is None:
        return None
    if "accuracy" in figures:
        return None if figures["accuracy"] is None else float(figures["accuracy"])
    dice = [value for value in figures["dice"][1:] if value is not None]
    return float(np.mean(dice)) if dice else None
