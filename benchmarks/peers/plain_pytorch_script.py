"""The script that a competent user of PyTorch writes to classify a folder: the peer to beat, so no straw man.

Dataset, DataLoader with worker processes, evaluation and inference mode, batches of 32, one CSV at the end. The same
network, slices and threads as the pipeline, and none of its work: no hashes, no limits, no ledger, no checks of a file.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.fresh import answer, answer_error
from export.source import from_run
from lits_deploy.errors import UserError
from lits_deploy.machine import peak_resident_bytes

BATCH = 32


class Pictures(Dataset[Tensor]):
    """Grey pictures as uint8 [1, S, S]."""

    def __init__(self, files: Sequence[str], size: int) -> None:
        self.files, self.size = files, size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.files[index]) as picture:
            grey = picture.convert("L")
            if grey.size != (self.size, self.size):
                grey = grey.resize((self.size, self.size), Image.Resampling.BOX)
            return torch.from_numpy(np.array(grey)).unsqueeze(0)


def classify(
    run: Path, files: Sequence[str], out: Path, *, workers: int, threads: int, channels_last: bool
) -> dict[str, Any]:
    """Write `out` with columns file, class, p0, p1, p2.

    Returns wall_s (network built and loaded, DataLoader started, CSV written; imports excluded), load_s (of the
    network), steady_slices_per_second (after the first batch; None where there is one only).
    """
    started = perf_counter()
    torch.set_num_threads(threads)
    original = from_run(run)
    module = original.module.eval()
    if channels_last:
        module = module.to(memory_format=torch.channels_last)
    loaded = perf_counter()
    loader: DataLoader[Tensor] = DataLoader(
        Pictures(files, original.contract.size), batch_size=BATCH, num_workers=workers
    )
    results: list[Tensor] = []
    first = loaded
    with torch.inference_mode():
        for slices in loader:
            _, probabilities = module(slices)
            results.append(probabilities)
            if len(results) == 1:
                first = perf_counter()
    ended = perf_counter()
    values = torch.cat(results)
    with out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "class", "p0", "p1", "p2"])
        for file, label, row in zip(files, values.argmax(dim=1).tolist(), values.tolist(), strict=True):
            writer.writerow([file, label, *(f"{value:.6f}" for value in row)])
    return {
        "wall_s": perf_counter() - started,
        "load_s": loaded - started,
        "steady_slices_per_second": (len(files) - BATCH) / (ended - first) if len(files) > BATCH else None,
    }


def child(text: str) -> None:
    """What the fresh process runs; `labels` are read back from the CSV."""
    spec = json.loads(text)
    try:
        values = classify(
            Path(spec["run"]), spec["files"], Path(spec["out"]), workers=spec["workers"], threads=spec["threads"],
            channels_last=spec["channels_last"],
        )  # fmt: skip
    except UserError as error:
        answer_error(error)
        return
    with Path(spec["out"]).open(newline="", encoding="utf-8") as stream:
        labels = [int(row["class"]) for row in csv.DictReader(stream)]
    slices = len(labels)
    answer(
        {
            **values,
            "slices": slices,
            "slices_per_second": slices / values["wall_s"],
            "labels": labels,
            "peak_mb": peak_resident_bytes() / 1e6,
        }
    )
