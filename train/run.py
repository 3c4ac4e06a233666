"""A training run: epochs, checkpoints and records in one folder, resumable at any moment.

    RUN/ config.json  metrics.csv  test.json  last.safetensors  last.json  best.safetensors  best.json
         seen.bin  confusion.png  curves.png  events.out.tfevents…  .lits-deploy.lock

All randomness of an epoch derives from (seed, epoch), and a checkpoint is written when an epoch ends. So a run that was
killed and resumed repeats the epoch it was in and reaches the weights of an undisturbed run.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch

from lits_deploy import __version__
from lits_deploy.errors import DataError, UserError
from lits_deploy.files import write_json, write_text
from lits_deploy.revision import git_revision
from lits_deploy.spreadsheet import csv_text
from lits_deploy.synthetic import MARK
from train import checkpoint, distributed
from train.config import TrainConfig
from train.data import seen
from train.data.dataset import SliceDataset
from train.data.layout import Layout, read_layout
from train.folder import BEST, LAST, opened
from train.loop import NotFinite
from train.meter import quality
from train.models.registry import network
from train.session import Observer, TrainingSession

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

TEST = "test.json"
_CLASSES = ("class0", "class1", "class2")
_VALIDATE = ("loss", "accuracy", "balanced_accuracy", *_CLASSES, "liver_accuracy", "lesion_auroc", "dice1", "dice2")
_TIMES = ("seconds", "slices_per_second")
COLUMNS = ("epoch", "train_loss", "train_accuracy", *(f"validate_{name}" for name in _VALIDATE), *_TIMES, "split_by")
"""Of metrics.csv."""


def train(config: TrainConfig, out: Path, *, resume: bool = False, observer: Observer | None = None) -> dict[str, Any]:
    """Train, or go on, in the folder `out`; returns the figures on `test`, which are also in test.json.

    Raises DataError for unusable data, OutputError where `out` holds another run or another training is at it, and
    UserError where a loss ceases to be finite: the checkpoints are then those of the epochs before.
    """
    watch = observer or Observer()
    return train_on(config, out, checked_layout(config, out, watch), resume=resume, watch=watch)


def train_on(
    config: TrainConfig,
    out: Path,
    layout: Layout,
    *,
    resume: bool,
    watch: Observer,
    decoded: Mapping[str, SliceDataset] = MappingProxyType({}),
) -> dict[str, Any]:
    """The same on a layout of one's own, whose slices may be decoded already, by split (`train.session`)."""
    with ExitStack() as stack:
        listed: dict[str, str] = {}
        if distributed.launched_rank() == 0:  # one process of a run holds its folder
            listed = stack.enter_context(opened(config, out, layout, provenance(), resume=resume))
        stack.enter_context(distributed.joined(torch.device(config.device)))
        keeper = _Keeper(config, out, listed, layout.synthetic)
        stack.callback(keeper.close)
        return _train(TrainingSession(config, layout, watch, decoded), keeper, resume)


def checked_layout(config: TrainConfig, out: Path, watch: Observer) -> Layout:
    """The data of a run, and what should be known of it before anything is made or trained: now it costs nothing to
    mend. Raises DataError and UserError as `train` does."""
    if config.coarse and not network(config.model).any_size:
        raise UserError(f"{config.model} takes slices of one size.", fix="--coarse 0")
    layout = read_layout(config.data)
    if config.contract.window_hu is None:
        watch.say(
            f"warning: {config.data} declares no window, so the bundle will refuse DICOM and NIfTI. Fix: stop, and "
            f"give --window LOW HIGH in HU; or after the training: lits-deploy export {out} --window LOW HIGH"
        )
    single = sum(len(sample.row) < 2 for sample in layout.splits["train"])
    if single and config.contract.channels > 1:
        watch.say(f"note: {single} training slices have no neighbours: their names tell no number, or another's too.")
    if layout.synthetic:
        watch.say(f"note: {config.data} is {MARK}: figures on phantoms say nothing about patients.")
    if leaks := layout.leaks():
        watch.say(f"warning: {len(leaks)} patients occur in more than one split; accuracies will be too high.")
    elif layout.split_by == "slice":
        watch.say(f"warning: {config.data} is split by slice; accuracies will be too high.")
    return layout


def _train(session: TrainingSession, keeper: _Keeper, resume: bool) -> dict[str, Any]:
    config, watch, out = session.config, session.watch, keeper.out
    rows: list[dict[str, Any]] = []
    if resume and (out / LAST).is_file():
        record = checkpoint.load(out / LAST, session.network, session.optimiser, session.trained)
        keeper.best, rows = record["best"], record["rows"]
        watch.say(f"resumed after epoch {len(rows)}")
        if distributed.rank() == 0:
            keeper.catch_up(rows)
    begun = len(rows)
    for epoch in range(begun, config.epochs):
        over = config.max_minutes is not None and sum(row["seconds"] for row in rows) > 60 * config.max_minutes
        if distributed.agreed(over):
            watch.say(f"stopped before epoch {epoch + 1}: {config.max_minutes:g} minutes are over")
            break
        if epoch == begun and distributed.rank() == 0:
            keeper.note(session, first=epoch == 0)
        try:
            row, checked = session.epoch(epoch)
            watch.measure(epoch + 1, checked, session.evaluate)
        except NotFinite as found:
            raise _diverged(config, out, epoch, found) from found
        rows.append(row)
        if distributed.rank() == 0:
            keeper.save(session, rows, checked)
        watch.end_epoch(epoch + 1, config.epochs, row)
    if not rows:
        raise DataError("No epoch was trained.", fix="more --epochs or --max-minutes")
    distributed.gathered(None)  # rank 0 has written the best checkpoint
    record = checkpoint.load(out / BEST, session.network)
    if (known := _tested(out, record["epoch"])) and begun == len(rows):
        return known
    figures = session.evaluate("test", f"test (best, epoch {record['epoch']})")
    figures |= {"split_by": session.split_by, "synthetic": session.synthetic}
    if distributed.rank() == 0:
        write_json(out / TEST, {"epoch": record["epoch"], "split": "test", **figures})
    return figures


