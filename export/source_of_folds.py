"""The original of a folded run: one fold's network, the mean of all, or the final one (`export.folded`)."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from export.choices import Flips, Networks
from export.evidence import of_folds
from export.folded import Folded, dealt, deciding_figure, fresh_answers, median_fold
from export.mean_of_folds import MeanOfFolds
from export.source import Deployed, Original, from_run
from lits_deploy.errors import DataError
from train.data.seen import SeenSlices
from train.folder import LAST
from train.folds.folder import FINAL, FoldsRecord, fold_folder, read_record
from train.folds.run import median_epochs
from train.out_of_fold import OutOfFold


def from_folds(run: Path, taken: Networks, data: Path | None = None) -> Original:
    """The original that `taken` names. data: the data set, where it is not where the run was trained.

    DataError where the run is not finished, or has no final network.
    """
    record = read_record(run)
    answers = fresh_answers(run, record)
    number, figures = median_fold(answers)
    if taken == "best":
        original = from_run(fold_folder(run, number), choice="last")
    elif taken == "average":
        original = _mean(run, record, answers)
    else:
        original = _final(run, record)
    at = data or record.config.data
    fold = number if taken == "best" else None
    known: dict[str, Any] = {
        "taken": taken,
        "folds": answers.folds,
        "seed": record.seed,
        "fold": fold,
        "epochs": answers.record["epochs"],
        "judged_by": deciding_figure(answers),
        "held_out": figures,
    }
    folder = {"best": f"fold-{number}", "average": "", "all": FINAL}[taken]
    return dataclasses.replace(
        original,
        data=at,
        training={**original.training, "run": "/".join(filter(None, (run.resolve().name, folder))), "folds": known},
        folded=Folded(
            run=run, taken=taken, folds=answers.folds, fold=fold, layout=dealt(record, at, fold), answers=answers
        ),
        out_of_fold=of_folds(answers) if answers.task == "classify" else None,
    )


def networks_of(folded: Folded, flips: Flips = "none") -> list[Original]:
    """The folds' networks, each of its last epoch; flips: the mirror images that they answer with each slice."""
    folders = [fold_folder(folded.run, number) for number in range(1, folded.folds + 1)]
    return [from_run(folder, choice="last").with_flips(flips) for folder in folders]


def _mean(run: Path, record: FoldsRecord, answers: OutOfFold) -> Original:
    each = [from_run(fold_folder(run, number), choice="last") for number in range(1, answers.folds + 1)]
    first = each[0]
    mean = MeanOfFolds([original.module.network for original in each])
    training = {key: value for key, value in first.training.items() if key != "checkpoint_sha256"}
    training |= {
        "epoch": median_epochs(run, answers.folds),
        "checkpoints_sha256": answers.record["checkpoints"],
        "dataset": _whole(record.dataset),
    }
    return dataclasses.replace(
        first,
        module=Deployed(mean, first.contract, first.info.task).eval(),
        training=training,
        metrics={},
        seen=_seen([original.seen for original in each]),
    )


def _final(run: Path, record: FoldsRecord) -> Original:
    folds = len(record.folds)
    fix = f"the same `train --folds {folds}` command with --final --resume; or --from best, --from average"
    if not (run / FINAL / LAST).is_file():
        raise DataError(f"{run} has no network that was trained on all patients.", fix=fix)
    original = from_run(run / FINAL, choice="last")
    wanted = median_epochs(run, folds)
    if original.training["epoch"] != wanted:
        raise DataError(
            f"{run / FINAL} was trained for {original.training['epoch']} epochs, and the folds for {wanted}.", fix=fix
        )
    return original


def _whole(dataset: dict[str, Any]) -> dict[str, Any]:
    """A data set's description with validate's patients among those of train: all of them taught some network."""
    slices, patients = dict(dataset["slices"]), dict(dataset["patients"])
    slices["train"], slices["validate"] = slices["train"] + slices["validate"], 0
    patients["train"], patients["validate"] = sorted({*patients["train"], *patients["validate"]}), []
    return {**dataset, "slices": slices, "patients": patients}


def _seen(each: list[SeenSlices | None]) -> SeenSlices | None:
    """What any of the networks was trained on: the patients that one was held against taught the others."""
    known = [seen for seen in each if seen is not None]
    if len(known) < len(each):
        return None
    splits = {
        split: np.unique(np.concatenate([seen.splits[split] for seen in known if split in seen.splits]))
        for split in ("train", "test")
    }
    return SeenSlices(splits=splits, whole=all(seen.whole for seen in known))
