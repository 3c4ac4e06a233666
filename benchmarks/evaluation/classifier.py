"""A classifier's figures: what it finds, what it calls wrongly, how it ranks, whether its confidence can be trusted.

Classes and rankings (AUROC, average precision, operating points) come from the probabilities as trained, T = 1: a
temperature changes no class, but with three classes it changes p2's ranking a little, and the run that a bundle was
made from must show the same figures. Confidence (NLL, ECE, Brier) is given before and after the temperature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.evaluation.bootstrap import Resamples, ranking, resample
from benchmarks.evaluation.curves import (
    OperatingPoint,
    at_sensitivity,
    at_specificity,
    average_precision,
    curve,
    thinned,
)
from benchmarks.evaluation.figures import Figure, figure
from export.confidence import (
    brier_terms,
    classwise_calibration_error,
    expected_calibration_error,
    log_likelihood_terms,
    reliability,
)
from lits_deploy.pipeline.judge import softmax
from train.metrics import (
    auroc,
    balanced_accuracy,
    confusion_matrix,
    liver_accuracy,
    per_class_accuracy,
    per_class_rates,
)

LESION = 2
WANTED = 0.95
"""Sensitivity, or specificity, that an operating point holds."""

WORST = 20
"""Slices in the list of the worst."""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """The slices that were answered: target int64 [N], logits float32 [N, K], and patient and path of each."""

    target: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float32]
    patients: tuple[str, ...]
    paths: tuple[str, ...]

    def probabilities(self, temperature: float = 1.0) -> npt.NDArray[np.float32]:
        """Float32 [N, K]."""
        return softmax(self.logits, temperature)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The class of the highest logit, int64 [N]."""
        labels: npt.NDArray[np.int64] = self.logits.argmax(axis=1).astype(np.int64)
        return labels


def uncertain(probabilities: npt.NDArray[np.float32], below: float | None) -> npt.NDArray[np.bool_]:
    """Slices that the abstain threshold leaves without a class, exactly as `pipeline.judge` reads it; bool [N]."""
    if below is None:
        return np.zeros(len(probabilities), dtype=np.bool_)
    return np.asarray(probabilities.max(axis=1) < np.float32(below))


