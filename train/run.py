"""A training run: epochs, checkpoints and records in one folder, resumable at any moment.

    RUN/ config.json  metrics.csv  test.json  last.safetensors  last.json  best.safetensors  best.json
         confusion.png  curves.png  events.out.tfevents…

All randomness of an epoch derives from (seed, epoch), and a checkpoint is written when an epoch ends. So a run that was
killed and resumed repeats the epoch it was in and reaches the weights of an undisturbed run.
"""

from __future__ import annotations

import csv
import io
import platform
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lits_deploy import __version__
from lits_deploy.errors import DataError, OutputError
from lits_deploy.files import write_json, write_text
from lits_deploy.revision import git_revision
from train import checkpoint
from train.config import TrainConfig
from train.data.augment import Augment
from train.data.dataset import SliceDataset, class_weights, loader
from train.data.layout import Layout, read_layout
from train.loop import cosine, run_epoch
from train.metrics import Meter, quality
from train.models.registry import build, network
from train.preprocess import Preprocess

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LAST, BEST = "last.safetensors", "best.safetensors"
COLUMNS = (
    "epoch", "train_loss", "train_accuracy", "validate_loss", "validate_accuracy", "validate_balanced_accuracy",
    "validate_class0", "validate_class1", "validate_class2", "validate_liver_accuracy", "validate_lesion_auroc",
    "validate_dice1", "validate_dice2", "seconds", "slices_per_second", "split_by",
)  # fmt: skip


class Observer:
    """What a run tells while it goes on; the command line draws it, tests ignore it."""

    def say(self, line: str) -> None:
        """A line for the user."""

    def start(self, what: str, slices: int) -> None:
        """A pass over `slices` slices begins."""

    def batch(self, meter: Meter) -> None:
        """A batch is done."""

    def measure(self, epoch: int, validate: dict[str, Any], evaluate: Callable[[str], dict[str, Any]]) -> None:
        """An epoch's weights can be measured further before its checkpoint is written; changes nothing in the run.

        validate: all figures on validate (`Meter.result`); evaluate: takes a split, gives the same figures on it.
        """

    def end_epoch(self, epoch: int, epochs: int, row: dict[str, Any]) -> None:
        """An epoch is done; `row` is its line of metrics.csv."""


def train(config: TrainConfig, out: Path, *, resume: bool = False, observer: Observer | None = None) -> dict[str, Any]:
    """Train, or go on, in the folder `out`; returns the figures on `test`, which are also in test.json.

    Raises DataError for unusable data, OutputError where `out` holds another run.
    """
    watch = observer or Observer()
    layout = read_layout(config.data)
    _open_folder(config, out, resume, layout)
    if config.contract.window_hu is None:
        watch.say(f"note: {config.data} declares no window; recorded as unknown (--window LOW HIGH declares it).")
    if leaks := layout.leaks():
        watch.say(f"warning: {len(leaks)} patients stand in more than one split; accuracies will be too high.")
    elif layout.split_by == "slice":
        watch.say(f"warning: {config.data} is split by slice; accuracies will be too high.")
    session = _Session(config, layout, watch)
    rows = session.resume(out) if resume and (out / LAST).is_file() else []
    for epoch in range(len(rows), config.epochs):
        if config.max_minutes is not None and sum(row["seconds"] for row in rows) > 60 * config.max_minutes:
            watch.say(f"stopped before epoch {epoch + 1}: {config.max_minutes:g} minutes are over")
            break
        row, checked = session.epoch(epoch)
        rows.append(row)
        watch.measure(epoch + 1, checked, session.evaluate)
        session.save(out, rows, checked["confusion"])
        watch.end_epoch(epoch + 1, config.epochs, row)
    if not rows:
        raise DataError("No epoch was trained.", fix="more --epochs or --max-minutes")
    return session.test(out)


