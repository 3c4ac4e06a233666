"""Temperature, abstain threshold and operating points of an artifact, fitted at export on patients it had not seen.

The network is not changed: they are numbers in the manifest that the host applies to the logits (`pipeline.decide`).
The evidence (`export.evidence`) is out of fold where the network was trained in folds. Else it is the validate split,
answered by the artifact itself on a runtime; that split also chose the best checkpoint, so figures on it flatter a
little. Out of fold there are no answers but those of the FP32 networks: another precision, which shifts confidence
before it shifts classes, takes the numbers over, moved as its answers to the same slices moved. So does an average of
networks (`export.average`). Knows nothing about U-Nets, whose temperature is 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from export.answers import LabelledAnswer
from export.confidence import AbstainRule, expected_calibration_error, negative_log_likelihood
from export.evidence import Evidence
from export.held_out import HeldOut
from export.operating_points import RULES, fit, points_of, uncheckable
from export.transfer import taken_over
from lits_deploy.bundle import Artifact
from lits_deploy.errors import DataError
from lits_deploy.operating_point import ARGMAX, OUT_OF_FOLD, VALIDATE
from lits_deploy.pipeline.decide import softmax


def calibrate(
    held: HeldOut,
    artifact: Artifact,
    answers: Mapping[str, Sequence[LabelledAnswer]],
    rule: str = ARGMAX,
    *,
    base: tuple[Artifact, Mapping[str, Sequence[LabelledAnswer]]] | None = None,
) -> Artifact:
    """The artifact with all of it and its record, and `rule` in force.

    answers: its own, by split (`export.figures.measure`). base: the FP32 artifact, done, and its answers; for
    another precision. Unchanged, with the reason in its record, for a U-Net, for bare weights, where the training data
    is not at hand, and on too few slices of patients that were not trained on; then DataError for a rule but argmax.
    """
    evidence, known = _evidence(held, answers.get("validate", ()))
    if isinstance(evidence, str):
        if rule != ARGMAX:
            raise _no_threshold(rule, evidence)
        return replace(artifact, calibration={"fitted": False, "why": evidence, **known})
    if base is not None and evidence.source == OUT_OF_FOLD:
        return taken_over(artifact, answers, *base)
    why = uncheckable(evidence)
    if why and rule != ARGMAX:
        raise _no_threshold(rule, why)
    rules = (ARGMAX,) if why else tuple(dict.fromkeys([*RULES, rule]))
    fitted = fit(evidence.target, evidence.logits, rules)
    artifact = replace(
        artifact,
        temperature=fitted.temperature,
        abstain_below=fitted.abstain.threshold,
        calibration=calibration_of(evidence, fitted.temperature, fitted.abstain) | known,
        promise={"why": why} if why else evidence.promise(),
    )
    if why:
        return artifact
    return replace(artifact, operating_point=rule, operating_points=points_of(evidence, fitted))


def _evidence(held: HeldOut, answers: Sequence[LabelledAnswer]) -> tuple[Evidence | str, dict[str, Any]]:
    """What to fit on, or why there is nothing; and what is to be noted of the validate split where it serves."""
    known: dict[str, Any] = {}
    if held.original.info.task != "classify":
        return "a U-Net's probabilities are not calibrated", known
    if (evidence := held.original.out_of_fold) is None:
        if (unseen := held.unseen("validate")) is not None:
            known = {"left_out": list(unseen.left_out), "training_known": unseen.known}
        found = _of_validate(held, answers)
        if isinstance(found, str):
            return found, known
        evidence = found
    return evidence.too_little or evidence, known


def _of_validate(held: HeldOut, answers: Sequence[LabelledAnswer]) -> Evidence | str:
    """The answers of a file to the validate split, of patients that it was not trained on; or why there are none."""
    unseen = held.unseen("validate")
    if unseen is None:
        return "the validate split is not at hand"
    if not unseen.samples:
        return "it was trained on every validate patient"
    if not held.fits("validate"):
        return "the validate split is of another window"
    chosen, described = set(held.gated), unseen.layout.describe()
    used = [answer for answer in answers if answer.sample in chosen and answer.logits is not None]
    return Evidence(
        target=np.array([answer.target for answer in used], np.int64),
        logits=np.array([answer.logits for answer in used], np.float32).reshape(len(used), -1),
        patients=tuple(answer.sample.patient for answer in used),
        source=VALIDATE,
        data=f"{described['name']}/validate",
        split_by=described["split_by"],
        synthetic=described["synthetic"],
    )


def _no_threshold(rule: str, why: str) -> DataError:
    return DataError(
        f"No threshold for {rule} can be set: {why}.",
        fix="leave --operating-point out, or --data with labelled patients that the network was not trained on",
    )


def calibration_of(evidence: Evidence, temperature: float, abstain: AbstainRule) -> dict[str, Any]:
    """The record of what was fitted on the evidence, for `Artifact.calibration`."""
    return {
        "fitted": True,
        **evidence.record(),
        "patients": sorted(set(evidence.patients)),
        "before": _quality(evidence.target, evidence.logits, 1.0),
        "after": _quality(evidence.target, evidence.logits, temperature),
        "abstain": abstain.to_json(),
    }


def _quality(target: npt.NDArray[np.int64], logits: npt.NDArray[np.float32], temperature: float) -> dict[str, float]:
    """Log loss and calibration error of logits [N, 3] over a temperature."""
    probabilities = softmax(logits, temperature)
    correct = probabilities.argmax(axis=1) == target
    return {
        "nll": negative_log_likelihood(target, logits, temperature),
        "ece": expected_calibration_error(probabilities.max(axis=1), correct),
    }