def figures_of(
    answered: Answered,
    classes: Sequence[str],
    *,
    temperature: float,
    abstain_below: float | None,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """Every figure of a classifier, those of a sample with their interval; see `run` for the layout."""
    target, labels = answered.target, answered.labels
    plain = answered.probabilities()
    several = len(set(answered.patients)) > 1
    resamples = resample(answered.patients, draws=draws, seed=seed) if several else None
    matrix = confusion_matrix(target, labels, len(classes))
    pooled = None if resamples is None else resamples.pooled(_by_patient(answered, resamples, len(classes)))
    rankings = [_ranked(target == k, plain[:, k], resamples) for k in range(len(classes))]
    counts = np.bincount(target, minlength=len(classes))
    return {
        "slices": len(target),
        "patients": len(set(answered.patients)),
        **_overall(matrix, pooled),
        "confusion": matrix.tolist(),
        "liver": _liver(matrix, pooled),
        "classes": [
            {"name": name, "slices": int(counts[k]), **rates, **rankings[k]}
            for k, (name, rates) in enumerate(zip(classes, _rates(matrix, pooled), strict=True))
        ],
        "without_looking": {
            "accuracy": float(counts.max() / counts.sum()),
            "balanced_accuracy": 1.0 / int((counts > 0).sum()),
            "lesion_auroc": 0.5,
            "lesion_average_precision": float(counts[LESION] / counts.sum()),
        },
        "operating_points": _operating_points(answered, temperature, resamples),
        "calibration": {
            "temperature": temperature,
            "before": _confidence(answered, 1.0, resamples),
            "after": _confidence(answered, temperature, resamples),
        },
        "abstention": _abstention(answered, temperature, abstain_below, resamples),
        "patient_level": _patient_level(answered),
    }


def curves_of(answered: Answered, classes: Sequence[str]) -> list[dict[str, Any]]:
    """ROC and precision–recall curve of each class against the rest, at most 200 points each, for drawing."""
    plain, drawn = answered.probabilities(), []
    for k, name in enumerate(classes):
        line = curve(answered.target == k, plain[:, k])
        at = thinned(line)
        drawn.append(
            {
                "class": name, "sensitivity": line.sensitivity[at], "false_alarm_rate": 1 - line.specificity[at],
                "precision": line.precision[at],
            }
        )  # fmt: skip
    return drawn


def patients_of(answered: Answered, classes: int = 3) -> list[dict[str, Any]]:
    """One row a patient, ordered by name. Lesion AUROC is None where a patient has no lesion slice, or nothing else."""
    plain, patients = answered.probabilities(), np.asarray(answered.patients)
    rows = []
    for name in sorted(set(answered.patients)):
        mine = patients == name
        target, labels = answered.target[mine], answered.labels[mine]
        matrix = confusion_matrix(target, labels, classes)
        rows.append(
            {
                "patient": name, "slices": int(mine.sum()),
                "liver_slices": int((target > 0).sum()), "lesion_slices": int((target == LESION).sum()),
                "accuracy": float((labels == target).mean()), "balanced_accuracy": balanced_accuracy(matrix),
                "liver_accuracy": float(liver_accuracy(matrix)),
                "lesion_sensitivity": float(per_class_accuracy(matrix)[LESION]),
                "lesion_auroc": auroc(target == LESION, plain[mine, LESION]),
                "has_lesion": bool((target == LESION).any()), "max_p2": float(plain[mine, LESION].max()),
            }
        )  # fmt: skip
    return rows


def worst_of(answered: Answered, classes: Sequence[str], temperature: float) -> list[dict[str, Any]]:
    """The wrongly answered slices whose target got the least (calibrated) probability: file names, no pixels."""
    probabilities, target, labels = answered.probabilities(temperature), answered.target, answered.labels
    given = probabilities[np.arange(len(target)), target]
    wrong = np.flatnonzero(labels != target)
    order = wrong[np.argsort(given[wrong], kind="stable")][:WORST]
    return [
        {
            "path": answered.paths[i], "patient": answered.patients[i], "target": classes[target[i]],
            "label": classes[labels[i]], "p_target": float(given[i]), "p_label": float(probabilities[i, labels[i]]),
        }
        for i in order
    ]  # fmt: skip


def _by_patient(answered: Answered, resamples: Resamples, classes: int) -> npt.NDArray[np.int64]:
    """Confusion matrices [patients, K, K]."""
    cell = (resamples.of * classes + answered.target) * classes + answered.labels
    patients = resamples.counts.shape[1]
    return np.bincount(cell, minlength=patients * classes * classes).reshape(patients, classes, classes)


def _overall(matrix: npt.NDArray[Any], pooled: npt.NDArray[np.float64] | None) -> dict[str, Figure]:
    def accuracy(m: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        return np.asarray(np.trace(m, axis1=-2, axis2=-1) / m.sum(axis=(-2, -1)), dtype=np.float64)

    return {
        "accuracy": figure(float(accuracy(matrix)), None if pooled is None else accuracy(pooled)),
        "balanced_accuracy": figure(
            balanced_accuracy(matrix), None if pooled is None else _mean_known(per_class_accuracy(pooled))
        ),
        "liver_accuracy": figure(float(liver_accuracy(matrix)), None if pooled is None else liver_accuracy(pooled)),
    }


def _liver(matrix: npt.NDArray[Any], pooled: npt.NDArray[np.float64] | None) -> dict[str, Figure]:
    """Liver (class 1 or 2) against no liver, by the predicted class: sensitivity, specificity, precision, F1."""
    return _rates(_merged(matrix), None if pooled is None else _merged(pooled))[1]


def _merged(matrix: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Classes 1 and above as one: [..., K, K] → [..., 2, 2]."""
    rows = np.stack([matrix[..., 0, :], matrix[..., 1:, :].sum(axis=-2)], axis=-2)
    return np.stack([rows[..., 0], rows[..., 1:].sum(axis=-1)], axis=-1)


def _rates(matrix: npt.NDArray[Any], pooled: npt.NDArray[np.float64] | None) -> list[dict[str, Figure]]:
    here, there = per_class_rates(matrix), None if pooled is None else per_class_rates(pooled)
    return [
        {name: figure(float(here[name][k]), None if there is None else there[name][:, k]) for name in here}
        for k in range(matrix.shape[-1])
    ]


def _ranked(
    positive: npt.NDArray[np.bool_], score: npt.NDArray[np.float32], resamples: Resamples | None
) -> dict[str, Figure]:
    drawn = None if resamples is None else ranking(positive, score, resamples)
    return {
        "auroc": figure(auroc(positive, score), None if drawn is None else drawn["auroc"]),
        "average_precision": figure(
            average_precision(positive, score), None if drawn is None else drawn["average_precision"]
        ),
    }


def _operating_points(answered: Answered, temperature: float, resamples: Resamples | None) -> list[dict[str, Any]]:
    """Thresholds on p2, chosen on these very slices; on the calibrated p2 too, which is what `classify` writes."""
    positive, points = answered.target == LESION, []
    for score, t in (("p2", 1.0), *((("calibrated p2", temperature),) if temperature != 1.0 else ())):
        p2 = answered.probabilities(t)[:, LESION]
        line = curve(positive, p2)
        drawn = {} if resamples is None else ranking(positive, p2, resamples, wanted=WANTED)
        points += [
            _point("sensitivity", score, at_sensitivity(line, WANTED), "specificity", drawn.get("specificity_at")),
            _point("specificity", score, at_specificity(line, WANTED), "sensitivity", drawn.get("sensitivity_at")),
        ]
    return points


def _point(
    held: str, score: str, point: OperatingPoint | None, other: str, drawn: npt.NDArray[np.float64] | None
) -> dict[str, Any]:
    values = None if point is None else point.to_json()
    reached = figure(float("nan") if values is None else values[other], drawn)
    return {
        "holds": held, "wanted": WANTED, "score": score, "chosen_on": "this split", "gives": other, "figure": reached,
        "point": values,
    }  # fmt: skip


def _confidence(answered: Answered, temperature: float, resamples: Resamples | None) -> dict[str, Any]:
    target, probabilities = answered.target, answered.probabilities(temperature)
    sure, right = probabilities.max(axis=1), answered.labels == target
    likelihood, brier = log_likelihood_terms(target, answered.logits, temperature), brier_terms(target, probabilities)
    return {
        "negative_log_likelihood": figure(
            float(likelihood.mean()), None if resamples is None else resamples.means(likelihood)
        ),
        "brier": figure(float(brier.mean()), None if resamples is None else resamples.means(brier)),
        "expected_calibration_error": expected_calibration_error(sure, right),
        "classwise_calibration_error": classwise_calibration_error(target, probabilities),
        "mean_confidence": float(sure.mean()),
        "lesion_auroc": auroc(target == LESION, probabilities[:, LESION]),
        "reliability": reliability(sure, right).to_json(),
    }


def _abstention(
    answered: Answered, temperature: float, below: float | None, resamples: Resamples | None
) -> dict[str, Any]:
    """What the bundle's threshold does here; with no threshold every slice is answered."""
    right = answered.labels == answered.target
    kept = ~uncertain(answered.probabilities(temperature), below)
    drawn = None if resamples is None else _quotient(resamples.sums(kept & right), resamples.sums(kept))
    return {
        "below": below,
        "abstained": int((~kept).sum()),
        "coverage": figure(float(kept.mean()), None if resamples is None else resamples.means(kept)),
        "accuracy_answered": figure(float(right[kept].mean()) if kept.any() else float("nan"), drawn),
        "accuracy_abstained": float(right[~kept].mean()) if (~kept).any() else None,
        "accuracy_all": float(right.mean()),
    }


def _patient_level(answered: Answered) -> dict[str, Any]:
    """Does a patient's highest p2 tell patients with lesions from those without?"""
    rows = patients_of(answered)
    has = [row["has_lesion"] for row in rows]
    return {"patients": len(rows), "with_lesion": sum(has), "auroc": auroc(has, [row["max_p2"] for row in rows])}


def _mean_known(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    known = np.isfinite(values)
    return _quotient(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1))


def _quotient(above: npt.NDArray[Any], below: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    quotient: npt.NDArray[np.float64] = np.full(np.shape(above), np.nan)
    np.divide(above, below, out=quotient, where=np.asarray(below) > 0)
    return quotient
