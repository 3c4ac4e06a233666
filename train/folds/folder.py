"""RUN of `train --folds`: its record, one training at a time, and whether a training goes on there.

    RUN/ folds.json  fold-1/ … fold-K/  out_of_fold.npz  final/  .lits-deploy.lock

Each fold's folder is a run like any other (`train.folder`). A RUN in which no fold has finished an epoch is nobody's
yet.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lits_deploy.errors import DataError, OutputError
from lits_deploy.files import write_json
from train.config import TrainConfig
from train.data.layout import Layout, Sample
from train.folder import BEST, LAST, LOCK, held, listing
from train.folds.splits import Folds, pooled
from train.runs_folder import FOLDED, is_folded

FINAL = "final"
SCHEMA = 1
_HALF = re.compile(r"\.(folds\.json|out_of_fold\.npz)\.\d+\.tmp")
_OURS = re.compile(r"folds\.json|out_of_fold\.npz|final|fold-\d+")


@dataclass(frozen=True, kw_only=True)
class FoldsRecord:
    """What folds.json says.

    folds: patients of each, as `train.data.layout.plain` names them. listing: hashes of the slices of the pool and of
    test. dataset: the data set's `describe`; counts: of each fold: patients, slices, with liver, with lesion.
    """

    config: TrainConfig
    folds: Folds
    listing: dict[str, str]
    dataset: dict[str, Any]
    counts: Sequence[dict[str, int]]
    made_with: dict[str, Any] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """That the patients were dealt with."""
        return self.config.seed

    def to_json(self) -> dict[str, Any]:
        """The file's content."""
        return {
            "schema": SCHEMA,
            "kind": "folds",
            "folds": len(self.folds),
            "seed": self.seed,
            "patients": [list(fold) for fold in self.folds],
            "counts": list(self.counts),
            "config": self.config.to_json(),
            "listing": self.listing,
            "dataset": self.dataset,
            "made_with": self.made_with,
        }


def fold_folder(run: Path, number: int) -> Path:
    """Of fold 1 … K."""
    return run / f"fold-{number}"


def read_record(run: Path) -> FoldsRecord:
    """The record of a folded run; DataError where there is none, or it is damaged."""
    path = run / FOLDED
    if not path.is_file():
        raise DataError(f"{run} is not a folded run.", fix="`lits-deploy train --folds K` makes one")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["schema"] != SCHEMA or found["kind"] != "folds" or len(found["patients"]) != found["folds"]:
            raise ValueError("it is not one of ours")
        return FoldsRecord(
            config=TrainConfig.from_json(found["config"]),
            folds=tuple(tuple(map(str, fold)) for fold in found["patients"]),
            listing=dict(found["listing"]),
            dataset=dict(found["dataset"]),
            counts=tuple(dict(one) for one in found["counts"]),
            made_with=dict(found["made_with"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is damaged ({error}).", fix="copy the run again") from error


def pool_listing(layout: Layout) -> dict[str, str]:
    """Hashes of the slices of the pool, whichever of its folders they lie in, and of test (`train.folder.listing`)."""
    splits: dict[str, tuple[Sample, ...]] = {"pool": pooled(layout), "test": layout.splits["test"]}
    return listing(Layout(layout.root, splits, layout.declared))


@contextmanager
def opened(run: Path) -> Iterator[None]:
    """Hold RUN for one training; OutputError where another one is at it, or where it holds something else."""
    if run.is_dir():
        others = [p.name for p in run.iterdir() if p.name != LOCK and not _HALF.fullmatch(p.name)]
        if (run / "config.json").is_file():
            raise OutputError(f"{run} holds a run without folds.", fix="give another --out, or leave --folds out")
        if others and not (is_folded(run) and all(map(_OURS.fullmatch, others))):
            raise OutputError(f"{run} is not empty and not a folded run.", fix="give another --out")
    with held(run):
        for left in (path for path in run.iterdir() if _HALF.fullmatch(path.name)):
            left.unlink()
        yield


def going_on(run: Path, config: TrainConfig, folds: int, layout: Layout, *, resume: bool) -> FoldsRecord | None:
    """The record of a run that goes on; None where it begins. OutputError where it can neither go on nor begin."""
    if not any(True for name in (LAST, BEST) for _ in run.glob(f"fold-*/{name}")):
        return None
    if not resume:
        raise OutputError(f"{run} already holds a run.", fix="go on with --resume, or give another --out")
    record = read_record(run)
    if len(record.folds) != folds:
        raise OutputError(f"{run} has {len(record.folds)} folds, not {folds}.", fix=f"--folds {len(record.folds)}")
    if changed := record.config.differences(config):
        raise OutputError(
            f"{run} was trained with other settings: {', '.join(changed)}.", fix="repeat them, or give another --out"
        )
    hashes = pool_listing(layout)
    if other := [name for name in hashes if record.listing.get(name) != hashes[name]]:
        where = {"pool": "train and validate", "test": "test"}
        raise OutputError(
            f"{run} was trained on other data: {' and '.join(where[name] for name in other)} of {config.data} are not "
            "the same slices.",
            fix="give the --data it was begun with, or another --out",
        )
    return record


def write_record(run: Path, record: FoldsRecord) -> None:
    """Write folds.json."""
    write_json(run / FOLDED, record.to_json())
