"""Runs that are trained once: reused, taken further, resumed; with real trainings of a small U-Net."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lits_deploy.contract import InputContract
from lits_deploy.errors import DataError
from tiny_data import make_tiny_data
from train import checkpoint
from train.config import TrainConfig
from train.folder import LAST
from train.recipes.lab import trainings
from train.recipes.lab.runs import FinishedRun
from train.recipes.lab.trainings import WantedRun, epochs_within, trained
from train.session import Observer


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_data(tmp_path_factory.mktemp("tiny") / "data", slices=3, patients=(1, 1, 1))


@pytest.fixture(autouse=True)
def _no_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's own plots and TensorBoard events take longer than these trainings."""
    monkeypatch.setattr("train.plots.curves", lambda *_, **__: None)
    monkeypatch.setattr("train.plots.confusion", lambda *_, **__: None)
    monkeypatch.setattr("train.run._Keeper._tensorboard", lambda *_: None)


@pytest.fixture(scope="module")
def straight(data: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Two epochs without a break."""
    return trained(wanted(data, epochs=2, landmark=2), tmp_path_factory.mktemp("straight"), Observer())[0]


def wanted(data: Path, *, landmark: int = 1, slim: bool = False, **changes: Any) -> WantedRun:
    settings: dict[str, Any] = {"epochs": 1, "batch_size": 4, "width": 2, **changes}
    config = TrainConfig(model="unet", data=data, contract=InputContract(window_hu=None, crop=None), **settings)
    return WantedRun(config=config, view="abc", split_by="patient", landmark=landmark, slim=slim)


class Starts(Observer):
    """Lists the passes that began, and breaks off at one of them."""

    def __init__(self, stop: str = "") -> None:
        self.seen: list[str] = []
        self.stop = stop

    def start(self, what: str, slices: int) -> None:
        self.seen.append(what.partition(": ")[2])
        if self.stop and self.seen[-1].startswith(self.stop):
            raise KeyboardInterrupt


def weights(path: Path) -> dict[str, torch.Tensor]:
    return {name: value for name, value in load_file(path).items() if name.startswith("model.")}


def same(one: Path, two: Path) -> bool:
    left, right = weights(one), weights(two)
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_a_run_is_named_by_what_changes_its_weights(data: Path) -> None:
    one = wanted(data)
    assert one.name.startswith("unet-lr1e-4-seed0-")
    assert wanted(data, epochs=9, workers=3, max_minutes=1.0).name == one.name
    assert wanted(data / "elsewhere").name == one.name
    others = [wanted(data, lr=1e-3), wanted(data, seed=1), wanted(data, weight_decay=0.0), wanted(data, init="kaiming")]
    others += [wanted(data, class_weights="balanced"), wanted(data, device="cuda"), wanted(data, amp=True)]
    others.append(dataclasses.replace(one, view="another"))
    assert len({one.name, *(other.name for other in others)}) == 9
    assert "kaiming" in wanted(data, init="kaiming").name
    assert "nodecay" in wanted(data, weight_decay=0.0).name


def test_a_finished_run_is_not_repeated(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, busy = trained(wanted(data, epochs=2, landmark=2), tmp_path, Observer())
    assert busy
    assert run.epochs == 2
    assert [line["epoch"] for line in run.lines] == [1, 2]
    assert run.last("validate")["dice"] == run.lines[1]["validate"]["dice"]
    assert run.curve("test", "dice", 1) == [line["test"]["dice"][1] for line in run.lines]
    monkeypatch.setattr(trainings, "train", lambda *_, **__: pytest.fail("trained again"))
    again, busy = trained(wanted(data, epochs=2, landmark=2), tmp_path, Observer())
    assert not busy
    assert again.lines == run.lines
    part, busy = trained(wanted(data, epochs=1, landmark=1), tmp_path, Observer())
    assert not busy
    assert part.epochs == 1
    assert part.rows == run.rows[:1]


def test_a_longer_run_goes_on_and_keeps_the_landmark(data: Path, tmp_path: Path) -> None:
    short, _ = trained(wanted(data), tmp_path / "steps", Observer())
    assert short.weights() == short.folder / LAST
    watch = Starts()
    longer, busy = trained(wanted(data, epochs=3), tmp_path / "steps", watch)
    assert busy
    assert "epoch 1/3" not in watch.seen
    assert "epoch 2/3" in watch.seen
    straight, _ = trained(wanted(data, epochs=3), tmp_path / "straight", Observer())
    assert same(longer.folder / LAST, straight.folder / LAST)
    assert longer.lines == straight.lines
    for runs in ("steps", "straight"):  # whoever came first, the weights after epoch 1 are there
        first, busy = trained(wanted(data), tmp_path / runs, Observer())
        assert not busy
        assert first.weights().name == "epoch-001.safetensors"
        assert not checkpoint.has_optimiser(first.weights())
        first.model(torch.device("cpu"))
    assert same(tmp_path / "steps" / first.name / "epoch-001.safetensors", first.weights())


@pytest.mark.parametrize("stop", ["epoch 1", "epoch 2", "validate", "test (best"])
def test_broken_off_anywhere_it_resumes_to_the_same(
    data: Path, straight: FinishedRun, tmp_path: Path, stop: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(wanted(data, epochs=2, landmark=2), tmp_path / "broken", Starts(stop))
    broken, busy = trained(wanted(data, epochs=2, landmark=2), tmp_path / "broken", Observer())
    assert busy
    assert broken.lines == straight.lines
    assert same(broken.folder / LAST, straight.folder / LAST)
    assert (broken.folder / "test.json").read_text() == (straight.folder / "test.json").read_text()


def test_a_run_killed_before_it_began_is_begun(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / wanted(data).name
    folder.mkdir()
    (folder / ".config.json.77.tmp").write_text("{")
    run, _ = trained(wanted(data), tmp_path, Observer())
    assert run.epochs == 1


def test_a_slim_run_cannot_go_on_and_starts_anew(data: Path, straight: FinishedRun, tmp_path: Path) -> None:
    run, _ = trained(wanted(data, slim=True), tmp_path, Observer())
    last = run.folder / LAST
    assert not checkpoint.has_optimiser(last)
    assert last.samefile(run.folder / "best.safetensors")
    run.model(torch.device("cpu"))
    optimiser = torch.optim.Adam(run.model(torch.device("cpu")).parameters())
    with pytest.raises(DataError, match="without their optimiser"):
        checkpoint.load(last, run.model(torch.device("cpu")), optimiser)
    watch = Starts()
    longer, _ = trained(wanted(data, epochs=2, slim=True), tmp_path, watch)
    assert "epoch 1/1" in watch.seen
    assert longer.lines == straight.lines


def test_minutes_end_a_run_and_are_read_off_it(data: Path, tmp_path: Path) -> None:
    run, busy = trained(wanted(data, max_minutes=1e-9, landmark=3), tmp_path, Observer())
    assert busy
    assert run.epochs == 1
    again, busy = trained(wanted(data, max_minutes=1e-9, landmark=3), tmp_path, Observer())
    assert not busy
    assert again.epochs == 1


def test_an_epoch_begun_in_time_is_finished() -> None:
    assert epochs_within([30.0, 30.0, 30.0, 30.0], 1.0) == 3  # the third begins after exactly a minute
    assert epochs_within([30.1, 30.0, 30.0, 30.0], 1.0) == 2
    assert epochs_within([90.0, 1.0], 1.0) == 1
    assert epochs_within([], 1.0) == 0
