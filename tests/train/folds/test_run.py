"""A folded training: its files, that it goes on after a kill at any fold, and what its answers are worth."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lits_deploy.contract import InputContract
from lits_deploy.errors import DataError, OutputError
from tiny_data import make_tiny_data
from train import checkpoint
from train import run as training
from train.config import TrainConfig
from train.data import dataset
from train.data.dataset import SliceDataset
from train.data.layout import read_layout
from train.data.seen import of_run as seen_of
from train.folder import LAST
from train.folds.folder import FINAL, fold_folder, read_record
from train.folds.run import train_folds
from train.folds.splits import fold_layout
from train.models.registry import build
from train.out_of_fold import NAME, of_run
from train.preprocess import Preprocess
from train.run import train
from train.runs_folder import FOLDED
from train.session import Observer


def config(data: Path, model: str = "unet", **changes: Any) -> TrainConfig:
    crop = None if model == "unet" else 56
    contract = InputContract(window_hu=None, crop=crop, size=64)
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 4, "width": 2 if model == "unet" else None, **changes}
    return TrainConfig(model=model, data=data, contract=contract, **settings)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_data(tmp_path_factory.mktemp("tiny") / "data", slices=3, patients=(3, 1, 1))


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("folds") / "run"
    train_folds(config(data), out, 2, final=True)
    return out


def arrays_of(path: Path) -> dict[str, Any]:
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def same(first: Path, second: Path) -> None:
    """Weights, optimisers and answers, bit for bit."""
    paths = sorted(path.relative_to(first) for path in first.rglob("*.safetensors"))
    assert paths == sorted(path.relative_to(second) for path in second.rglob("*.safetensors"))
    for path in paths:
        ours, theirs = load_file(first / path), load_file(second / path)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours), path
    ours, theirs = arrays_of(first / NAME), arrays_of(second / NAME)
    assert ours.keys() == theirs.keys()
    records = [json.loads(str(found.pop("record"))) for found in (ours, theirs)]
    for record in records:  # a checkpoint's record holds the seconds of its epochs
        assert len(record.pop("checkpoints")) == 2
    assert records[0] == records[1]
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_a_folded_run_holds_what_it_should(run: Path) -> None:
    assert {path.name for path in run.iterdir()} == {
        *(FOLDED, NAME, FINAL, "fold-1", "fold-2"),
        ".lits-deploy.lock",
    }
    record = json.loads((run / FOLDED).read_text())
    assert (record["folds"], record["seed"]) == (2, 0)
    assert sorted(name for fold in record["patients"] for name in fold) == ["0", "1", "2", "3"]
    assert [counts["patients"] for counts in record["counts"]] == [2, 2]
    assert [counts["slices"] for counts in record["counts"]] == [6, 6]
    for number, own in enumerate(record["patients"], start=1):
        settings = json.loads((fold_folder(run, number) / "config.json").read_text())
        patients = settings["dataset"]["patients"]
        assert [str(int(name)) for name in patients["validate"]] == own, "its own patients are held out"
        assert not set(patients["train"]) & set(patients["validate"])
        assert (fold_folder(run, number) / "test.json").is_file()
    final = json.loads((run / FINAL / "config.json").read_text())
    assert final["dataset"]["patients"]["train"] == ["000", "001", "002", "003"]
    assert final["dataset"]["patients"]["validate"] == []
    assert checkpoint.read_record(run / FINAL / "best.safetensors")["epoch"] == 2, "none is better than the last"


def test_nobody_is_in_a_fold_that_was_trained_on_him(run: Path, data: Path) -> None:
    answers, record = of_run(run), read_record(run)
    for number in (1, 2):
        rows = answers.rows(answers.fold == number)
        assert {str(int(name)) for name in rows.patient.tolist()} == set(record.folds[number - 1])
        seen = seen_of(fold_folder(run, number))
        assert seen is not None
        assert not seen.keys("train") & seen.keys("validate")
    assert sorted(answers.path.tolist()) == sorted(
        path.relative_to(data).as_posix() for split in ("train", "validate") for path in data.glob(f"{split}/images/*")
    )


@pytest.mark.parametrize("model", ["unet", "resnet18"])
def test_answers_are_those_of_the_last_checkpoint(
    data: Path, tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of the best, of the moving average where there is one, in FP32 though it was trained in bf16."""
    monkeypatch.setattr(training, "rank", lambda config, epoch, found: 1.0 / epoch)
    changes: dict[str, Any] = {"average": 0.5, "amp": True, "lr": 1e-2, "masks": 1.0 if model == "resnet18" else 0.0}
    train_folds(config(data, model, **changes), tmp_path / "run", 2)
    answers, record, layout = of_run(tmp_path / "run"), read_record(tmp_path / "run"), read_layout(data)
    for number in (1, 2):
        network = build(model, width=record.config.width).eval()
        checkpoint.load(fold_folder(tmp_path / "run", number) / LAST, network)
        held = SliceDataset(
            fold_layout(layout, record.folds, number).splits["validate"], record.config.contract, masks=True
        )
        with torch.inference_mode():
            logits = network(Preprocess(record.config.contract)(held.images))
        rows = answers.rows(answers.fold == number)
        assert rows.target.tolist() == held.targets.tolist()
        if model == "resnet18":
            assert rows.logits is not None
            assert np.allclose(rows.logits, logits.numpy(), atol=1e-5)
            continue
        assert rows.pixels is not None
        assert held.masks is not None
        for row, mask, label in zip(rows.pixels, held.masks, logits.argmax(dim=1), strict=True):
            counts = torch.bincount((mask.long() * 3 + label).flatten(), minlength=9).reshape(3, 3)
            assert np.abs(row - counts.numpy()).sum() <= 4, "a pixel on the edge may fall either way"
            assert row.sum() == 64 * 64


