"""A folded training: deal the patients, train each fold, gather what the folds answer, train the final network.

Every fold is a run as any other (`train.run`), on a layout of its own; all of them share the slices, which are decoded
once. Killed at any moment it goes on where it was: folds.json says who was held out, each fold's folder how far it is.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from lits_deploy.errors import DataError
from train import checkpoint, distributed
from train.config import TrainConfig
from train.data.dataset import SliceDataset
from train.data.layout import Layout, plain
from train.device import limit_threads
from train.folder import LAST
from train.folds.answers import out_of_fold
from train.folds.deal import SliceCounts, deal
from train.folds.folder import FINAL, FoldsRecord, fold_folder, going_on, opened, pool_listing, write_record
from train.folds.splits import Folds, final_layout, fold_layout, pooled
from train.models.registry import network
from train.run import checked_layout, provenance, train_on
from train.session import Observer


def train_folds(
    config: TrainConfig,
    run: Path,
    folds: int,
    *,
    final: bool = False,
    resume: bool = False,
    observer: Observer | None = None,
) -> None:
    """Train `folds` networks, each without the patients of its fold, and write what they say of these (`out_of_fold`).

    final: one more in RUN/final, on all patients, for the median of the folds' epochs. Raises as `train.run.train`
    does, and DataError where there are fewer patients than folds.
    """
    watch = observer or Observer()
    layout = checked_layout(config, run, watch)
    _check_patients(layout, folds)
    config = _with_masks_for_all(config, layout, watch)
    limit_threads()
    with ExitStack() as stack:
        first = distributed.launched_rank() == 0  # one process of a run holds its folder
        before = None
        if first:
            stack.enter_context(opened(run))
            before = going_on(run, config, folds, layout, resume=resume)
        decoded = _decoded(config, layout)
        dealt = before.folds if before else deal(_counts(decoded["pool"]), folds, config.seed)
        record = FoldsRecord(
            config=config,
            folds=dealt,
            listing=pool_listing(layout),
            dataset=layout.describe(),
            counts=_sums(decoded["pool"], dealt),
            made_with=provenance(),
        )
        if first:
            write_record(run, record)
        for number in range(1, folds + 1):
            watch.part = f"fold {number} of {folds}"
            _train(config, fold_folder(run, number), fold_layout(layout, dealt, number), decoded, watch)
        watch.part = ""
        if first:
            out_of_fold(run, record, layout, decoded["pool"], config.device, watch)
        if final:
            watch.part = "final"
            settings = replace(config, epochs=median_epochs(run, folds), max_minutes=None)
            _train(settings, run / FINAL, final_layout(layout), decoded, watch)
            watch.part = ""


def median_epochs(run: Path, folds: int) -> int:
    """The median of the epochs that the folds were trained for, the lower of two."""
    paths = [fold_folder(run, number) / LAST for number in range(1, folds + 1)]
    return sorted(int(checkpoint.read_record(path)["epoch"]) for path in paths)[(folds - 1) // 2]


def _train(config: TrainConfig, out: Path, layout: Layout, decoded: dict[str, SliceDataset], watch: Observer) -> None:
    shared = {split: decoded["test" if split == "test" else "pool"] for split in layout.splits}
    train_on(config, out, layout, resume=True, watch=watch, decoded=shared)  # whether RUN goes on was asked before


def _check_patients(layout: Layout, folds: int) -> None:
    count = len({plain(sample.patient) for sample in pooled(layout)})
    if count < 2:
        raise DataError(
            f"{layout.root} has one patient in train and validate: nobody can be held out.", fix="leave --folds out"
        )
    if count < folds:
        raise DataError(
            f"{layout.root} has {count} patients in train and validate, too few for {folds} folds.",
            fix=f"--folds {count}",
        )


def _with_masks_for_all(config: TrainConfig, layout: Layout, watch: Observer) -> TrainConfig:
    """Without masks as a second target where some patients have none: all folds are trained alike."""
    if not config.masks or network(config.model).task == "segment" or all(one.mask for one in pooled(layout)):
        return config
    watch.say("note: some patients have classes, not masks; every fold is trained on classes alone.")
    return replace(config, masks=0.0)


def _decoded(config: TrainConfig, layout: Layout) -> dict[str, SliceDataset]:
    """The slices of pool and test, with the masks that the folds will ask for."""
    info = network(config.model)
    segment = info.task == "segment"
    masks = segment or bool(config.masks and info.stages)
    return {
        "pool": SliceDataset(pooled(layout), config.contract, masks=masks),
        "test": SliceDataset(layout.splits["test"], config.contract, masks=segment),
    }


def _counts(pool: SliceDataset) -> dict[str, SliceCounts]:
    """Slices of each patient, by its plain name."""
    pairs = [(plain(s.patient), int(target)) for s, target in zip(pool.samples, pool.targets, strict=True)]
    of = [Counter(name for name, target in pairs if target >= least) for least in range(3)]
    return {name: SliceCounts(*(counter[name] for counter in of)) for name in of[0]}


def _sums(pool: SliceDataset, folds: Folds) -> list[dict[str, int]]:
    counts = _counts(pool)
    sums = [
        SliceCounts(*(sum(column) for column in zip(*(counts[name] for name in fold), strict=True))) for fold in folds
    ]
    return [{"patients": len(fold), **one._asdict()} for fold, one in zip(folds, sums, strict=True)]
