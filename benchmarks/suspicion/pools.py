"""Ways to make one number of a series' slices, and a series' answers in order. Knows neither files nor networks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

import numpy as np
import numpy.typing as npt

from export.confidence import fit_temperature
from lits_deploy.fusion import lesion_log_odds, no_liver_log_odds, probability
from lits_deploy.studies import NEIGHBOURS, suspicion
from train.out_of_fold import OutOfFold

MARGIN = 2
"""Slices on either side of a lesion that are left out with it."""

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Pool = Callable[[Floats, Bools], float]
"""Log odds of a lesion along a series, and which slices show liver to the network, both [n] → its score."""


def neighbours(width: int) -> Pool:
    """The highest mean probability of so many neighbours."""
    return lambda odds, _: suspicion(probability(odds).tolist(), width) or 0.0


def highest(count: int) -> Pool:
    """The mean of so many highest probabilities, wherever they lie."""
    return lambda odds, _: float(np.sort(probability(odds))[-count:].mean())


def mean_log_odds(odds: Floats, liver: Bools) -> float:
    """The highest mean of log odds over three neighbours: a slice that denies it weighs more than in probabilities."""
    return suspicion(odds.tolist()) or 0.0


POOLS: dict[str, Pool] = {
    f"mean of {NEIGHBOURS} neighbours (suspicion)": neighbours(NEIGHBOURS),
    "highest slice": neighbours(1),
    "mean of 5 neighbours": neighbours(5),
    "mean of 9 neighbours": neighbours(9),
    "mean of the 3 highest": highest(3),
    "mean of the 9 highest": highest(9),
    # −ln of the probability that no slice shows one, were slices independent
    "at least one slice": lambda odds, _: float(np.logaddexp(0.0, odds).sum()),
    "mean log odds of 3 neighbours": mean_log_odds,
    "the same above its own median": lambda odds, liver: (
        mean_log_odds(odds, liver) - (float(np.median(odds[liver])) if liver.any() else 0.0)
    ),
}


class SeriesAnswersInOrder:
    """One scan's answers in order: log odds of a lesion, predicted liver and the truth, [n] each; patient, fold."""

    def __init__(self, patient: str, fold: int, odds: Floats, liver: Bools, lesion: Bools) -> None:
        self.patient, self.fold, self.odds, self.liver, self.lesion = patient, fold, odds, liver, lesion
        around = np.convolve(lesion, np.ones(2 * MARGIN + 1), "same") > 0
        self.rest = ~around

    @property
    def ill(self) -> bool:
        """Whether any slice shows a lesion."""
        return bool(self.lesion.any())

    def less_its_lesions(self) -> SeriesAnswersInOrder | None:
        """Without them and what lies beside; None where no liver is left."""
        if not (self.rest & self.liver).any():
            return None
        return SeriesAnswersInOrder(
            self.patient, self.fold, self.odds[self.rest], self.liver[self.rest], self.lesion[self.rest]
        )


def series_of(answers: OutOfFold, logits: npt.NDArray[np.float32]) -> list[SeriesAnswersInOrder]:
    """The scans of a table of answers out of fold, with these logits [N, 3]."""
    odds, liver = np.zeros(len(answers)), np.zeros(len(answers), np.bool_)
    for fold in np.unique(answers.fold):
        own = answers.fold == fold
        temperature = fit_temperature(answers.target[~own], logits[~own])
        odds[own] = lesion_log_odds(logits[own], temperature)
        liver[own] = no_liver_log_odds(logits[own], temperature) < 0
    found = []
    keys = zip(answers.patient.tolist(), answers.scan.tolist(), strict=True)
    for (patient, _), rows in groupby(enumerate(keys), key=lambda row: row[1]):
        at = np.array([index for index, _ in rows])
        found.append(
            SeriesAnswersInOrder(patient, int(answers.fold[at[0]]), odds[at], liver[at], answers.target[at] == 2)
        )
    return found
