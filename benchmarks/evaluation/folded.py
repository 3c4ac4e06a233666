"""`evaluate` of a folded run: what its networks answered out of fold, as the same document (`run`), and fold by fold.

No network is run and no slice is read: RUN/out_of_fold.npz holds the answers. Masks are not kept there, so a U-Net's
distances and lesions are not counted. Knows nothing about how they were made (`train.folds`).
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.evaluation import classifier, unet
from benchmarks.evaluation.run import AS_TRAINED, Evaluation, Row, made
from export.bootstrap import DRAWS, about_intervals, finite
from export.evidence import of_folds
from export.operating_points import fit, points_of, uncheckable
from lits_deploy import DISCLAIMER
from lits_deploy.contract import InputContract
from lits_deploy.synthetic import CAVEAT
from train.folds.figures import by_fold
from train.folds.folder import FoldsRecord, read_record
from train.out_of_fold import OutOfFold, of_run

SCHEMA = 1
SPLIT = "train and validate, out of fold"
_NOTES = (
    "Each patient was answered by the network that was trained without it, at its last epoch: no epoch, temperature or "
    "threshold was chosen on it. These are figures of the way of training, not of one network.",
    "Figures of all patients together put answers of different networks into one ranking.",
)
_NO_MASKS = "masks are not kept out of fold; `evaluate` of a bundle measures distances and lesions"


def evaluate_folds(run: Path, *, draws: int = DRAWS) -> Evaluation:
    """Measure a folded run on the patients that each of its networks never saw.

    Raises DataError where it is not finished, or damaged.
    """
    started = perf_counter()
    record, answers = read_record(run), of_run(run)
    contract, patients = record.config.contract, len(np.unique(answers.patient))
    rows, content = (_classified if answers.task == "classify" else _segmented)(answers, contract, draws)
    fold_of = dict(zip(answers.patient.tolist(), answers.fold.tolist(), strict=True))
    content["patients"] = [{**row, "fold": fold_of[row["patient"]]} for row in content["patients"]]
    document = {
        "schema": SCHEMA,
        "kind": "evaluation",
        "task": answers.task,
        "disclaimer": DISCLAIMER,
        "subject": _subject(run, record, answers),
        "data": {
            "name": answers.record["data"],
            "split": SPLIT,
            "split_by": answers.record["split_by"],
            "leaked_patients": [],
            "slices": len(answers),
            "failed": 0,
            "patients": patients,
            "source": record.dataset.get("source"),
            "synthetic": answers.record["synthetic"],
            "sha256": answers.record["listing"],
        },
        "marks": [CAVEAT] if answers.record["synthetic"] else [],
        "notes": [*_NOTES, *content.pop("notes")],
        "intervals": about_intervals(patients, draws),
        **content,
        "folds": spread_of(answers),
        "failed": [],
        "made": made(started),
    }
    return Evaluation(document=finite(document), slices=rows)


def spread_of(answers: OutOfFold) -> dict[str, Any]:
    """`rows`: the figures of each fold (`train.folds.figures`); `spread`: of each, mean, lowest and highest, and sd.

    sd: standard deviation over the folds (n − 1); None where fewer than two folds have the figure.
    """
    rows = [_plain(row) for row in by_fold(answers)]
    names = [name for name in rows[0] if name not in ("fold", "slices", "patients")]
    spread = {}
    for name in names:
        values = np.array([row[name] for row in rows if row[name] is not None])
        if len(values):
            sd = float(values.std(ddof=1)) if len(values) > 1 else None
            spread[name] = {"mean": values.mean(), "low": values.min(), "high": values.max(), "sd": sd}
    return {"rows": rows, "spread": spread}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """The figures that a fold is held against others by, by name."""
    found = {name: row[name] for name in ("fold", "patients", "slices")}
    if "dice" in row:
        return {**found, "dice_liver": row["dice"][1], "dice_lesion": row["dice"][2]}
    names = ("accuracy", "balanced_accuracy", "liver_accuracy", "lesion_auroc")
    return {**found, **{name: row[name] for name in names}, "lesion_sensitivity": row["per_class_accuracy"][2]}


def _subject(run: Path, record: FoldsRecord, answers: OutOfFold) -> dict[str, Any]:
    contract = record.config.contract
    return {
        "kind": "folds",
        "name": run.resolve().name,
        "model": record.config.model,
        "parameters": None,
        "folds": answers.folds,
        "epochs": answers.record["epochs"],
        "checkpoints": answers.record["checkpoints"],
        "checkpoint_sha256": None,
        "contract_sha256": contract.sha256,
        "classes": list(contract.classes),
        "window_hu": None if contract.window_hu is None else list(contract.window_hu),
        "temperature": 1.0,
        "abstain_below": None,
        "calibration": {},
        "trained_on": answers.record["data"],
    }


def _rows(answers: OutOfFold) -> list[Row]:
    columns = (answers.path, answers.patient, answers.scan, answers.fold, answers.target)
    return [
        {
            "path": path,
            "patient": patient,
            "scan": scan,
            "fold": fold,
            "status": "ok",
            "reason": None,
            "split_by": answers.record["split_by"],
            "target": target,
        }
        for path, patient, scan, fold, target in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _classified(answers: OutOfFold, contract: InputContract, draws: int) -> tuple[list[Row], dict[str, Any]]:
    assert answers.logits is not None
    answered = classifier.AnsweredSlices(
        target=answers.target,
        logits=answers.logits,
        patients=tuple(answers.patient.tolist()),
        paths=tuple(answers.path.tolist()),
    )
    rows = _rows(answers)
    for row, label, (p0, p1, p2) in zip(rows, answered.labels, answered.probabilities(), strict=True):
        row |= {"label": int(label), "p0": float(p0), "p1": float(p1), "p2": float(p2), "uncertain": False}
    return rows, {
        "figures": {**classifier.figures_of(answered, contract.classes, draws), "promises": _promises(answers)},
        "curves": classifier.curves_of(answered, contract.classes),
        "patients": classifier.patients_of(answered),
        "worst": classifier.worst_of(answered, contract.classes, 1.0),
        "notes": [
            AS_TRAINED,
            "The thresholds of the operating points in this table were chosen on these very patients. Those of the "
            "rules that `export` keeps were checked on patients that had no part in setting them.",
        ],
    }


def _promises(answers: OutOfFold) -> list[dict[str, Any]]:
    """What each rule that `export` knows would promise, without its threshold; none where folds are too unlike."""
    evidence = of_folds(answers)
    if evidence.too_little or uncheckable(evidence):
        return []
    points = points_of(evidence, fit(evidence.target, evidence.logits))
    return [{name: value for name, value in point.items() if name != "threshold"} for point in points]


def _segmented(answers: OutOfFold, contract: InputContract, draws: int) -> tuple[list[Row], dict[str, Any]]:
    assert answers.pixels is not None
    rows = _rows(answers)
    for row, matrix in zip(rows, answers.pixels, strict=True):
        row |= unet.matrix_row(matrix)
    scored = [
        unet.PatientScores(
            patient=patient,
            scans=len(np.unique(answers.scan[own])),
            slices=int(own.sum()),
            matrix=answers.pixels[own].sum(axis=0),
            hd95_mm={},
            no_hd95=_NO_MASKS,
            volume=False,
            lesions=None,
        )
        for patient in np.unique(answers.patient).tolist()
        for own in (answers.patient == patient,)
    ]
    return rows, {
        "figures": unet.figures_of(scored, draws),
        "curves": [],
        "patients": unet.patients_of(scored),
        "worst": unet.worst_of(rows),
        "notes": [unet.EMPTY_RULE, f"HD95 and lesions were not computed: {_NO_MASKS}."],
    }
