"""The answers of two folded runs to the same slices, a classifier's and a U-Net's, by networks that had not seen the
slice's patient. Knows neither bundles nor networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from export.evidence import Evidence, of_folds
from lits_deploy.errors import DataError
from lits_deploy.fusion import LIVER, TUMOUR
from lits_deploy.printable import printable
from train.out_of_fold import OutOfFold, of_run


@dataclass(frozen=True, kw_only=True)
class PairEvidence(Evidence):
    """counts: int64 [N, 2], the U-Net's pixels of liver, lesions included, and of lesion, of every slice. scans: of
    each slice; the slices of one lie in order."""

    counts: npt.NDArray[np.int64]
    scans: tuple[str, ...]


def read(classifier: Path, segmenter: Path) -> tuple[OutOfFold, OutOfFold, PairEvidence]:
    """The answers of both runs and what they say together.

    DataError, naming the fix, for a run that is of the other kind or not finished, and where patients, folds, slices or
    truth differ.
    """
    both = of_run(classifier), of_run(segmenter)
    for run, answers, task, kind in zip(
        (classifier, segmenter), both, ("classify", "segment"), ("classifier", "U-Net"), strict=True
    ):
        if answers.task != task:
            raise DataError(
                f"{run} is not a folded run of a {kind}.", fix="first the classifier's run, then the U-Net's"
            )
    return (*both, joined(*both))


def joined(classifier: OutOfFold, segmenter: OutOfFold) -> PairEvidence:
    """Both answers of every slice, in the classifier's order; DataError as `read`."""
    ours, theirs = (_keys(answers) for answers in (classifier, segmenter))
    if odd := sorted(set(ours) ^ set(theirs)):
        patient, _, path = odd[0]
        raise DataError(
            f"The two runs answered different slices: {len(odd):,} are in only one of them, such as {printable(path)} "
            f"of patient {printable(patient)}.",
            fix="train both with --folds on the same data",
        )
    row_of = {key: row for row, key in enumerate(theirs)}
    matched = segmenter.rows(np.array([row_of[key] for key in ours], np.intp))
    if (classifier.fold != matched.fold).any():
        patients = sorted(set(classifier.patient[classifier.fold != matched.fold].tolist()))
        raise DataError(
            f"The two runs have different folds: {len(patients)} patients are in another one, such as "
            f"{printable(patients[0])}.",
            fix="train both with the same --folds and --seed",
        )
    if (classifier.target != matched.target).any():
        raise DataError(
            f"The two runs have different truth for {int((classifier.target != matched.target).sum()):,} slices.",
            fix="train both with --folds on the same masks",
        )
    known = of_folds(classifier)
    counts = np.zeros((len(known.target), 2), np.int64)
    assert matched.pixels is not None
    counts[:, LIVER] = matched.pixels[:, :, 1:].sum(axis=(1, 2))
    counts[:, TUMOUR] = matched.tumour_pixels
    return PairEvidence(**vars(known), counts=counts, scans=tuple(classifier.scan.tolist()))


def _keys(answers: OutOfFold) -> list[tuple[str, str, str]]:
    return list(zip(answers.patient.tolist(), answers.scan.tolist(), answers.path.tolist(), strict=True))