class Killed(Observer):
    """Raises in the middle of a pass, as a power cut would end it."""

    def __init__(self, part: str, what: str) -> None:
        self.wanted, self.within = (part, what), False

    def start(self, what: str, slices: int) -> None:
        self.within = self.wanted[0] == self.part and what.startswith(self.wanted[1])

    def batch(self, meter: Any) -> None:
        if self.within:
            raise KeyboardInterrupt


KILLS = (
    ("fold 1 of 2", "epoch 1/"),
    ("fold 1 of 2", "epoch 2/"),
    ("fold 1 of 2", "test"),
    ("fold 2 of 2", "epoch 2/"),
    ("", "answers of fold 2"),
    ("final", "epoch 2/"),
)


def test_killed_in_every_fold_it_goes_on_to_the_same_bits(data: Path, run: Path, tmp_path: Path) -> None:
    for n, kill in enumerate(KILLS):
        with pytest.raises(KeyboardInterrupt):
            train_folds(config(data), tmp_path / "run", 2, final=True, resume=n > 0, observer=Killed(*kill))
    train_folds(config(data), tmp_path / "run", 2, final=True, resume=True)
    same(tmp_path / "run", run)


def test_a_final_network_can_be_asked_for_later(data: Path, run: Path, tmp_path: Path) -> None:
    train_folds(config(data), tmp_path / "run", 2)
    before = (tmp_path / "run" / NAME).stat()
    train_folds(config(data), tmp_path / "run", 2, final=True, resume=True)
    same(tmp_path / "run", run)
    assert (tmp_path / "run" / NAME).stat().st_mtime_ns == before.st_mtime_ns, "answers are not made twice"
    (tmp_path / "run" / NAME).write_bytes(b"PK")
    train_folds(config(data), tmp_path / "run", 2, resume=True)
    same(tmp_path / "run", run)


def test_answers_follow_when_the_folds_are_trained_on(data: Path, tmp_path: Path) -> None:
    train_folds(config(data, epochs=1), tmp_path / "run", 2)
    before = of_run(tmp_path / "run")
    train_folds(config(data, lr=1e-4, epochs=2), tmp_path / "run", 2, resume=True)
    after = of_run(tmp_path / "run")
    assert (before.record["epochs"], after.record["epochs"]) == ([1, 1], [2, 2])
    assert read_record(tmp_path / "run").config.epochs == 2


