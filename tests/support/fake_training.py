"""A training that trains nothing: the files of a run and figures made up from its settings, in milliseconds.

For tests of what is done with runs. The networks of pictures are real, untrained ones; others are a single number.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lits_deploy.files import write_json
from train import checkpoint
from train.config import TrainConfig
from train.data.layout import read_layout
from train.folder import BEST, LAST, opened
from train.metrics import segmentation_summary_of
from train.models.registry import build, network
from train.session import Observer

PICTURED = ("resnet18", "resnet34", "unet")
SECONDS = 60.0
"""Of every epoch."""


class FakeTraining:
    """Call it as `train.run.train`; `done` lists (run folder, epochs before, epochs after) of every call."""

    def __init__(self) -> None:
        self.done: list[tuple[str, int, int]] = []
        self.stop_at: tuple[str, int] | None = None
        """(word in the run's name, epoch) at which KeyboardInterrupt is raised, after that epoch's checkpoint."""

    def __call__(
        self, config: TrainConfig, out: Path, *, resume: bool = False, observer: Observer | None = None
    ) -> dict[str, Any]:
        watch = observer or Observer()
        layout = read_layout(config.data)
        with opened(config, out, layout, {}, resume=resume):
            return self._train(config, out, watch)

    def _train(self, config: TrainConfig, out: Path, watch: Observer) -> dict[str, Any]:
        rows = checkpoint.read_record(out / LAST)["rows"] if (out / LAST).is_file() else []
        before = len(rows)
        for epoch in range(before, config.epochs):
            if config.max_minutes is not None and sum(row["seconds"] for row in rows) > 60 * config.max_minutes:
                break
            figures = made_up(config, epoch)
            watch.start(f"epoch {epoch + 1}/{config.epochs}", 1)
            watch.measure(epoch + 1, figures, lambda split, f=figures: f)  # type: ignore[misc]
            rows.append({"epoch": epoch + 1, "seconds": SECONDS, "train_loss": figures["loss"], "train_accuracy": 0.5})
            if self.stop_at and self.stop_at[0] in out.name and epoch + 1 == self.stop_at[1]:
                save(config, out, rows)
                raise KeyboardInterrupt
        save(config, out, rows)
        write_json(out / "test.json", {"epoch": len(rows)})
        self.done.append((out.name, before, len(rows)))
        return {}


def save(config: TrainConfig, out: Path, rows: list[dict[str, Any]]) -> None:
    """Both checkpoints, with an optimiser that has a state."""
    torch.manual_seed(config.seed)
    model = build(config.model, width=config.width) if config.model in PICTURED else nn.Linear(1, 1)
    weight = nn.Parameter(torch.ones(1))
    optimiser = torch.optim.Adam([weight])
    weight.sum().backward()
    optimiser.step()
    record = {"config": config.to_json(), "epoch": len(rows), "best": 0.5, "metrics": rows[-1], "rows": rows}
    checkpoint.save(out / BEST, model, record)
    checkpoint.save(out / LAST, model, record, optimiser)


def made_up(config: TrainConfig, epoch: int) -> dict[str, Any]:
    """Figures as `Meter.result` gives them, other ones for other settings, seeds and epochs."""
    rng = np.random.default_rng([config.seed, epoch, int(1e6 * config.lr), len(config.model)])
    if network(config.model).task == "segment":
        matrix = np.diag([9000, 800, 60]) + rng.integers(0, 60, (3, 3))
        return {
            "loss": float(rng.uniform(0.1, 1)),
            "accuracy": 0.9,
            "balanced_accuracy": 0.8,
            "class_accuracy": [0.9, 0.8, 0.7],
            "confusion": matrix.tolist(),
            "slices": 9,
            **segmentation_summary_of(matrix),
        }
    share = rng.uniform(0.3, 0.9, 3)
    return {
        "loss": float(rng.uniform(0.1, 1)),
        "accuracy": float(share.mean()),
        "balanced_accuracy": float(share.min()),
        "class_accuracy": share.tolist(),
        "confusion": rng.integers(1, 9, (3, 3)).tolist(),
        "slices": 9,
        "liver_accuracy": float(share.max()),
        "lesion_auroc": float(share[2]),
    }
