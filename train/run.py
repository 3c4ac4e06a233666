"""A training run: epochs, checkpoints and records in one folder, resumable at any moment.

    RUN/ config.json  metrics.csv  test.json  last.safetensors  last.json  best.safetensors  best.json
         seen.bin  confusion.png  curves.png  events.out.tfevents…

All randomness of an epoch derives from (seed, epoch), and a checkpoint is written when an epoch ends. So a run that was
killed and resumed repeats the epoch it was in and reaches the weights of an undisturbed run.
"""

from __future__ import annotations

import io
import json
import platform
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lits_deploy import __version__
from lits_deploy.errors import DataError, OutputError, UserError
from lits_deploy.files import write_json, write_text
from lits_deploy.revision import git_revision
from lits_deploy.spreadsheet import CsvWriter
from train import checkpoint, distributed
from train.config import TrainConfig
from train.data import seen
from train.data.layout import Layout, read_layout
from train.metrics import quality
from train.models.registry import network
from train.session import Observer, Session

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LAST, BEST = "last.safetensors", "best.safetensors"
COLUMNS = (
    "epoch", "train_loss", "train_accuracy", "validate_loss", "validate_accuracy", "validate_balanced_accuracy",
    "validate_class0", "validate_class1", "validate_class2", "validate_liver_accuracy", "validate_lesion_auroc",
    "validate_dice1", "validate_dice2", "seconds", "slices_per_second", "split_by",
)  # fmt: skip


def train(config: TrainConfig, out: Path, *, resume: bool = False, observer: Observer | None = None) -> dict[str, Any]:
    """Train, or go on, in the folder `out`; returns the figures on `test`, which are also in test.json.

    Raises DataError for unusable data, OutputError where `out` holds another run.
    """
    watch = observer or Observer()
    if config.coarse and not network(config.model).any_size:
        raise UserError(f"{config.model} takes slices of one size.", fix="--coarse 0")
    layout = read_layout(config.data)
    if config.contract.window_hu is None:  # before anything is made or trained: now it costs nothing to mend
        watch.say(
            f"warning: {config.data} declares no window, so the bundle will refuse DICOM and NIfTI. Fix: stop, and "
            f"give --window LOW HIGH in HU; or after the training: lits-deploy export {out} --window LOW HIGH"
        )
    if distributed.launched_rank() == 0:
        _open_folder(config, out, resume, layout)
    single = sum(len(sample.row) < 2 for sample in layout.splits["train"])
    if single and config.contract.channels > 1:
        watch.say(f"note: {single} training slices have no neighbours: their names tell no series and no number in it.")
    if leaks := layout.leaks():
        watch.say(f"warning: {len(leaks)} patients stand in more than one split; accuracies will be too high.")
    elif layout.split_by == "slice":
        watch.say(f"warning: {config.data} is split by slice; accuracies will be too high.")
    with distributed.joined(torch.device(config.device)):
        return _train(Session(config, layout, watch), _Keeper(config, out), resume)


def _train(session: Session, keeper: _Keeper, resume: bool) -> dict[str, Any]:
    config, watch, out = session.config, session.watch, keeper.out
    rows: list[dict[str, Any]] = []
    if resume and (out / LAST).is_file():
        record = checkpoint.load(out / LAST, session.network, session.optimiser, session.trained)
        keeper.best, rows = record["best"], record["rows"]
        watch.say(f"resumed after epoch {len(rows)}")
    for epoch in range(len(rows), config.epochs):
        over = config.max_minutes is not None and sum(row["seconds"] for row in rows) > 60 * config.max_minutes
        if distributed.agreed(over):
            watch.say(f"stopped before epoch {epoch + 1}: {config.max_minutes:g} minutes are over")
            break
        if distributed.rank() == 0:
            keeper.note(session, first=epoch == 0)
        row, checked = session.epoch(epoch)
        rows.append(row)
        watch.measure(epoch + 1, checked, session.evaluate)
        if distributed.rank() == 0:
            keeper.save(session, rows, checked)
        watch.end_epoch(epoch + 1, config.epochs, row)
    if not rows:
        raise DataError("No epoch was trained.", fix="more --epochs or --max-minutes")
    distributed.gathered(None)  # rank 0 has written the best checkpoint
    record = checkpoint.load(out / BEST, session.network)
    figures = session.evaluate("test", f"test (best, epoch {record['epoch']})")
    figures["split_by"] = session.split_by
    if distributed.rank() == 0:
        keeper.close({"epoch": record["epoch"], "split": "test", **figures})
    return figures