def test_slices_are_decoded_once_for_all_folds(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = dataset.read_slice

    def count(sample: Any, contract: Any) -> Any:
        read.append(sample.image.as_posix())
        return real(sample, contract)

    monkeypatch.setattr(dataset, "read_slice", count)
    train_folds(config(data, epochs=1), tmp_path / "run", 2, final=True)
    assert sorted(read) == sorted(path.as_posix() for path in data.glob("*/images/*"))


def test_a_fold_is_the_run_that_its_data_alone_would_make(data: Path, run: Path, tmp_path: Path) -> None:
    """Slices that were decoded for all folds are those that a run decodes for itself."""
    record = read_record(run)
    own = tmp_path / "own"
    for split in ("train", "validate", "test"):
        for kind in ("images", "masks"):
            (own / split / kind).mkdir(parents=True)
    for path in data.glob("*/*/*.png"):
        split, number = path.parent.parent.name, str(int(path.name[7:10]))
        if split != "test":
            split = "validate" if number in record.folds[0] else "train"
        (own / split / path.parent.name / path.name).write_bytes(path.read_bytes())
    train(config(own), tmp_path / "plain")
    ours, theirs = load_file(tmp_path / "plain" / LAST), load_file(fold_folder(run, 1) / LAST)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    ("patients", "folds", "says", "fix"),
    [((1, 1, 1), 3, "has 2 patients in train and validate, too few for 3 folds", "--folds 2")],
)
def test_fewer_patients_than_folds(
    tmp_path: Path, patients: tuple[int, int, int], folds: int, says: str, fix: str
) -> None:
    data = make_tiny_data(tmp_path / "data", slices=2, patients=patients)
    with pytest.raises(DataError, match=says) as caught:
        train_folds(config(data), tmp_path / "run", folds)
    assert caught.value.fix == fix
    assert not (tmp_path / "run").exists()


def test_one_patient_cannot_be_held_out(tmp_path: Path) -> None:
    data = make_tiny_data(tmp_path / "data", slices=2, patients=(1, 1, 1))
    for path in sorted(data.glob("validate/*/volume-001*")):
        path.rename(path.with_name(path.name.replace("volume-001_", "volume-000_1")))
    with pytest.raises(DataError, match="one patient in train and validate") as caught:
        train_folds(config(data), tmp_path / "run", 2)
    assert caught.value.fix == "leave --folds out"


def test_what_a_folded_run_refuses(data: Path, run: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="already holds a run"):
        train_folds(config(data), run, 2)
    with pytest.raises(OutputError, match="2 folds, not 3") as caught:
        train_folds(config(data), run, 3, resume=True)
    assert caught.value.fix == "--folds 2"
    with pytest.raises(OutputError, match="other settings: lr"):
        train_folds(config(data, lr=0.5), run, 2, resume=True)
    with pytest.raises(OutputError, match="holds a run without folds"):
        train_folds(config(data), run / "fold-1", 2)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    with pytest.raises(OutputError, match="not empty and not a folded run"):
        train_folds(config(data), tmp_path / "full", 2)
    other = make_tiny_data(tmp_path / "other", slices=3, patients=(3, 1, 1), seed=9)
    with pytest.raises(OutputError, match="other data: train and validate and test of"):
        train_folds(dataclasses.replace(config(data), data=other), run, 2, resume=True)
    with pytest.raises(OutputError, match="not empty and not a run"):
        train(config(data), run)


def test_a_start_that_failed_leaves_its_folder_for_the_corrected_command(data: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_folds(config(data), tmp_path / "run", 2, observer=Killed("fold 1 of 2", "epoch 1/"))
    assert (tmp_path / "run" / FOLDED).is_file()
    train_folds(config(data, epochs=1, lr=1e-3), tmp_path / "run", 4)
    assert of_run(tmp_path / "run").folds == 4


def test_phantoms_stay_marked(tmp_path: Path) -> None:
    data = make_tiny_data(tmp_path / "data", slices=3, patients=(1, 1, 1))
    (data / "dataset.json").write_text(json.dumps({"synthetic": True}))
    train_folds(config(data, epochs=1), tmp_path / "run", 2)
    assert of_run(tmp_path / "run").record["synthetic"] is True