def _tested(out: Path, epoch: int) -> dict[str, Any] | None:
    """The figures in test.json, where they are of that epoch; another best one would have removed them."""
    try:
        known: dict[str, Any] = json.loads((out / TEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return known if known.get("epoch") == epoch else None


def _diverged(config: TrainConfig, out: Path, done: int, found: NotFinite) -> UserError:
    kept = f"; {out} keeps epoch {done}" if done else ""
    fix = f"a lower --lr than {config.lr:g}" + (", or --amp off" if config.amp else "")
    return UserError(f"Epoch {done + 1}: {found}{kept}.", fix=fix + (", in another --out" if done else ""))


class _Keeper:
    """Writes what a run leaves behind, epoch by epoch. listed: the hashes of its data, for the records."""

    def __init__(self, config: TrainConfig, out: Path, listed: dict[str, str], synthetic: bool) -> None:
        self.config, self.out, self.listed, self.synthetic, self.best = config, out, listed, synthetic, -1.0
        self.writer: SummaryWriter | None = None

    def note(self, session: TrainingSession, *, first: bool) -> None:
        """Write down the slices that the coming epochs learn and are chosen on: before, so that no crash forgets."""
        images = {split: feed.data.images.numpy() for split, feed in session.feeds.items()}
        if leaked := seen.note(self.out, images, first=first):
            session.watch.say(
                f"warning: {leaked} slices of validate and test are trained on too, pixel for pixel; accuracies "
                "will be too high."
            )

    def close(self) -> None:
        """Nothing more is written."""
        if self.writer is not None:
            self.writer.close()

    def save(self, session: TrainingSession, rows: list[dict[str, Any]], checked: dict[str, Any]) -> None:
        """Checkpoints first, then everything that can be drawn again from them."""
        out = self.out
        found = rank(self.config, len(rows), quality(checked)) if checked else float(len(rows))
        if best := found > self.best:
            self.best = found
        record = {
            "config": self.config.to_json(),
            "listing": self.listed,
            "epoch": len(rows),
            "best": self.best,
            "metrics": rows[-1],
            "confusion": checked.get("confusion"),
        }
        if best:
            (out / TEST).unlink(missing_ok=True)  # of the best before it
            checkpoint.save(out / BEST, session.network, record)
        checkpoint.save(out / LAST, session.network, {**record, "rows": rows}, session.optimiser, session.trained)
        self._draw(rows, best)
        self._tensorboard(rows[-1:])

    def catch_up(self, rows: list[dict[str, Any]]) -> None:
        """Write again what a kill after the last checkpoint may have left behind it."""
        for name in (LAST, BEST):
            checkpoint.write_record(self.out / name)
        self._draw(rows, True)
        self._tensorboard(rows)

    def _draw(self, rows: list[dict[str, Any]], best: bool) -> None:
        from train import plots

        write_text(self.out / "metrics.csv", _csv(rows))
        mark = _mark(rows[-1]["split_by"], self.synthetic)
        plots.curves(rows, self.out / "curves.png", mark=mark)
        there = best and (self.out / BEST).is_file()
        if there and (matrix := checkpoint.read_record(self.out / BEST).get("confusion")):  # of what is exported
            unit = ("slices" if network(self.config.model).task == "classify" else "pixels") + mark
            plots.confusion(matrix, self.config.contract.classes, self.out / "confusion.png", unit=unit)

    def _tensorboard(self, rows: list[dict[str, Any]]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if self.writer is None:  # all epochs come again, and of two files of one second a reader takes any first
            for path in self.out.glob("events.out.tfevents.*"):
                path.unlink()
            self.writer = SummaryWriter(str(self.out))
        for row in rows:
            for name, value in row.items():
                if name not in ("epoch", "split_by") and value is not None:
                    self.writer.add_scalar(name.replace("_", "/", 1), value, row["epoch"])
        self.writer.flush()


def rank(config: TrainConfig, epoch: int, found: float) -> float:
    """What the best epoch is the highest of: its `quality`, 0 to 1, and with a falling rate 1 more in the later half.

    While the rate is high, a quality is noise: on LiTS the best of all epochs was the third of eight, and worse on
    patients never seen than the last (docs/log.md, 2026-11-28). A run that ends early has its best all the same.
    """
    return found + (config.schedule == "cosine" and 2 * epoch > config.epochs)


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


def _mark(split_by: str, synthetic: bool) -> str:
    """What stands beside figures that flatter, or are not of patients."""
    return (", SPLIT BY SLICE" if split_by == "slice" else "") + (f", {MARK}" if synthetic else "")


def _csv(rows: list[dict[str, Any]]) -> str:
    assert all(row.keys() <= set(COLUMNS) for row in rows), "a figure without a column"
    return csv_text([COLUMNS, *([row.get(name) for name in COLUMNS] for row in rows)])
