"""Temperature and threshold at export: fitted on validate, on the artifact, or honestly neutral."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from torch import nn

import export.held_out
from export.calibrate import FEWEST, MOST_ABSTAINED, Calibration, calibrate
from export.card import model_card
from export.figures import measure
from export.held_out import HeldOut
from export.source import Deployed, Original
from lits_deploy.bundle import Artifact, Manifest
from lits_deploy.contract import InputContract
from lits_deploy.runtime import Batch, Outputs, Runtime, RuntimeInfo
from tiny_data import make_tiny_data
from train.data.layout import read_layout
from train.data.seen import Seen, sample_keys
from train.models.registry import network

CONTRACT = InputContract(window_hu=(-40.0, 160.0))


class Overconfident(Runtime):
    """Knows the class by a slice's brightness, errs on some, and is always nearly certain."""

    name: ClassVar[str] = "overconfident"

    def __init__(self, certainty: float) -> None:
        super().__init__(shape=CONTRACT.shape, max_batch=16)
        self.certainty, self.seen = certainty, 0

    def _infer(self, batch: Batch) -> Outputs:
        logits = np.zeros((len(batch), 3), np.float32)
        for row, picture in zip(logits, batch, strict=True):
            lesion = (picture[0, 100:120, 82:98].mean() < 120) and picture[0, 120, 130] > 100
            answer = 0 if picture[0, 90:150, 120:150].mean() < 100 else 2 if lesion else 1
            self.seen += 1
            wrong = self.seen % 4 == 0
            row[(answer + wrong) % 3] = self.certainty / (2 if self.seen % 12 == 0 else 1)
        return Outputs(logits=logits)

    def describe(self) -> RuntimeInfo:
        return RuntimeInfo(name=self.name, version="0", device="cpu", precision="fp32", providers=())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_data(tmp_path_factory.mktemp("calibrate") / "set", slices=9, patients=(1, 8, 1), window=[-40, 160])


def original(data: Path | None, name: str = "resnet18") -> Original:
    info = network(name)
    contract = dataclasses.replace(CONTRACT, crop=info.crop)
    module = Deployed(nn.Identity(), contract, info.task)
    return Original(info=info, module=module, contract=contract, width=None, data=data)


def fitted(found: Original, runtime: Runtime) -> Calibration:
    held = HeldOut(found)
    return calibrate(held, measure(held, runtime).validate)


def test_an_overconfident_network_gets_a_temperature_and_a_threshold(data: Path) -> None:
    done = fitted(original(data), Overconfident(12.0))
    record = done.record
    assert record["fitted"]
    assert (record["slices"], len(record["patients"]), record["data"]) == (72, 8, "set/validate")
    assert record["split_by"] == "patient"
    assert done.temperature > 2, "three quarters right, and sure of all: the logits are far too large"
    assert record["after"]["nll"] < record["before"]["nll"]
    assert record["after"]["ece"] < record["before"]["ece"]
    rule = record["abstain"]
    assert 1 > rule["coverage"] >= 1 - MOST_ABSTAINED
    assert rule["accuracy"] > rule["accuracy_all"]


def test_the_same_network_sharpened_ends_with_the_same_probabilities(data: Path) -> None:
    mild, sharp = (fitted(original(data), Overconfident(certainty)) for certainty in (6.0, 18.0))
    assert sharp.temperature == pytest.approx(3 * mild.temperature, rel=0.01)
    assert sharp.record["after"]["nll"] == pytest.approx(mild.record["after"]["nll"], abs=1e-4)


def test_neutral_with_the_reason_where_it_cannot_be_fitted(data: Path, tmp_path: Path) -> None:
    few = make_tiny_data(tmp_path / "few", slices=3)
    for what, why in (
        (original(None), "not at hand"),
        (original(tmp_path / "gone"), "not at hand"),
        (original(data, "unet"), "U-Net"),
        (original(few), "3 validate slices of 3 classes are too few"),
    ):
        done = fitted(what, Overconfident(12.0))
        assert (done.temperature, done.abstain_below) == (1.0, None)
        assert not done.record["fitted"]
        assert why in done.record["why"]
    assert FEWEST > 3


def test_a_slice_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    folder = make_tiny_data(tmp_path / "set", slices=9, patients=(1, 8, 1))
    sorted((folder / "validate" / "images").iterdir())[5].write_bytes(b"no picture")
    assert fitted(original(folder), Overconfident(12.0)).record["slices"] == 71


def test_slices_of_another_window_fit_nothing(tmp_path: Path) -> None:
    folder = make_tiny_data(tmp_path / "set", slices=9, patients=(1, 8, 1), window=[-100, 400])
    assert fitted(original(folder), Overconfident(12.0)).record["why"] == "the validate split is of another window"


def test_at_most_so_many_slices_are_fitted_on(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export.held_out, "MOST", 65)
    held = HeldOut(original(data))
    answers = measure(held, Overconfident(12.0)).validate
    assert all(answer.mask is None for answer in answers), "all answers are held at once, and masks are large"
    record = calibrate(held, answers).record
    assert (record["slices"], len(record["patients"])) == (65, 8)


def trained_on(data: Path, *patients: str) -> Seen:
    """As if these patients of validate had been trained on, before the folder was split anew."""
    samples = [sample for sample in read_layout(data).splits["validate"] if sample.patient in patients]
    keys = [value for value in sample_keys(samples, CONTRACT) if value is not None]
    return Seen(splits={"train": np.array(sorted(keys), np.uint64)})


def test_patients_that_were_trained_on_are_left_out(data: Path) -> None:
    found = dataclasses.replace(original(data), seen=trained_on(data, "003"))
    record = fitted(found, Overconfident(12.0)).record
    assert record["fitted"]
    assert "003" not in record["patients"]
    assert (record["slices"], record["left_out"], record["training_known"]) == (63, ["003"], True)
    assert "1 patients of that split are not among them: the network was trained on them." in card(found, record)
    assert "not all its slices were noted" in card(found, fitted(original(data), Overconfident(12.0)).record)
    held = HeldOut(found)
    assert len(held.gated) == 63
    assert held.note() == "1 validate patients that it was trained on are left out; judged on 63 slices only"


def test_nothing_is_fitted_where_every_patient_was_trained_on(data: Path) -> None:
    found = dataclasses.replace(original(data), seen=trained_on(data, *(f"00{n}" for n in range(1, 9))))
    done = fitted(found, Overconfident(12.0))
    assert (done.temperature, done.abstain_below) == (1.0, None)
    assert done.record["why"] == "it was trained on every validate patient"
    assert "not calibrated (it was trained on every validate patient)" in card(found, done.record)
    assert HeldOut(found).origin == "phantoms"
    assert "trained on every validate patient" in (HeldOut(found).note() or "")


def card(found: Original, record: dict[str, Any]) -> str:
    artifact = Artifact(
        name="fp32", file="model.onnx", sha256="0" * 64, bytes=1, precision="fp32", opset=19, outputs=("logits",),
        tolerance=1e-4, calibration=record, parity={"slices": 1, "origin": "data", "max_delta": 0.0, "flipped": 0},
    )  # fmt: skip
    manifest = Manifest(
        task="classify", model={"name": "resnet18"}, contract=found.contract, artifacts=(artifact,), files={}
    )
    return model_card(manifest)
