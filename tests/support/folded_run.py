"""The files of a folded run whose answers are made up: for what reads them, in milliseconds and without a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lits_deploy.contract import InputContract
from train.config import TrainConfig
from train.folds.folder import FoldsRecord, write_record
from train.out_of_fold import NAME, SCHEMA, OutOfFold, joined

FOLDS = 3


def make_folded_run(run: Path, *, model: str = "resnet18", patients: int = 7, slices: int = 30) -> OutOfFold:
    """Write folds.json and out_of_fold.npz; returns the answers. Every fourth patient has no lesion."""
    rng = np.random.default_rng(5)
    names = [f"{number:03d}" for number in range(patients)]
    folds = [names[start::FOLDS] for start in range(FOLDS)]
    contract = InputContract(window_hu=(-40.0, 160.0), crop=None if model == "unet" else 56, size=64)
    config = TrainConfig(model=model, data=Path("data"), width=2 if model == "unet" else None, contract=contract)
    described = {"name": "data", "source": "made up", "split_by": "patient", "synthetic": False}
    plain = [[str(int(name)) for name in fold] for fold in folds]
    run.mkdir(parents=True, exist_ok=True)
    write_record(run, FoldsRecord(config=config, folds=plain, listing={}, dataset=described, counts=[]))
    record = {
        "schema": SCHEMA,
        "folds": FOLDS,
        "seed": 0,
        "data": "data",
        "synthetic": False,
        "split_by": "patient",
        "listing": "0" * 64,
        "model": model,
        "contract": contract.sha256,
        "epochs": [15, 15, 15],
        "checkpoints": [str(number) * 64 for number in range(FOLDS)],
    }
    parts = [_part(number, fold, model, slices, rng) for number, fold in enumerate(folds, start=1)]
    answers = joined(parts, record)
    answers.save(run / NAME)
    return answers


def _part(fold: int, names: list[str], model: str, slices: int, rng: np.random.Generator) -> OutOfFold:
    rows = [(name, z) for name in names for z in range(slices)]
    target = np.array([z % (3 if int(name) % 4 else 2) for name, z in rows], np.int64)
    answers: dict[str, Any] = {}
    if model == "unet":
        matrix = np.zeros((len(rows), 3, 3), np.int64)
        matrix[:, 0, 0] = 4096
        for label in (1, 2):
            there = target >= label
            area, missed = 300 // label**2, rng.integers(0, 60, len(rows))
            matrix[:, label, label] += there * (area - missed)
            matrix[:, label, 0] += there * missed
            matrix[:, 0, 0] -= there * area
        answers["pixels"] = matrix
    else:
        logits = rng.normal(0, 1, (len(rows), 3))
        logits[np.arange(len(rows)), target] += rng.normal(2.5, 1, len(rows))
        answers["logits"] = logits.astype(np.float32)
    return OutOfFold(
        patient=np.array([name for name, _ in rows]),
        scan=np.array([name for name, _ in rows]),
        path=np.array([f"train/images/volume-{name}_{z:04d}.png" for name, z in rows]),
        fold=np.full(len(rows), fold, np.int64),
        target=target,
        **answers,
    )
