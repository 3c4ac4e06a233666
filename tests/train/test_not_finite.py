"""Figures that are no numbers: a run that diverges keeps its last finite epoch, and what does not exist is None."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lits_deploy.contract import InputContract
from lits_deploy.errors import UserError
from lits_deploy.files import write_json
from tiny_data import make_tiny_data
from train import checkpoint, loop, plots
from train.config import TrainConfig
from train.data.feed import Batch
from train.losses import Objective
from train.meter import EpochMeter
from train.preprocess import Preprocess
from train.run import train
from train.session import Observer, TrainingSession

CONTRACT = InputContract(window_hu=None, crop=None, size=64)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_data(tmp_path_factory.mktemp("tiny") / "data", slices=3)


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves take longer than these epochs."""
    monkeypatch.setattr(plots, "save", lambda figure, path: None)


class Poisons(Observer):
    """Fills a weight with `value` in the second epoch, which has three batches: before the first, or after the last."""

    def __init__(self, value: float, *, late: bool) -> None:
        self.value, self.late, self.what, self.batches = value, late, "", 0
        self.session: TrainingSession | None = None

    def measure(self, epoch: int, validate: dict[str, Any], evaluate: Callable[[str], dict[str, Any]]) -> None:
        self.session = evaluate.__self__  # type: ignore[attr-defined]

    def start(self, what: str, slices: int) -> None:
        self.what = what
        if what.startswith("epoch 2/") and not self.late:
            self._poison()

    def batch(self, meter: EpochMeter) -> None:
        if self.what.startswith("epoch 2/"):
            self.batches += 1
            if self.late and self.batches == 3:
                self._poison()

    def _poison(self) -> None:
        assert self.session is not None
        with torch.no_grad():
            next(self.session.model.parameters()).fill_(self.value)


@pytest.mark.parametrize(
    ("value", "late", "average", "reason", "batches"),
    [
        (math.nan, False, 0.0, "the loss is not finite at batch 1", 1),
        (math.inf, False, 0.9, "the loss is not finite at batch 1", 1),
        (math.nan, True, 0.0, "a weight is not finite after the last batch", 3),
        (math.nan, True, 0.9, "a weight is not finite after the last batch", 3),  # the average is finite still
        (3e38, True, 0.0, "the loss is not finite at batch 1", 3),  # finite weights, but no figures on validate
    ],
    ids=["nan", "average", "last-batch", "last-batch-average", "validate"],
)
def test_the_last_finite_epoch_is_kept(
    data: Path, tmp_path: Path, value: float, late: bool, average: float, reason: str, batches: int
) -> None:
    config = TrainConfig(
        model="unet", data=data, epochs=3, batch_size=2, width=2, average=average, amp=False, contract=CONTRACT
    )
    watch, run = Poisons(value, late=late), tmp_path / "run"
    with pytest.raises(UserError, match=f"^Epoch 2: {reason}; .*run keeps epoch 1. Fix: a lower --lr"):
        train(config, run, observer=watch)
    assert watch.batches == batches
    for name in ("best", "last"):
        path = run / f"{name}.safetensors"
        assert all(tensor.isfinite().all() for tensor in load_file(path).values())
        assert checkpoint.read_record(path)["epoch"] == 1
        assert json.loads((run / f"{name}.json").read_text()) == checkpoint.read_record(path)
    if not late:
        train(config, run, resume=True)
        assert checkpoint.read_record(run / "last.safetensors")["epoch"] == 3


def test_a_run_that_diverges_at_once_holds_no_checkpoint(data: Path, tmp_path: Path) -> None:
    config = TrainConfig(
        model="resnet18",
        data=data,
        epochs=1,
        batch_size=2,
        lr=1e9,
        contract=InputContract(window_hu=None, size=64, crop=56),
    )
    with pytest.raises(UserError, match=r"^Epoch 1: the loss is not finite at batch \d\. Fix: a lower --lr than 1e"):
        train(config, tmp_path / "run")
    assert not list((tmp_path / "run").glob("*.safetensors"))


class Counting(EpochMeter):
    """Lies on the CPU whatever the device, and counts how often the loss is read."""

    reads = 0

    def __init__(self, task: Any, classes: int, device: torch.device) -> None:
        super().__init__(task, classes, CPU)

    def mean_loss(self) -> float | None:
        Counting.reads += 1
        return super().mean_loss()


def batches(targets: list[list[int]], value: float = 0.0) -> list[Batch]:
    """Slices of 4 × 4 pixels."""
    return [
        Batch(slices=torch.full((len(t), 1, 4, 4), value), targets=torch.tensor(t), masks=None, share=float(len(t)))
        for t in targets
    ]


def classifier() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


