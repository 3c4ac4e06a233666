"""Whether a patient was trained on is told by pixels: not by the names of files, patients and folders."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lits_deploy.bundle import Bundle
from lits_deploy.contract import InputContract
from lits_deploy.errors import BundleError, DataError
from lits_deploy.files import sha256_bytes
from tiny_bundle import make_tiny_bundle, with_manifest
from tiny_data import make_tiny_data
from train.config import TrainConfig
from train.data import seen
from train.data.dataset import SliceDataset
from train.data.layout import read_layout
from train.data.seen import Past, SeenSlices, key, own_key, sample_keys, unseen
from train.run import train
from train.session import Observer

CONTRACT = InputContract(window_hu=None, crop=None, size=64)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_data(tmp_path_factory.mktemp("seen") / "data", slices=3)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    out = tmp_path_factory.mktemp("seen") / "run"
    train(config(data, 1), out)
    return out


def config(data: Path, epochs: int) -> TrainConfig:
    return TrainConfig(model="unet", width=2, data=data, epochs=epochs, batch_size=3, contract=CONTRACT)


def renamed(data: Path, target: Path) -> Path:
    """The same pixels: other folder, patients and numbers, encoded anew as colour."""
    shutil.copytree(data, target)
    for path in sorted(target.glob("*/images/*")):
        mask = target / path.parts[-3] / "masks" / path.name
        name = re.sub(r"volume-\d\d", "volume-90", path.name)
        with Image.open(path) as picture:
            picture.convert("RGB").save(path.with_name(name), compress_level=1)
        path.unlink()
        mask.rename(mask.with_name(name))
    return target


def test_a_key_is_of_the_pixels_alone(data: Path, tmp_path: Path) -> None:
    first, second = (
        sample_keys(read_layout(folder).splits["train"], CONTRACT) for folder in (data, renamed(data, tmp_path / "new"))
    )
    assert first == second
    assert len(set(first)) == 6
    assert None not in first
    three = SliceDataset(read_layout(data).splits["train"], InputContract(window_hu=None, channels=3), masks=False)
    alone = SliceDataset(read_layout(data).splits["train"], InputContract(window_hu=None), masks=False)
    indices = np.arange(6)
    assert [own_key(x) for x in three[indices][0].numpy()] == [own_key(x) for x in alone[indices][0].numpy()]


def test_air_tells_no_patient() -> None:
    air = np.zeros((64, 64), np.uint8)
    air[4:10, 4:10] = 255  # a letter
    assert key(air) is None
    assert key(np.tile(np.arange(64, dtype=np.uint8), (64, 1))) is not None


def test_a_run_notes_its_slices_by_split(run: Path, data: Path) -> None:
    found = seen.of_run(run)
    assert found is not None
    assert found.whole
    for split, samples in read_layout(data).splits.items():
        assert found.keys(split) == set(sample_keys(samples, CONTRACT))
    assert (run / "seen.bin").stat().st_size < 100 + 8 * 12


def test_a_resumed_run_has_seen_all_its_data(run: Path, data: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    before = seen.of_run(tmp_path / "run")
    assert before is not None
    more = SeenSlices(splits={"train": np.array([1, 2], np.uint64)})
    (tmp_path / "run" / "seen.bin").write_bytes(more.joined(before).to_bytes())
    train(config(data, 2), tmp_path / "run", resume=True)
    after = seen.of_run(tmp_path / "run")
    assert after is not None
    assert after.whole
    assert after.keys("train") == before.keys("train") | {1, 2}


def test_a_start_that_failed_has_seen_nothing(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (2, 1, 64, 64), dtype=np.uint8)
    for part in (images[:1], images[1:]):
        assert seen.note(tmp_path, {"train": part}, first=True) == 0
    found = seen.of_run(tmp_path)
    assert found is not None
    assert found.keys("train") == {own_key(images[1])}


def test_epochs_of_which_nothing_was_noted_are_said(run: Path, data: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "seen.bin").unlink()
    assert seen.of_run(tmp_path / "run") is None
    train(config(data, 2), tmp_path / "run", resume=True)
    found = seen.of_run(tmp_path / "run")
    assert found is not None
    assert not found.whole
    assert len(found.keys("train")) == 6


def test_the_file_is_read_back_and_nothing_else_is(tmp_path: Path) -> None:
    slices = SeenSlices(
        splits={"train": np.array([3, 2**64 - 1], np.uint64), "test": np.array([], np.uint64)}, whole=False
    )
    data = slices.to_bytes()
    back = SeenSlices.from_bytes(data)
    assert back.keys("train") == {3, 2**64 - 1}
    assert list(back.splits) == ["train", "test"]
    assert not back.whole
    hostile = [
        b"",
        b"[" * 5000,
        data[:-1],
        data + b"x",
        data + bytes(8),
        data.replace(b"train", b"trane"),
        b'{"schema": 1, "whole": true}\n',
        b'{"schema": 1, "whole": true, "slices": {"train": -1, "test": 1}}\n',
        b'{"schema": 2' + data[12:],
    ]
    (tmp_path / "seen.bin").write_bytes(b"?")
    with pytest.raises(DataError, match="is damaged"):
        seen.of_run(tmp_path)
    for index, content in enumerate(hostile):
        bundle = with_seen(make_tiny_bundle(tmp_path / str(index)), content)
        with pytest.raises(BundleError, match="not one of ours"):
            seen.of_bundle(bundle)
    assert seen.of_bundle(make_tiny_bundle(tmp_path / "without")) is None


def with_seen(bundle: Bundle, content: bytes) -> Bundle:
    (bundle.folder / "seen.bin").write_bytes(content)
    return with_manifest(bundle, files={**bundle.manifest.files, "seen.bin": sha256_bytes(content)})


def test_patients_that_were_trained_on_are_left_out_of_a_split(run: Path, data: Path, tmp_path: Path) -> None:
    past = Past(seen=seen.of_run(run))
    anew = renamed(data, tmp_path / "anew")
    found = unseen(anew, "validate", CONTRACT, past)
    assert found is not None
    assert (found.left_out, len(found.samples), found.known) == ((), 3, True)
    for kind in ("images", "masks"):  # patient 900, who was trained on, is in validate now
        for path in sorted((anew / "train" / kind).glob("volume-900*")):
            path.rename(anew / "validate" / kind / path.name)
    found = unseen(anew, "validate", CONTRACT, past)
    assert found is not None
    assert found.left_out == ("900",)
    assert {sample.patient for sample in found.samples} == {"902"}
    assert found.keys == frozenset(sample_keys(found.samples, CONTRACT))


@pytest.mark.parametrize("patient", ["000", "0"])
def test_a_patient_counts_whichever_of_its_slices_was_trained_on(
    run: Path, data: Path, tmp_path: Path, patient: str
) -> None:
    leaky = tmp_path / "leaky"
    shutil.copytree(data, leaky)
    new = np.random.default_rng(3).integers(0, 255, (256, 256), dtype=np.uint8)  # never trained on, of patient 000
    Image.fromarray(new).save(leaky / "validate" / "images" / f"volume-{patient}_0009.png")
    mask = leaky / "train" / "masks" / "volume-000_0000.png"
    shutil.copy(mask, leaky / "validate" / "masks" / f"volume-{patient}_0009.png")
    found = unseen(leaky, "validate", CONTRACT, Past(seen=seen.of_run(run)))
    assert found is not None
    assert found.left_out == (patient,)
    assert len(found.samples) == 3


def test_names_decide_only_where_nothing_was_noted(run: Path, data: Path) -> None:
    dataset = {"name": "data", "patients": {"train": ["002"], "validate": []}}
    past = Past.of(None, {"dataset": dataset})
    assert past.by_name("train", data, ["002", "003"]) == ["002"]
    assert past.by_name("train", data.parent, ["002"]) == []
    assert Past.of(seen.of_run(run), {"dataset": dataset}).by_name("train", data, ["002"]) == []
    both = Past.of(None, {"dataset": {"name": "b"}, "earlier_datasets": [dataset]})
    assert both.by_name("train", data, ["002"]) == ["002"]
    for hostile in ("text", {"name": "data", "patients": 3}, {"name": "data", "patients": {"train": 7}}):
        assert Past.of(None, {"dataset": hostile}).by_name("train", data, ["002"]) == []


def test_the_record_of_a_resumed_run_names_its_earlier_data(run: Path, data: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    moved = tmp_path / "moved"
    shutil.copytree(data, moved)
    train(config(moved, 2), tmp_path / "run", resume=True)
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    assert record["dataset"]["name"] == "moved"
    assert [one["name"] for one in record["earlier_datasets"]] == ["data"]


def test_copies_of_training_slices_in_validate_are_said(data: Path, tmp_path: Path) -> None:
    leaky = tmp_path / "leaky"
    shutil.copytree(data, leaky)
    for kind in ("images", "masks"):
        shutil.copy(leaky / "train" / kind / "volume-000_0001.png", leaky / "validate" / kind / "volume-800_0000.png")
    lines: list[str] = []

    class Listener(Observer):
        def say(self, line: str) -> None:
            lines.append(line)

    train(config(leaky, 1), tmp_path / "run", observer=Listener())
    assert any("1 slices of validate and test are trained on too" in line for line in lines)
