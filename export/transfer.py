"""Calibration and operating points of a file, taken over from those of other answers and moved to its own.

Out of fold there are the answers of the folds' FP32 networks alone. Rounding shifts confidence before it shifts
classes, and an average is less sure than each of its networks. So each number is moved to where the file's answers to
the same slices lie, slices that none of these networks was trained on. Their truth is not looked at, so slices of test
may serve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from export.answers import LabelledAnswer
from export.confidence import temperature_towards
from export.evidence import FEWEST
from lits_deploy.bundle import Artifact
from lits_deploy.fusion import lesion_log_odds
from lits_deploy.pipeline.decide import softmax

Logits = npt.NDArray[np.float32]
Answers = Mapping[str, Sequence[LabelledAnswer]]
"""By split, of patients that were not trained on."""


def taken_over(artifact: Artifact, answers: Answers, base: Artifact, its: Answers) -> Artifact:
    """The artifact with the numbers of `base`, moved; as they are where fewer than FEWEST slices were answered by both.

    answers, its: of either file.
    """
    artifact = replace(
        artifact,
        temperature=base.temperature,
        abstain_below=base.abstain_below,
        calibration=base.calibration,
        operating_point=base.operating_point,
        operating_points=base.operating_points,
        promise=base.promise,
    )
    known = {answer.sample: answer for answer in unseen(its)}
    both = [(known[answer.sample], answer) for answer in unseen(answers) if answer.sample in known]
    before, after = (np.array([pair[k].logits for pair in both], np.float32) for k in (0, 1))
    return moved_to(artifact, base.name, before[np.newaxis], after)


def unseen(answers: Answers) -> Sequence[LabelledAnswer]:
    """Answers to move by: of validate, else, where every patient of it was trained on, of test."""
    return answers.get("validate") or answers.get("test") or ()


def moved_to(artifact: Artifact, source: str, before: Logits, after: Logits) -> Artifact:
    """The artifact, whose numbers are those of other answers, with numbers for its own.

    source: what gave those. before: float32 [networks, N, 3], their logits, of one network or several that the numbers
    were fitted on together; after: float32 [N, 3], its own to the same slices. With fewer than FEWEST it stays as it
    is. The temperature is the one at which it is as sure as they are on average; a threshold keeps its rank.
    """
    count = len(after) if len(after) >= FEWEST else 0
    artifact = replace(
        artifact, calibration={**artifact.calibration, "taken_over": {"from": source, "moved_by_slices": count}}
    )
    if not count:
        return artifact
    theirs = np.stack([softmax(logits, artifact.temperature) for logits in before])
    temperature = temperature_towards(theirs.mean(axis=0), after)
    odds = (
        np.concatenate([lesion_log_odds(logits, artifact.temperature) for logits in before]),
        lesion_log_odds(after, temperature),
    )
    sure = theirs.max(axis=2).ravel(), softmax(after, temperature).max(axis=1)
    points = [
        {**point, "threshold": point["threshold"] and float(np.exp(moved(float(np.log(point["threshold"])), *odds)))}
        for point in artifact.operating_points
    ]
    below = None if artifact.abstain_below is None else moved(artifact.abstain_below, *sure)
    return replace(artifact, temperature=temperature, abstain_below=below, operating_points=tuple(points))


def moved(threshold: float, before: npt.NDArray[Any], after: npt.NDArray[Any]) -> float:
    """The threshold among `after` that lies where this one lies among `before`: at the same rank, and as far outside
    them. Of the same slices, [N] and [N], or [networks · N] and [N]."""
    old, new = np.sort(before.astype(np.float64)), np.sort(after.astype(np.float64))
    inside = float(np.clip(threshold, old[0], old[-1]))
    rank = np.interp(inside, old, _ranks(len(old)))
    return float(np.interp(rank, _ranks(len(new)), new)) + threshold - inside


def _ranks(count: int) -> npt.NDArray[np.float64]:
    """Of each of so many, from 0 to 1."""
    return (np.arange(count) + 0.5) / count