class _Keeper:
    """Writes what a run leaves behind, epoch by epoch."""

    def __init__(self, config: TrainConfig, out: Path) -> None:
        self.config, self.out, self.best = config, out, -1.0
        self.writer: SummaryWriter | None = None
        self._noted = False

    def note(self, session: Session, *, first: bool) -> None:
        """Write down the slices that the coming epochs learn and are chosen on: before, so that no crash forgets."""
        if not self._noted:
            images = {split: feed.data.images.numpy() for split, feed in session.feeds.items()}
            self._noted = True
            if leaked := seen.note(self.out, images, first=first):
                session.watch.say(
                    f"warning: {leaked} slices of validate and test are trained on too, pixel for pixel; accuracies "
                    "will be too high."
                )

    def save(self, session: Session, rows: list[dict[str, Any]], checked: dict[str, Any]) -> None:
        """Checkpoints first, then everything that can be drawn again from them."""
        from train import plots

        out = self.out
        if best := (found := rank(self.config, len(rows), quality(checked))) > self.best:
            self.best = found
        record = {"config": self.config.to_json(), "epoch": len(rows), "best": self.best, "metrics": rows[-1]}
        if best:
            checkpoint.save(out / BEST, session.network, record)
        checkpoint.save(out / LAST, session.network, {**record, "rows": rows}, session.optimiser, session.trained)
        write_text(out / "metrics.csv", _csv(rows))
        plots.curves(rows, out / "curves.png")
        if best or not (out / "confusion.png").is_file():  # of the checkpoint that is exported
            classes, unit = self.config.contract.classes, _unit(session.info.task, session.split_by)
            plots.confusion(checked["confusion"], classes, out / "confusion.png", unit=unit)
        self._tensorboard(rows[-1])

    def _tensorboard(self, row: dict[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if self.writer is None:  # an epoch that is repeated after a kill replaces its earlier points
            self.writer = SummaryWriter(str(self.out), purge_step=row["epoch"])
        for name, value in row.items():
            if name not in ("epoch", "split_by") and value is not None:
                self.writer.add_scalar(name.replace("_", "/", 1), value, row["epoch"])
        self.writer.flush()

    def close(self, figures: dict[str, Any]) -> None:
        """Write test.json; no epoch follows."""
        if self.writer is not None:
            self.writer.close()
        write_json(self.out / "test.json", figures)


def rank(config: TrainConfig, epoch: int, found: float) -> float:
    """What the best epoch is the highest of: its `quality`, 0 to 1, and with a falling rate 1 more in the later half.

    While the rate is high, a quality is noise: on LiTS the best of all epochs was the third of eight, and worse on
    patients never seen than the last (docs/log.md, 2026-11-28). A run that ends early has its best all the same.
    """
    return found + (config.schedule == "cosine" and 2 * epoch > config.epochs)


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
    record = {**config.to_json(), "dataset": layout.describe(), "made_with": provenance()}
    if earlier := _earlier(path, layout):
        record["earlier_datasets"] = earlier
    write_json(path, record)


def _earlier(path: Path, layout: Layout) -> list[dict[str, Any]]:
    """Descriptions of the data that a resumed run was trained on before, as far as they differ from today's."""
    if not path.is_file():
        return []
    record = json.loads(path.read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = [*record.get("earlier_datasets", ()), record["dataset"]]
    return [one for place, one in enumerate(found) if one != layout.describe() and one not in found[:place]]


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
    assert all(row.keys() <= set(COLUMNS) for row in rows), "a figure without a column"
    writer = CsvWriter(text)
    writer.writerow(COLUMNS)
    writer.writerows([row.get(name) for name in COLUMNS] for row in rows)
    return text.getvalue()
