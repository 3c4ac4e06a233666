"""Original and artifacts over the same slices, once: every slice goes through PyTorch a single time, and the figures of
each artifact are added up batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from export.gate.limits import GateLimits
from export.held_out import GateSlice, HeldOut
from export.parity import original_probabilities
from lits_deploy.bundle import Artifact
from lits_deploy.parity import Parity
from lits_deploy.runtime import Runtime
from train.metrics import auroc, balanced_accuracy, confusion_matrix, segmentation_summary_of

LESION = 2
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Flip:
    """A slice whose class the artifact changes.

    p_original, p_artifact: probabilities [3]; of a U-Net the share of pixels by label.
    """

    slice: GateSlice
    original: int
    artifact: int
    p_original: tuple[float, ...]
    p_artifact: tuple[float, ...]

    @property
    def lesion_lost(self) -> bool:
        """A lesion slice that the original finds and the artifact does not."""
        return self.slice.target == LESION and self.original == LESION != self.artifact


@dataclass
class ArtifactComparison:
    """One artifact on one runtime.

    A classifier's class is its most probable one; a U-Net's slice has the largest label that any pixel gets, so that a
    slice can flip there too. Differences that are not finite count as infinite.
    """

    task: str
    flips: list[Flip] = field(default_factory=list)
    _deltas: Parity = field(default_factory=lambda: Parity(np.inf))
    _patients: list[str] = field(default_factory=list)
    _targets: list[int] = field(default_factory=list)
    _classes: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    _lesion: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    _pixels: list[npt.NDArray[np.int64]] = field(default_factory=lambda: [np.zeros((3, 3), np.int64) for _ in "oa"])
    _changed: int = 0

    def add(self, slices: Sequence[GateSlice], original: Floats, artifact: Floats) -> None:
        """One batch: probabilities [N, 3] or [N, 3, S, S] of both, float32."""
        self._deltas.add([gated.name for gated in slices], original, artifact)
        labels = [original.argmax(axis=1), artifact.argmax(axis=1)]
        shares: list[npt.NDArray[Any]] = [original, artifact]
        if self.task == "segment":
            self._changed += int((labels[0] != labels[1]).sum())
            for which in range(2):
                for gated, label in zip(slices, labels[which], strict=True):
                    assert gated.mask is not None
                    self._pixels[which] += confusion_matrix(gated.mask.ravel(), label.ravel())
            shares = [np.stack([(label == c).mean(axis=(1, 2)) for c in range(3)], axis=1) for label in labels]
            labels = [label.max(axis=(1, 2)) for label in labels]
        for index, gated in enumerate(slices):
            before, after = int(labels[0][index]), int(labels[1][index])
            self._patients.append(gated.patient)
            self._targets.append(gated.target)
            for which, label in enumerate((before, after)):
                self._classes[which].append(label)
                self._lesion[which].append(float(shares[which][index][LESION]))
            if before != after:
                p_original, p_artifact = (tuple(map(float, share[index])) for share in shares)
                self.flips.append(
                    Flip(slice=gated, original=before, artifact=after, p_original=p_original, p_artifact=p_artifact)
                )

    def figures(self) -> dict[str, Any]:
        """What the manifest records; `gated` holds the figures that `GateLimits` checks, by its names.

        original, artifact: accuracy, balanced accuracy, lesion sensitivity and specificity, AUROC of the lesion class
        (None where undefined), and a U-Net's Dice per class.
        """
        targets, (before, after) = np.array(self._targets), map(np.array, self._classes)
        lesion = targets == LESION
        lost = int((lesion & (before == LESION) & (after != LESION)).sum())
        found = int((lesion & (before != LESION) & (after == LESION)).sum())
        lesions, slices = int(lesion.sum()), len(targets)
        scores = [self._scores(which) for which in range(2)]
        gated: dict[str, float | None]
        if self.task == "segment":
            falls = [b - a for b, a in zip(scores[0]["dice"], scores[1]["dice"], strict=True) if None not in (a, b)]
            gated = {"dice": max(falls, default=None)}
        else:
            gated = {
                "flipped": len(self.flips) / max(1, slices),
                "lesions_lost": lost / max(1, lesions),
                "lesions_lost_net": (lost - found) / max(1, lesions),
                "accuracy": _ratio(scores[1]["accuracy"], scores[0]["accuracy"]),
            }
        record: dict[str, Any] = {
            "slices": slices,
            **{key: self._deltas.verdict()[key] for key in ("max_delta", "mean_delta")},
            "flipped": len(self.flips),
            "lesion_slices": lesions,
            "lesions_lost": lost,
            "lesions_found": found,
            "original": scores[0],
            "artifact": scores[1],
            "worst_patient": self._worst_patient(targets, before, after),
            "judged": gated,
        }
        if self.task == "segment":
            record["pixels_changed"] = self._changed / max(1, int(self._pixels[0].sum()))
        return record

    def _scores(self, which: int) -> dict[str, Any]:
        targets, classes = np.array(self._targets), np.array(self._classes[which])
        matrix = confusion_matrix(targets, classes)
        lesion = targets == LESION
        scores = {
            "accuracy": _number(np.mean(targets == classes)) if len(targets) else None,
            "balanced_accuracy": _number(balanced_accuracy(matrix)),
            "lesion_sensitivity": _share(classes[lesion] == LESION),
            "lesion_specificity": _share(classes[~lesion] != LESION),
            "lesion_auroc": _number(auroc(lesion, np.nan_to_num(np.array(self._lesion[which])))),
        }
        if self.task == "segment":
            scores["dice"] = segmentation_summary_of(self._pixels[which])["dice"]
        return scores

    def _worst_patient(
        self, targets: npt.NDArray[Any], before: npt.NDArray[Any], after: npt.NDArray[Any]
    ) -> dict[str, Any] | None:
        """The patient whose accuracy falls most."""
        patients = np.array(self._patients)
        rows: list[dict[str, Any]] = []
        for patient in sorted(set(self._patients)):
            own = patients == patient
            old, new = float((before == targets)[own].mean()), float((after == targets)[own].mean())
            rows.append({"patient": patient, "slices": int(own.sum()), "original": old, "artifact": new})
        return min(rows, key=lambda row: row["artifact"] - row["original"], default=None)


def _ratio(value: float | None, of: float | None) -> float | None:
    if value is None or of is None:
        return None
    return value / of if of else 1.0  # nothing to lose


def _share(hits: npt.NDArray[np.bool_]) -> float | None:
    return float(hits.mean()) if len(hits) else None


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


_BATCH = {"classify": 8, "segment": 2}


def gate_batch(task: str) -> int:
    """Slices at once: a U-Net's probabilities are 786 kB a slice, for each candidate."""
    return _BATCH[task]


