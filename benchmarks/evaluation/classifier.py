"""A classifier's figures: what it finds, what it calls wrongly, how it ranks, whether its confidence can be trusted.

Classes and rankings (AUROC, average precision, operating points) come from the probabilities as trained, T = 1: a
temperature changes no class, but with three classes it changes p2's ranking a little, and the run that a bundle was
made from must show the same figures. With an operating point the classes are those of its rule. Confidence (NLL, ECE,
Brier) is given before and after the temperature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.evaluation.curves import at_sensitivity, at_specificity, average_precision, curve
from export.bootstrap import Figure, Resamples, figure, merged, quotient, ranking, resample
from export.confidence import (
    brier_terms,
    classwise_calibration_error,
    expected_calibration_error,
    log_likelihood_terms,
    reliability,
)
from lits_deploy.pipeline.decide import SliceDecider, softmax
from train.data.spread import evenly
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

Matrix = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class AnsweredSlices:
    """The slices that were answered: target int64 [N], logits float32 [N, K], and patient and path of each.

    decider: how the bundle reads the logits; neutral for a run.
    """

    target: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float32]
    patients: tuple[str, ...]
    paths: tuple[str, ...]
    decider: SliceDecider = field(default_factory=SliceDecider)

    def probabilities(self, temperature: float = 1.0) -> npt.NDArray[np.float32]:
        """Float32 [N, K]."""
        return softmax(self.logits, temperature)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The class by the operating point, as if every slice got one, int64 [N]."""
        return self.decider.decide(self.logits).labels

    @property
    def unsure(self) -> npt.NDArray[np.bool_]:
        """Slices that the abstain threshold leaves without a class, bool [N]."""
        return self.decider.decide(self.logits).unsure


def figures_of(answered: AnsweredSlices, classes: Sequence[str], draws: int) -> dict[str, Any]:
    """Every figure of a classifier, those of a sample with their interval; see `run` for the layout."""
    target, labels, temperature = answered.target, answered.labels, answered.decider.temperature
    plain = answered.probabilities()
    resamples = resample(answered.patients, draws=draws)
    matrix = confusion_matrix(target, labels, len(classes))
    pooled = resamples.pooled(_by_patient(answered, resamples, len(classes)))
    rankings = [_ranked(target == k, plain[:, k], resamples) for k in range(len(classes))]
    counts = np.bincount(target, minlength=len(classes))
    return {
        "slices": len(target),
        "patients": len(set(answered.patients)),
        **_overall(matrix, pooled),
        "confusion": matrix.tolist(),
        "liver": _rates(merged(matrix), merged(pooled))[1],  # class 1 or 2 against none, by the predicted class
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
        "marked": _marked(answered, resamples),
        "operating_points": _operating_points(answered, temperature, resamples),
        "calibration": {
            "temperature": temperature,
            "before": _confidence(answered, 1.0, resamples),
            "after": _confidence(answered, temperature, resamples),
        },
        "abstention": _abstention(answered, resamples),
        "patient_level": _patient_level(answered),
    }


def curves_of(answered: AnsweredSlices, classes: Sequence[str]) -> list[dict[str, Any]]:
    """ROC and precision–recall curve of each class against the rest, at most 200 points each, for drawing."""
    plain, drawn = answered.probabilities(), []
    for k, name in enumerate(classes):
        line = curve(answered.target == k, plain[:, k])
        at = np.array(evenly(range(len(line.threshold)), 200))
        drawn.append(
            {
                "class": name,
                "sensitivity": line.sensitivity[at],
                "false_alarm_rate": 1 - line.specificity[at],
                "precision": line.precision[at],
            }
        )
    return drawn


def patients_of(answered: AnsweredSlices) -> list[dict[str, Any]]:
    """One row a patient, ordered by name. Lesion AUROC is None where a patient has no lesion slice, or nothing else."""
    plain, patients = answered.probabilities(), np.asarray(answered.patients)
    rows = []
    for name in sorted(set(answered.patients)):
        mine = patients == name
        target, labels = answered.target[mine], answered.labels[mine]
        matrix = confusion_matrix(target, labels)
        rows.append(
            {
                "patient": name,
                "slices": int(mine.sum()),
                "liver_slices": int((target > 0).sum()),
                "lesion_slices": int((target == LESION).sum()),
                "accuracy": float((labels == target).mean()),
                "balanced_accuracy": balanced_accuracy(matrix),
                "liver_accuracy": float(liver_accuracy(matrix)),
                "lesion_sensitivity": float(per_class_accuracy(matrix)[LESION]),
                "lesion_auroc": auroc(target == LESION, plain[mine, LESION]),
                "has_lesion": bool((target == LESION).any()),
                "max_p2": float(plain[mine, LESION].max()),
            }
        )
    return rows


def worst_of(answered: AnsweredSlices, classes: Sequence[str], temperature: float) -> list[dict[str, Any]]:
    """The wrongly answered slices whose target got the least (calibrated) probability: file names, no pixels."""
    probabilities, target, labels = answered.probabilities(temperature), answered.target, answered.labels
    given = probabilities[np.arange(len(target)), target]
    wrong = np.flatnonzero(labels != target)
    order = wrong[np.argsort(given[wrong], kind="stable")][:WORST]
    return [
        {
            "path": answered.paths[i],
            "patient": answered.patients[i],
            "target": classes[target[i]],
            "label": classes[labels[i]],
            "p_target": float(given[i]),
            "p_label": float(probabilities[i, labels[i]]),
        }
        for i in order
    ]


