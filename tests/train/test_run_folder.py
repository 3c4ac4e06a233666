"""The folder of a run: one training at a time, on one data set, and what a start that failed leaves behind."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import warnings
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lits_deploy.contract import InputContract
from lits_deploy.errors import DataError, OutputError
from tiny_data import make_tiny_data
from train import checkpoint
from train import run as training
from train.config import TrainConfig
from train.data.layout import read_layout
from train.data.seen import SeenSlices, of_run
from train.folder import BEST, LAST, LOCK, listing, opened
from train.run import train


def config(data: Path, **changes: Any) -> TrainConfig:
    contract = InputContract(window_hu=None, crop=None, size=64)
    return TrainConfig(**{"model": "unet", "data": data, "epochs": 1, "width": 2, "contract": contract, **changes})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_data(tmp_path_factory.mktemp("tiny") / "data", slices=3, patients=(1, 1, 1))


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "unet"
    train(config(data), out)
    return out


@pytest.fixture
def copies(data: Path, run: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Of the data set and of the run, to be changed."""
    return shutil.copytree(data, tmp_path / "data"), shutil.copytree(run, tmp_path / "run")


def test_a_moved_data_set_is_the_same_one(copies: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    data, run = copies
    (run / BEST).unlink()  # by hand: the next best one takes its place
    monkeypatch.setattr(training, "rank", lambda config, epoch, found: float(epoch))
    train(config(data, epochs=2), run, resume=True)
    assert checkpoint.read_record(run / LAST)["epoch"] == 2


@pytest.mark.parametrize("split", ["train", "validate"])
def test_resume_refuses_another_data_set(copies: tuple[Path, Path], split: str) -> None:
    data, run = copies
    image = sorted(data.glob(f"{split}/images/*"))[1]
    image.unlink()
    before = {path: path.read_bytes() for path in run.iterdir()}
    with pytest.raises(OutputError, match=f"trained on other data: {split} of"):
        train(config(data, epochs=2), run, resume=True)
    assert before == {path: path.read_bytes() for path in run.iterdir()}


def test_a_listing_knows_names_sizes_and_classes(copies: tuple[Path, Path]) -> None:
    data, _ = copies
    first = listing(read_layout(data))
    mask = next(iter(sorted(data.glob("train/masks/*"))))
    mask.write_bytes(mask.read_bytes() + b"\0")
    second = listing(read_layout(data))
    assert [first[split] == second[split] for split in ("train", "validate", "test")] == [False, True, True]
    names = sorted(path.name for path in data.glob("train/images/*"))
    table = data / "train" / "targets.csv"
    given = []
    for target in (0, 1):
        table.write_text("file,target\n" + "".join(f"{name},{target}\n" for name in names))
        given.append(listing(read_layout(data))["train"])
    table.write_text("file,target,scan\n" + "".join(f"{name},1,s{n}\n" for n, name in enumerate(names)))
    given.append(listing(read_layout(data))["train"])
    assert len({*given, first["train"], second["train"]}) == 5


def test_two_trainings_on_one_run_are_refused(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with opened(config(data), out, read_layout(data), {}, resume=False):
        for resume in (False, True):
            with pytest.raises(OutputError, match="Another training writes to"):
                train(config(data), out, resume=resume)
    with opened(config(data), out, read_layout(data), {}, resume=False):
        pass


def _wait(begun: Event, ended: Event) -> None:
    begun.set()
    ended.wait(60)


def test_a_forked_worker_does_not_keep_the_lock(data: Path, tmp_path: Path) -> None:
    out, layout = tmp_path / "run", read_layout(data)
    fork = multiprocessing.get_context("fork")
    begun, ended = fork.Event(), fork.Event()
    worker = fork.Process(target=_wait, args=(begun, ended))
    with opened(config(data), out, layout, {}, resume=False), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        worker.start()
    try:
        assert begun.wait(60)
        with opened(config(data), out, layout, {}, resume=False):
            pass
    finally:
        ended.set()
        worker.join()


def test_a_failed_start_leaves_a_run_for_the_corrected_command(data: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(data, tmp_path / "broken")
    image = sorted(broken.glob("train/images/*"))[0]
    whole = image.read_bytes()
    image.write_bytes(b"no picture")
    out = tmp_path / "run"
    with pytest.raises(DataError, match="mend or remove the file"):
        train(config(broken, lr=0.5), out)
    image.write_bytes(whole)
    (out / ".last.safetensors.77.tmp").write_bytes(b"half")  # of a process that was killed
    (out / "seen.bin").write_bytes(
        SeenSlices(splits={"train": np.array([1], np.uint64)}).to_bytes()
    )  # in its first epoch
    train(config(broken, lr=1e-3), out)
    assert checkpoint.read_record(out / LAST)["config"]["lr"] == 1e-3
    assert json.loads((out / "config.json").read_text())["lr"] == 1e-3
    assert not list(out.glob(".*.tmp"))
    seen = of_run(out)
    assert seen is not None
    assert 1 not in seen.keys("train"), "nothing was kept of that"


def test_a_run_that_lost_its_last_checkpoint_is_not_begun_again(copies: tuple[Path, Path]) -> None:
    data, run = copies
    train(config(data, epochs=2), run, resume=True)
    shutil.copyfile(run / LAST, run / BEST)  # of epoch 2
    (run / LAST).unlink()
    with pytest.raises(OutputError, match="already holds a run"):
        train(config(data, epochs=2), run)
    with pytest.raises(OutputError, match=f"has lost {LAST}"):
        train(config(data, epochs=2), run, resume=True)


@pytest.mark.parametrize("text", ['{"architectures": ["BertModel"]}', "[1]", "not JSON"])
def test_a_foreign_folder_is_not_touched(data: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(text)
    for resume in (False, True):
        with pytest.raises(OutputError, match="not empty and not a run"):
            train(config(data), tmp_path / "model", resume=resume)
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["config.json"]
    assert (tmp_path / "model" / "config.json").read_text() == text


def test_a_file_or_a_linked_lock_is_no_run(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(OutputError, match="is not a folder"):
        train(config(data), tmp_path / "file")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to(tmp_path / "made")
    with pytest.raises(OutputError, match="is a link"):
        train(config(data), tmp_path / "run")
    assert not (tmp_path / "made").exists()