def test_a_gpu_waits_for_the_loss_only_where_it_is_read_anyway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "EpochMeter", Counting)
    seen: list[int] = []

    def run(model: nn.Module, progress: Callable[[EpochMeter], None]) -> None:
        Counting.reads = 0
        loop.run_epoch(
            model,
            batches([[0], [1], [2], [0]]),
            Objective("classify"),
            Preprocess(CONTRACT),
            device=torch.device("cuda"),
            progress=progress,
        )

    run(classifier(), lambda meter: seen.append(meter.slices))
    assert (seen, Counting.reads) == ([1, 2, 3, 4], 1)
    broken = classifier()
    with torch.no_grad():
        next(broken.parameters()).fill_(math.nan)
    with pytest.raises(loop.NotFinite, match=r"not finite$"):
        run(broken, lambda _: None)
    with pytest.raises(loop.NotFinite, match=r"at batch 2$"):
        run(broken, lambda meter: meter.slices == 2 and meter.mean_loss())  # type: ignore[arg-type, return-value]


def evaluated(weight: Tensor, targets: list[list[int]]) -> dict[str, Any]:
    return loop.run_epoch(
        classifier(),
        batches(targets),
        Objective("classify", weight=weight),
        Preprocess(CONTRACT),
        device=CPU,
    )


def test_slices_of_a_class_that_weighs_nothing_have_no_loss(tmp_path: Path) -> None:
    weight = torch.tensor([1.0, 2.0, 0.0])
    assert evaluated(weight, [[0, 1], [2, 2]])["loss"] == evaluated(weight, [[0, 1]])["loss"]
    none = evaluated(weight, [[2, 2], [2]])
    assert none["loss"] is None
    assert (none["lesion_auroc"], none["class_accuracy"][:2]) == (None, [None, None])
    write_json(tmp_path / "figures.json", none)  # refuses NaN


def test_a_class_that_train_lacks_ends_no_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from train.cli.bars import Bars

    data = tmp_path / "data"
    for split in ("train", "validate", "test"):
        target = 1 if split == "train" else 2
        make_tiny_data(tmp_path / split, slices=3)
        for image in (tmp_path / split / split / "images").iterdir():
            (data / split / "images").mkdir(parents=True, exist_ok=True)
            image.rename(data / split / "images" / image.name)
        names = sorted(path.name for path in (data / split / "images").iterdir())
        rows = [f"{name},{target if n else 0 if split == 'train' else 2}" for n, name in enumerate(names)]
        (data / split / "targets.csv").write_text("\n".join(["file,target", *rows, ""]))
    config = TrainConfig(
        model="resnet18",
        data=data,
        epochs=1,
        batch_size=3,
        class_weights="balanced",
        contract=InputContract(window_hu=None, crop=56, size=64),
    )
    with Bars() as bars:
        figures = train(config, tmp_path / "run", observer=bars)
    assert figures["loss"] is None
    assert "validate loss not defined here" in capsys.readouterr().out
    for path in (tmp_path / "run").glob("*.json"):
        json.loads(path.read_text(), parse_constant=_refuse)


def _refuse(name: str) -> NoReturn:
    raise AssertionError(f"{name} in JSON")


def linear(value: float) -> nn.Module:
    model = nn.Linear(2, 2)
    nn.init.constant_(model.weight, value)
    return model


@pytest.mark.parametrize("fails", ["record", "weights", "disk"])
def test_checkpoint_and_record_change_together_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    path = tmp_path / "best.safetensors"
    checkpoint.save(path, linear(1.0), {"epoch": 1})
    before = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    if fails == "weights":
        monkeypatch.setattr(checkpoint, "save_file", _no_room)
    elif fails == "disk":
        monkeypatch.setattr(checkpoint.os, "fsync", _no_room)
    with pytest.raises((OSError, ValueError)):
        checkpoint.save(path, linear(2.0), {"epoch": math.nan if fails == "record" else 2})
    assert before == {one.name: one.read_bytes() for one in tmp_path.iterdir()}


def _no_room(*_: Any, **__: Any) -> NoReturn:
    raise OSError(28, "No space left on device")


def test_a_kill_between_the_two_leaves_no_record_of_another_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rename = tmp_path / "best.safetensors", Path.replace
    checkpoint.save(path, linear(1.0), {"epoch": 1})

    def killed(self: Path, target: Path) -> Path:
        if target.suffix == ".json":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(path, linear(2.0), {"epoch": 2})
    monkeypatch.undo()
    assert checkpoint.read_record(path) == {"epoch": 2}
    assert not path.with_suffix(".json").exists()
    checkpoint.write_record(path)
    assert json.loads(path.with_suffix(".json").read_text()) == {"epoch": 2}
