"""What the last network of each fold says of the patients that it never saw (`train.out_of_fold`).

In FP32 and without a temperature, as an exported file answers; in batches of the run's size.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lits_deploy.errors import DataError
from lits_deploy.files import sha256_file
from lits_deploy.scans.paths import escape
from train import checkpoint
from train.config import TrainConfig
from train.data.dataset import SliceDataset
from train.data.feed import Batch, Feed
from train.data.layout import Layout
from train.folder import LAST
from train.folds.folder import FoldsRecord, fold_folder
from train.folds.splits import fold_layout, pooled
from train.meter import EpochMeter
from train.models.registry import build, network
from train.out_of_fold import NAME, SCHEMA, OutOfFold, joined, read
from train.preprocess import Preprocess
from train.session import Observer

Change = Callable[[nn.Module], nn.Module]
"""What is done to a network, preprocessed slices in and logits out, before it answers."""


def out_of_fold(
    run: Path, record: FoldsRecord, layout: Layout, decoded: SliceDataset, device: str, watch: Observer
) -> None:
    """Write the answers of all folds to RUN/out_of_fold.npz, where they are not there yet.

    decoded: the pool's slices, with masks for a U-Net.
    """
    said = _record(run, record, layout)
    with suppress(DataError):  # not there, or damaged: made again
        if read(run / NAME).record == said:
            return
    joined(_parts(run, record, layout, decoded, device, watch), said).save(run / NAME)


def answered_anew(
    run: Path, record: FoldsRecord, layout: Layout, watch: Observer, change: Change, **how: Any
) -> OutOfFold:
    """The answers of networks that were changed, on the CPU; kept nowhere. how: what was changed, for their record."""
    masks = network(record.config.model).task == "segment"
    decoded = SliceDataset(pooled(layout), record.config.contract, masks=masks)
    parts = _parts(run, record, layout, decoded, "cpu", watch, change)
    return joined(parts, {**_record(run, record, layout), **how})


def _parts(
    run: Path,
    record: FoldsRecord,
    layout: Layout,
    decoded: SliceDataset,
    device: str,
    watch: Observer,
    change: Change | None = None,
) -> list[OutOfFold]:
    """The answers of each fold's network."""
    parts = []
    for number in range(1, len(record.folds) + 1):
        samples = fold_layout(layout, record.folds, number).splits["validate"]
        task = network(record.config.model).task
        data = SliceDataset(samples, record.config.contract, masks=task == "segment", decoded=decoded)
        watch.start(f"answers of fold {number} of {len(record.folds)}", len(data))
        answers = answered(record.config, fold_folder(run, number) / LAST, data, torch.device(device), watch, change)
        parts.append(
            OutOfFold(
                patient=np.array([sample.patient for sample in samples]),
                scan=np.array([sample.scan for sample in samples]),
                path=np.array([escape(sample.image.relative_to(layout.root).as_posix()) for sample in samples]),
                fold=np.full(len(samples), number, np.int64),
                target=data.targets.numpy(),
                **answers,
            )
        )
    return parts


def answered(
    config: TrainConfig,
    path: Path,
    data: SliceDataset,
    device: torch.device,
    watch: Observer,
    change: Change | None = None,
) -> dict[str, Any]:
    """`logits` float32 [N, 3] of a classifier's checkpoint, or `pixels` int64 [N, 3, 3] of a U-Net's."""
    task, classes = network(config.model).task, len(config.contract.classes)
    model = build(config.model, width=config.width, channels=config.contract.channels)
    checkpoint.load(path, model)
    model = change(model) if change else model
    model = model.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    preprocess, meter = Preprocess(config.contract), EpochMeter(task, classes, device)
    found: list[Tensor] = []
    with torch.inference_mode():
        for batch in Feed(data, batch_size=config.batch_size, device=device).batches():
            logits = model(preprocess(batch.slices).contiguous(memory_format=torch.channels_last))
            found.append(logits.float() if task == "classify" else _pixels(logits, batch, classes))
            meter.slices += len(batch)
            watch.batch(meter)
    whole = torch.cat([part.cpu() for part in found]).numpy()
    return {"logits" if task == "classify" else "pixels": whole}


def _pixels(logits: Tensor, batch: Batch, classes: int) -> Tensor:
    """Pixels of each slice by label (rows) and answer (columns): int64 [N, K, K]."""
    assert batch.masks is not None
    cells = (batch.masks.long() * classes + logits.argmax(dim=1)).flatten(1)
    counts = torch.stack([(cells == kind).sum(dim=1) for kind in range(classes**2)], dim=1)
    return counts.reshape(-1, classes, classes)


def _record(run: Path, record: FoldsRecord, layout: Layout) -> dict[str, Any]:
    """`OutOfFold.record`: of whose answers these are. Equal for the same checkpoints on the same data only."""
    paths = [fold_folder(run, number) / LAST for number in range(1, len(record.folds) + 1)]
    return {
        "schema": SCHEMA,
        "folds": len(record.folds),
        "seed": record.seed,
        "data": layout.root.resolve().name,
        "synthetic": layout.synthetic,
        "split_by": "patient",
        "listing": record.listing["pool"],
        "model": record.config.model,
        "contract": record.config.contract.sha256,
        "epochs": [checkpoint.read_record(path)["epoch"] for path in paths],
        "checkpoints": [sha256_file(path) for path in paths],
    }