class _Session:
    """Model, optimiser and data of a run in memory."""

    def __init__(self, config: TrainConfig, layout: Layout, watch: Observer) -> None:
        self.config, self.watch, self.split_by = config, watch, layout.split_by
        self.info = network(config.model)
        self.device = torch.device(config.device)
        torch.manual_seed(config.seed)
        model = build(config.model, width=config.width, init=config.init)
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
        self.preprocess = Preprocess(config.contract)
        crop = config.contract.crop
        augment = {
            "thesis": Augment(crop=crop),
            "upright": Augment(crop=crop, flips=False, turn=10.0, zoom=0.15),
            "crop": Augment(crop=crop, jitter=0.0, flips=False),
            "none": None,
        }[config.augment]
        self.data = {split: self._load(layout, split, augment if split == "train" else None) for split in layout.splits}
        train = self.data["train"]
        weights = None
        if config.class_weights == "balanced":
            weights = class_weights(train.targets if train.masks is None else train.masks).to(self.device)
        self.loss: nn.Module = nn.CrossEntropyLoss(weight=weights)
        self.best = -1.0
        self.writer: SummaryWriter | None = None

    def _load(self, layout: Layout, split: str, augment: Augment | None) -> SliceDataset:
        masks = self.info.task == "segment"
        samples, contract = layout.splits[split], self.config.contract
        return SliceDataset(samples, contract, masks=masks, augment=augment, seed=self.config.seed)

    def _pass(self, split: str, what: str, epoch: int, *, learn: bool) -> dict[str, Any]:
        config = self.config
        batches, sampler = loader(
            self.data[split],
            batch_size=config.batch_size,
            shuffle=learn,
            workers=config.workers if learn else 0,
            pin=self.device.type == "cuda",
        )
        sampler.epoch = epoch
        self.watch.start(what, len(self.data[split]))
        return run_epoch(
            self.model, batches, self.loss, self.preprocess, task=self.info.task, device=self.device,
            optimiser=self.optimiser if learn else None, rate=self._rate(epoch, len(batches)),
            amp=config.amp, progress=self.watch.batch,
        )  # fmt: skip

    def _rate(self, epoch: int, batches: int) -> Callable[[int], float] | None:
        if self.config.schedule == "constant":
            return None
        return lambda step: cosine(epoch * batches + step, self.config.epochs * batches, self.config.lr)

    def epoch(self, epoch: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Train and validate once; returns the row of metrics.csv and all figures on validate."""
        torch.manual_seed(self.config.seed * 1_000_003 + epoch + 1)  # dropout
        began = time.perf_counter()
        learned = self._pass("train", f"epoch {epoch + 1}/{self.config.epochs}", epoch, learn=True)
        seconds = time.perf_counter() - began
        checked = self._pass("validate", "validate", epoch, learn=False)
        self.quality = quality(checked)
        row: dict[str, Any] = {"epoch": epoch + 1, "seconds": seconds, "slices_per_second": learned["slices"] / seconds}
        row |= {f"train_{name}": learned[name] for name in ("loss", "accuracy")}
        names = ("loss", "accuracy", "balanced_accuracy", "liver_accuracy", "lesion_auroc")
        row |= {f"validate_{name}": checked.get(name) for name in names}
        row |= {f"validate_class{index}": value for index, value in enumerate(checked["class_accuracy"])}
        row |= {f"validate_dice{index}": value for index, value in enumerate(checked.get("dice", [])) if index}
        row["split_by"] = self.split_by
        return row, checked

    def evaluate(self, split: str) -> dict[str, Any]:
        """Figures of the weights as they are, for observers."""
        return self._pass(split, split, 0, learn=False)

    def save(self, out: Path, rows: list[dict[str, Any]], confusion: list[list[int]]) -> None:
        """Checkpoints first, then everything that can be drawn again from them."""
        from train import plots

        if best := self.quality > self.best:
            self.best = self.quality
        record = {"config": self.config.to_json(), "epoch": len(rows), "best": self.best, "metrics": rows[-1]}
        if best:
            checkpoint.save(out / BEST, self.model, record)
        checkpoint.save(out / LAST, self.model, {**record, "rows": rows}, self.optimiser)
        write_text(out / "metrics.csv", _csv(rows))
        plots.curves(rows, out / "curves.png")
        if best or not (out / "confusion.png").is_file():  # of the checkpoint that is exported
            classes, unit = self.config.contract.classes, _unit(self.info.task, self.split_by)
            plots.confusion(confusion, classes, out / "confusion.png", unit=unit)
        self._tensorboard(out, rows[-1])

    def _tensorboard(self, out: Path, row: dict[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if self.writer is None:  # an epoch that is repeated after a kill replaces its earlier points
            self.writer = SummaryWriter(str(out), purge_step=row["epoch"])
        for name, value in row.items():
            if name not in ("epoch", "split_by") and value is not None:
                self.writer.add_scalar(name.replace("_", "/", 1), value, row["epoch"])
        self.writer.flush()

    def resume(self, out: Path) -> list[dict[str, Any]]:
        """Take up the state at the end of the last finished epoch; returns its rows."""
        record = checkpoint.load(out / LAST, self.model, self.optimiser)
        self.best = record["best"]
        rows: list[dict[str, Any]] = record["rows"]
        self.watch.say(f"resumed after epoch {len(rows)}")
        return rows

    def test(self, out: Path) -> dict[str, Any]:
        """Figures of the best checkpoint on the test split, written to test.json."""
        record = checkpoint.load(out / BEST, self.model)
        if self.writer is not None:
            self.writer.close()
        figures = self._pass("test", f"test (best, epoch {record['epoch']})", 0, learn=False)
        figures["split_by"] = self.split_by
        write_json(out / "test.json", {"epoch": record["epoch"], "split": "test", **figures})
        return figures


def _open_folder(config: TrainConfig, out: Path, resume: bool, layout: Layout) -> None:
    path = out / "config.json"
    if path.is_file():
        if not resume:
            raise OutputError(f"{out} already holds a run.", fix="go on with --resume, or give another --out")
        before = TrainConfig.from_json(checkpoint.read_record(out / LAST)["config"]) if (out / LAST).is_file() else None
        if before is not None and (changed := config.differences(before)):
            raise OutputError(f"{out} was trained with other settings: {', '.join(changed)}.", fix="repeat them")
    elif out.exists() and any(out.iterdir()):
        raise OutputError(f"{out} is not empty and not a run.", fix="give another --out")
    write_json(path, {**config.to_json(), "dataset": layout.describe(), "made_with": provenance()})


def provenance() -> dict[str, Any]:
    """Day (UTC), versions and git revision, for config.json and manifests."""
    import torchvision

    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "lits_deploy": __version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "python": platform.python_version(),
        "git": git_revision(),
    }


def _unit(task: str, split_by: str) -> str:
    return ("slices" if task == "classify" else "pixels") + (", SPLIT BY SLICE" if split_by == "slice" else "")


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="raise", restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
