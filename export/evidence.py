"""Answers to slices of patients that a network had not seen: what a bundle's calibration and promises are fitted on.

From the validate split, answered by the exported file itself; or out of fold, each patient answered by the network of
the fold that left it out. The latter are more patients, and none of them chose a network. Knows neither files nor
networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lits_deploy.operating_point import OUT_OF_FOLD
from train.out_of_fold import OutOfFold

FEWEST = 60
"""Slices at least: fewer say more about chance than about the network."""

MOST_GROUPS = 20
"""Groups of patients at most that take turns where there are no folds."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Slices with their truth and what a network said of them that had not seen their patients.

    target: int64 [N]; logits: float32 [N, 3]; patients: of each slice. folds: int64 [N], the fold that left the slice
    out, or None. source: `operating_point.OUT_OF_FOLD` or VALIDATE. data, split_by, synthetic: of the data set. paths:
    of each slice's picture below the data set's folder, escaped; none where nobody asks for them.
    """

    target: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float32]
    patients: tuple[str, ...]
    source: str
    data: str
    split_by: str | None
    synthetic: bool
    folds: npt.NDArray[np.int64] | None = None
    paths: tuple[str, ...] = ()

    @property
    def of_patient(self) -> npt.NDArray[np.int64]:
        """The number of each slice's patient, int64 [N], from 0, by name."""
        return np.unique(np.asarray(self.patients), return_inverse=True)[1].reshape(-1).astype(np.int64)

    @property
    def groups(self) -> npt.NDArray[np.int64]:
        """Slices that set a threshold together or are checked together, int64 [N]: a fold's, else a patient's."""
        return self.of_patient % MOST_GROUPS if self.folds is None else self.folds

    @property
    def lesion(self) -> npt.NDArray[np.bool_]:
        """Which slices show one, bool [N]."""
        return np.asarray(self.target == 2)

    @property
    def too_little(self) -> str | None:
        """Why nothing can be fitted on it, or None."""
        classes = len(np.unique(self.target))
        if len(self.target) >= FEWEST and classes > 1:
            return None
        return f"{len(self.target)} {self.source} slices of {classes} classes are too few"

    def record(self) -> dict[str, Any]:
        """For the records of what is fitted on it: where it is from, and how many slices it has."""
        return {
            "source": self.source,
            "data": self.data,
            "split_by": self.split_by,
            "synthetic": self.synthetic,
            "slices": len(self.target),
        }

    def promise(self) -> dict[str, Any]:
        """For `Artifact.promise`: the same, and what a promise rests on."""
        return {
            **self.record(),
            "patients": len(set(self.patients)),
            "with_lesion": len(np.unique(self.of_patient[self.lesion])),
            "groups": len(np.unique(self.groups)),
        }


def of_folds(answers: OutOfFold) -> Evidence:
    """What the networks of a folded run, a classifier, said of the patients that each had not seen."""
    assert answers.logits is not None
    return Evidence(
        target=answers.target,
        logits=answers.logits,
        patients=tuple(answers.patient.tolist()),
        folds=answers.fold,
        paths=tuple(answers.path.tolist()),
        source=OUT_OF_FOLD,
        data=f"{answers.record['data']}, train and validate",
        split_by=answers.record["split_by"],
        synthetic=answers.record["synthetic"],
    )
