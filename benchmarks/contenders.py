"""Candidates that run here, each with its answers to all slices and what those are worth: before anything is timed.

Scored once over all slices; the outputs of every timed call are then held against that with the artifact's own
tolerance. A network that is fast because it computes something else becomes an error row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.candidates import Candidate
from benchmarks.inputs import Inputs, Slices
from lits_deploy.bundle import Bundle
from lits_deploy.contract import Task
from lits_deploy.errors import DeviceError, DeviceOutOfMemory, MissingExtra, UserError
from lits_deploy.goldens import read_golden
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
            why = (
                f"the timed run answered otherwise than the accuracy run: max |Δp| {parity.max_delta:.1e} "
                f"(≤ {self.tolerance:.0e}), {parity.flipped} of {parity.slices} slices flipped"
            )
            return None if parity.passed else why
        if outputs.labels is None:
            return "the timed run returned no labels"
        differing = int(((outputs.labels != self.classes[indices]) & self.sure[indices]).sum())
        return f"the timed run labelled {differing} sure pixels otherwise than the accuracy run" if differing else None


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
        task=task,
        tolerance=tolerance,
        classes=np.concatenate(classes),
        sure=np.concatenate(sure),
        probabilities=np.concatenate(kept) if kept else None,
    )


def golden_agreement(runtime: Runtime, slices: Slices, expected: npt.NDArray[np.float32]) -> float:
    """Share of the goldens (U-Net: of their pixels) with the class that the original gave at export."""
    same = []
    for start in range(0, len(slices), runtime.max_batch):
        got = runtime.infer(slices[start : start + runtime.max_batch]).probabilities
        assert got is not None
        same.append(got.argmax(axis=1) == expected[start : start + runtime.max_batch].argmax(axis=1))
    return float(np.concatenate(same).mean())


def headline(figures: dict[str, Any] | None) -> float | None:
    """The one figure that a speed is measured by: accuracy, or a U-Net's mean Dice of liver and tumour."""
    if figures is None:
        return None
    if "accuracy" in figures:
        accuracy: float | None = figures["accuracy"]
        return accuracy
    dice = [value for value in figures["dice"][1:] if value is not None]
    return float(np.mean(dice)) if dice else None


SCORING_BATCH = 8
"""Slices in a batch of the accuracy run; a U-Net's probabilities take 786 kB a slice."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Contender:
    """A candidate that runs here, with its answers. columns: what all of its rows say."""

    candidate: Candidate
    scored: Scored
    columns: Row

    def row(self, **values: Any) -> Row:
        """The columns that all rows share, and `values`."""
        return {**self.columns, "error": None, "notes": [], **values}


def score_all(
    candidates: list[Candidate],
    bundle: Bundle,
    inputs: Inputs,
    notes: list[str],
    say: Callable[[str], None] = lambda _: None,
) -> list[Contender]:
    """Accuracy and agreement of each; what is not there is noted and left out."""
    found: list[Contender] = []
    golden, task = read_golden(bundle), bundle.manifest.task
    unit = "slices" if task == "classify" else "pixels"
    against_original = any(candidate.original for candidate in candidates)
    for candidate in candidates:
        say(f"accuracy: {candidate.name}, {len(inputs.slices)} slices")
        try:
            with candidate.open(SCORING_BATCH, ("probabilities",)) as runtime:
                scored = score(runtime, inputs.slices, task=task, tolerance=candidate.tolerance)
                same = None if against_original else golden_agreement(runtime, *golden)
                info = runtime.describe()
        except (DeviceError, DeviceOutOfMemory, MissingExtra) as error:
            notes.append(f"{candidate.name} is not measured: {error}")
            continue
        goldens = {"share": same, "slices": len(golden[0]), "unit": unit, "by": "goldens"}
        figures = scored.figures(inputs)
        columns = {
            "runtime": candidate.runtime,
            "version": info.version,
            "device": candidate.device,
            "providers": list(info.providers),
            "artifact": candidate.artifact,
            "original": candidate.original,
            "precision": candidate.precision,
            "size_mb": candidate.size_bytes / 1e6,
            "figures": figures,
            "accuracy": headline(figures),
            "same_class": None if same is None else goldens,
        }
        found.append(Contender(candidate, scored, columns))
    if not found:
        raise UserError("Nothing of this bundle runs here.", fix=notes[-1] if notes else None)
    if original := next((contender.scored for contender in found if contender.candidate.original), None):
        for contender in found:
            share = contender.scored.same_class(original)
            same_class = {"share": share, "slices": len(inputs.slices), "unit": unit, "by": "PyTorch"}
            contender.columns["same_class"] = same_class
    return found