def _by_patient(answered: AnsweredSlices, resamples: Resamples, classes: int) -> npt.NDArray[np.int64]:
    """Confusion matrices [patients, K, K]."""
    cell = (resamples.of * classes + answered.target) * classes + answered.labels
    patients = resamples.counts.shape[1]
    return np.bincount(cell, minlength=patients * classes * classes).reshape(patients, classes, classes)


def _overall(matrix: Matrix, pooled: Matrix) -> dict[str, Figure]:
    def accuracy(m: Matrix) -> npt.NDArray[np.float64]:
        return np.asarray(np.trace(m, axis1=-2, axis2=-1) / m.sum(axis=(-2, -1)), dtype=np.float64)

    recalls = per_class_accuracy(pooled)
    known = np.isfinite(recalls)
    balanced = quotient(np.where(known, recalls, 0.0).sum(axis=-1), known.sum(axis=-1))
    return {
        "accuracy": figure(float(accuracy(matrix)), accuracy(pooled)),
        "balanced_accuracy": figure(balanced_accuracy(matrix), balanced),
        "liver_accuracy": figure(float(liver_accuracy(matrix)), liver_accuracy(pooled)),
    }


def _rates(matrix: Matrix, pooled: Matrix) -> list[dict[str, Figure]]:
    here, there = per_class_rates(matrix), per_class_rates(pooled)
    return [{name: figure(float(here[name][k]), there[name][:, k]) for name in here} for k in range(matrix.shape[-1])]


def _ranked(positive: npt.NDArray[np.bool_], score: npt.NDArray[np.float32], resamples: Resamples) -> dict[str, Figure]:
    drawn = ranking(positive, score, resamples)
    return {
        "auroc": figure(auroc(positive, score), drawn["auroc"]),
        "average_precision": figure(average_precision(positive, score), drawn["average_precision"]),
    }


def _marked(answered: AnsweredSlices, resamples: Resamples) -> dict[str, Figure]:
    """Of lesion slices and of the others, as `classify` would call them: an abstained slice is called no lesion."""
    marked, lesion = (answered.labels == LESION) & ~answered.unsure, answered.target == LESION
    found = {}
    for name, right, among in (("sensitivity", marked, lesion), ("specificity", ~marked, ~lesion)):
        value = float(right[among].mean()) if among.any() else float("nan")
        found[name] = figure(value, quotient(resamples.sums(right & among), resamples.sums(among)))
    return found


def _operating_points(answered: AnsweredSlices, temperature: float, resamples: Resamples) -> list[dict[str, Any]]:
    """Thresholds on p2, chosen on these very slices; on the calibrated p2 too, which is what `classify` writes."""
    positive, points = answered.target == LESION, []
    for score, t in (("p2", 1.0), *((("calibrated p2", temperature),) if temperature != 1.0 else ())):
        p2 = answered.probabilities(t)[:, LESION]
        line, drawn = curve(positive, p2), ranking(positive, p2, resamples, wanted=WANTED)
        for held, other, point in (
            ("sensitivity", "specificity", at_sensitivity(line, WANTED)),
            ("specificity", "sensitivity", at_specificity(line, WANTED)),
        ):
            reached = float("nan") if point is None else point[other]
            points.append(
                {
                    "holds": held,
                    "wanted": WANTED,
                    "score": score,
                    "chosen_on": "this split",
                    "gives": other,
                    "figure": figure(reached, drawn[f"{other}_at"]),
                    "point": point,
                }
            )
    return points


def _confidence(answered: AnsweredSlices, temperature: float, resamples: Resamples) -> dict[str, Any]:
    target, probabilities = answered.target, answered.probabilities(temperature)
    sure, right = probabilities.max(axis=1), answered.logits.argmax(axis=1) == target  # of the class it is sure of
    likelihood, brier = log_likelihood_terms(target, answered.logits, temperature), brier_terms(target, probabilities)
    return {
        "negative_log_likelihood": figure(float(likelihood.mean()), resamples.means(likelihood)),
        "brier": figure(float(brier.mean()), resamples.means(brier)),
        "expected_calibration_error": expected_calibration_error(sure, right),
        "classwise_calibration_error": classwise_calibration_error(target, probabilities),
        "mean_confidence": float(sure.mean()),
        "lesion_auroc": auroc(target == LESION, probabilities[:, LESION]),
        "reliability": reliability(sure, right).to_json(),
    }


def _abstention(answered: AnsweredSlices, resamples: Resamples) -> dict[str, Any]:
    """What the bundle's threshold does here; with no threshold every slice is answered."""
    right = answered.labels == answered.target
    kept = ~answered.unsure
    drawn = quotient(resamples.sums(kept & right), resamples.sums(kept))
    return {
        "below": answered.decider.abstain_below,
        "abstained": int((~kept).sum()),
        "coverage": figure(float(kept.mean()), resamples.means(kept)),
        "accuracy_answered": figure(float(right[kept].mean()) if kept.any() else float("nan"), drawn),
        "accuracy_abstained": float(right[~kept].mean()) if (~kept).any() else None,
        "accuracy_all": float(right.mean()),
    }


def _patient_level(answered: AnsweredSlices) -> dict[str, Any]:
    """Does a patient's highest p2 tell patients with lesions from those without?"""
    rows = patients_of(answered)
    has = [row["has_lesion"] for row in rows]
    return {"patients": len(rows), "with_lesion": sum(has), "auroc": auroc(has, [row["max_p2"] for row in rows])}