@dataclass(frozen=True)
class CandidateArtifact:
    """An artifact, open on a runtime that returns probabilities. target: the runtime as the reports call it."""

    artifact: Artifact
    target: str
    runtime: Runtime


@dataclass(frozen=True)
class GateVerdict:
    """One artifact on one runtime: figures, and which limits they break, in words."""

    candidate: CandidateArtifact
    figures: dict[str, Any]
    failures: list[str]
    flips: list[Flip]

    @property
    def passed(self) -> bool:
        """True where no limit is broken."""
        return not self.failures

    def to_json(self) -> dict[str, Any]:
        """For the manifest: no names of slices, no pixels."""
        return {**self.figures, "passed": self.passed, "failures": self.failures}


def check_candidates(
    held: HeldOut,
    candidates: Sequence[CandidateArtifact],
    limits: Mapping[str, GateLimits],
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> list[GateVerdict]:
    """Verdicts in the order of the candidates. limits: by precision."""
    task, slices = held.original.info.task, held.gate_slices()
    comparisons = [ArtifactComparison(task) for _ in candidates]
    size = min([gate_batch(task), *(candidate.runtime.max_batch for candidate in candidates)])
    while part := list(islice(slices, size)):
        pictures = np.stack([one.picture for one in part])
        expected = original_probabilities(held.original, pictures)
        for candidate, comparison in zip(candidates, comparisons, strict=True):
            got = candidate.runtime.infer(pictures).probabilities
            assert got is not None
            comparison.add(part, expected, got)
        progress(len(part))
    verdicts = []
    for candidate, comparison in zip(candidates, comparisons, strict=True):
        figures = comparison.figures()
        failures = limits[candidate.artifact.precision].failures(figures)
        verdicts.append(GateVerdict(candidate, figures, failures, comparison.flips))
    return verdicts
