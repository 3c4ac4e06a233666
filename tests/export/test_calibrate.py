"""Temperature and threshold at export: fitted on validate, on the artifact, or honestly neutral."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from torch import nn

import export.held_out
from export.calibrate import calibrate
from export.card import model_card
from export.evidence import FEWEST, Evidence
from export.figures import by_rule, measure
from export.held_out import HeldOut
from export.operating_points import RULES
from export.source import Deployed, Original
from export.transfer import moved
from lits_deploy.bundle import Artifact, Manifest
from lits_deploy.contract import InputContract
from lits_deploy.errors import DataError
from lits_deploy.operating_point import OUT_OF_FOLD
from lits_deploy.runtime import Batch, Outputs, Runtime, RuntimeInfo
from tiny_data import make_tiny_data
from train.data.layout import read_layout
from train.data.seen import SeenSlices, sample_keys
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


PLAIN = Artifact(
    name="fp32",
    file="model.onnx",
    sha256="0" * 64,
    bytes=1,
    precision="fp32",
    opset=19,
    outputs=("logits",),
    tolerance=1e-4,
    parity={"slices": 1, "origin": "data", "max_delta": 0.0, "flipped": 0},
)


def fitted(found: Original, runtime: Runtime, rule: str = "argmax") -> Artifact:
    held = HeldOut(found)
    return calibrate(held, PLAIN, measure(held, runtime)[1], rule)


def test_an_overconfident_network_gets_a_temperature_and_a_threshold(data: Path) -> None:
    done = fitted(original(data), Overconfident(12.0))
    record = done.calibration
    assert record["fitted"]
    assert (record["slices"], len(record["patients"]), record["data"]) == (72, 8, "set/validate")
    assert record["split_by"] == "patient"
    assert done.temperature > 2, "three quarters right, and sure of all: the logits are far too large"
    assert record["after"]["nll"] < record["before"]["nll"]
    assert record["after"]["ece"] < record["before"]["ece"]
    rule = record["abstain"]
    assert 1 > rule["coverage"] >= 0.9
    assert rule["accuracy"] > rule["accuracy_all"]


def test_the_same_network_sharpened_ends_with_the_same_probabilities(data: Path) -> None:
    mild, sharp = (fitted(original(data), Overconfident(certainty)) for certainty in (6.0, 18.0))
    assert sharp.temperature == pytest.approx(3 * mild.temperature, rel=0.01)
    assert sharp.calibration["after"]["nll"] == pytest.approx(mild.calibration["after"]["nll"], abs=1e-4)


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
        assert not done.calibration["fitted"]
        assert why in done.calibration["why"]
    assert FEWEST > 3


def test_a_slice_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    folder = make_tiny_data(tmp_path / "set", slices=9, patients=(1, 8, 1))
    sorted((folder / "validate" / "images").iterdir())[5].write_bytes(b"no picture")
    assert fitted(original(folder), Overconfident(12.0)).calibration["slices"] == 71


def test_slices_of_another_window_fit_nothing(tmp_path: Path) -> None:
    folder = make_tiny_data(tmp_path / "set", slices=9, patients=(1, 8, 1), window=[-100, 400])
    assert fitted(original(folder), Overconfident(12.0)).calibration["why"] == "the validate split is of another window"


def test_at_most_so_many_slices_are_fitted_on(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export.held_out, "MOST", 65)
    held = HeldOut(original(data))
    answers = measure(held, Overconfident(12.0))[1]
    assert all(answer.mask is None for answer in answers["validate"]), (
        "all answers are held at once, and masks are large"
    )
    record = calibrate(held, PLAIN, answers).calibration
    assert (record["slices"], len(record["patients"])) == (65, 8)


def trained_on(data: Path, *patients: str) -> SeenSlices:
    """As if these patients of validate had been trained on, before the folder was split anew."""
    samples = [sample for sample in read_layout(data).splits["validate"] if sample.patient in patients]
    keys = [value for value in sample_keys(samples, CONTRACT) if value is not None]
    return SeenSlices(splits={"train": np.array(sorted(keys), np.uint64)})


def test_patients_that_were_trained_on_are_left_out(data: Path) -> None:
    found = dataclasses.replace(original(data), seen=trained_on(data, "003"))
    record = fitted(found, Overconfident(12.0)).calibration
    assert record["fitted"]
    assert "003" not in record["patients"]
    assert (record["slices"], record["left_out"], record["training_known"]) == (63, ["003"], True)
    assert "1 patients of that split are not among them: the network was trained on them." in card(found, record)
    assert "not all its slices were noted" in card(found, fitted(original(data), Overconfident(12.0)).calibration)
    held = HeldOut(found)
    assert len(held.gated) == 63
    assert held.note() == "1 validate patients that it was trained on are left out; checked on 63 slices only"


def test_nothing_is_fitted_where_every_patient_was_trained_on(data: Path) -> None:
    found = dataclasses.replace(original(data), seen=trained_on(data, *(f"00{n}" for n in range(1, 9))))
    done = fitted(found, Overconfident(12.0))
    assert (done.temperature, done.abstain_below) == (1.0, None)
    assert done.calibration["why"] == "it was trained on every validate patient"
    assert "not calibrated (it was trained on every validate patient)" in card(found, done.calibration)
    assert HeldOut(found).origin == "phantoms"
    assert "trained on every validate patient" in (HeldOut(found).note() or "")


def card(found: Original, record: dict[str, Any]) -> str:
    artifact = dataclasses.replace(PLAIN, calibration=record)
    return model_card(manifest_of(found, artifact))


class TestOperatingPoints:
    def test_every_rule_has_a_threshold_and_a_promise_and_one_is_in_force(self, data: Path) -> None:
        done = fitted(original(data), Overconfident(12.0), "sensitivity=0.77")
        assert done.operating_point == "sensitivity=0.77"
        assert [point["rule"] for point in done.operating_points] == [*RULES, "sensitivity=0.77"]
        assert {
            key: done.promise[key] for key in ("source", "data", "slices", "patients", "with_lesion", "groups")
        } == {
            "source": "validate",
            "data": "set/validate",
            "slices": 72,
            "patients": 8,
            "with_lesion": 8,
            "groups": 8,
        }
        Manifest.from_json(json.loads(json.dumps(manifest_of(original(data), done).to_json())))  # as strangers' are
        thresholds = {point["rule"]: point["threshold"] for point in done.operating_points}
        assert thresholds["argmax"] is None
        assert thresholds["sensitivity=0.8"] >= thresholds["sensitivity=0.9"] >= thresholds["sensitivity=0.95"] > 0

    def test_figures_of_the_file_are_by_its_rule(self, data: Path) -> None:
        held = HeldOut(original(data))
        figures, answers = measure(held, Overconfident(12.0))
        plain = calibrate(held, PLAIN, answers)
        assert by_rule(figures, answers, plain) is figures
        sensitive = calibrate(held, PLAIN, answers, "sensitivity=0.95")
        decided = by_rule(figures, answers, sensitive)["validate"]
        lesions = decided["confusion"][2]
        assert decided["rule"] == "sensitivity=0.95"
        assert lesions[2] / sum(lesions) >= 0.95
        assert decided["confusion"] != figures["validate"]["confusion"]
        assert {key: decided[key] for key in ("slices", "lesion_auroc")} == {
            key: figures["validate"][key] for key in ("slices", "lesion_auroc")
        }

    @pytest.mark.parametrize("why", ["few", "none", "alike"])
    def test_no_threshold_without_patients_to_measure_it_on(self, why: str, data: Path, tmp_path: Path) -> None:
        """One patient cannot set a threshold and measure it; asked for, that ends the export, else it is said."""
        if why == "none":
            found = original(None)
        else:
            patients = (1, 1, 1) if why == "alike" else (1, 2, 1)
            found = original(make_tiny_data(tmp_path / "set", slices=75 if why == "alike" else 3, patients=patients))
        with pytest.raises(
            DataError, match=r"No threshold for balanced can be set: .* Fix: leave --operating-point out"
        ):
            fitted(found, Overconfident(12.0), "balanced")
        done = fitted(found, Overconfident(12.0))
        assert (done.operating_point, done.operating_points) == ("argmax", ())
        assert "## What it will miss\nNot known: " in model_card(manifest_of(found, done))
        assert done.calibration["fitted"] == (why == "alike")

    def test_the_card_says_what_is_missed_and_whose_figures_those_are(self, data: Path) -> None:
        done = fitted(original(data), Overconfident(12.0), "balanced")
        text = " ".join(model_card(manifest_of(original(data), done)).split())
        assert "## What it will miss **" in text
        assert "Of 100 slices with a lesion it is expected to find " in text
        assert "These are figures of this file on its validate split (set/validate, 72 slices of 8 patients)." in text
        assert "Every threshold was checked on patients that had no part in setting it (8 groups took turns)." in text
        assert "| balanced (in force) |" in text
        assert "A slice gets class 2 where the calibrated odds of a lesion, p2 / (p0 + p1), reach " in text


def evidence(slices: int = 300, folds: int = 3) -> Evidence:
    """Nine patients out of fold, whose lesions show a little."""
    rng = np.random.default_rng(0)
    target = rng.integers(0, 3, slices)
    logits = (rng.normal(0, 1, (slices, 3)) + 1.5 * np.eye(3)[target]).astype(np.float32)
    patients = np.arange(slices) % 9
    return Evidence(
        target=target,
        logits=logits,
        patients=tuple(f"p{number}" for number in patients),
        folds=patients % folds,
        source=OUT_OF_FOLD,
        data="set, train and validate",
        split_by="patient",
        synthetic=False,
    )


class TestOutOfFold:
    def test_it_comes_before_validate_whatever_the_file_says_there(self, data: Path) -> None:
        found = dataclasses.replace(original(data), out_of_fold=evidence())
        one, other = fitted(found, Overconfident(12.0), "balanced"), fitted(found, Overconfident(1.0), "balanced")
        assert one == other
        assert (one.calibration["slices"], one.calibration["data"]) == (300, "set, train and validate")
        assert one.calibration["source"] == one.promise["source"] == "out of fold"
        assert (one.promise["patients"], one.promise["groups"]) == (9, 3)
        assert "left_out" not in one.calibration
        text = " ".join(model_card(manifest_of(found, one)).split())
        assert "figures of the procedure, out of fold, not of this very file" in text
        assert "each answered by a network that had not seen them. So few patients" in text

    def test_another_precision_takes_the_numbers_over_as_its_answers_moved(self, data: Path) -> None:
        found = dataclasses.replace(original(data), out_of_fold=evidence())
        held = HeldOut(found)
        answers = measure(held, Overconfident(6.0))[1]
        base = calibrate(held, PLAIN, answers, "balanced")
        same = calibrate(held, PLAIN, answers, "balanced", base=(base, answers))
        assert same.calibration["taken_over"] == {"from": "fp32", "moved_by_slices": 72}
        assert same.temperature == pytest.approx(base.temperature)
        for before, after in zip(base.operating_points, same.operating_points, strict=True):
            assert after["threshold"] == pytest.approx(before["threshold"])
            assert {**after, "threshold": 0} == {**before, "threshold": 0}
        sharper = measure(held, Overconfident(12.0))[1]  # every logit twice as large
        moved = calibrate(held, PLAIN, sharper, "balanced", base=(base, answers))
        assert moved.temperature == pytest.approx(2 * base.temperature, rel=0.01)
        assert moved.abstain_below == pytest.approx(base.abstain_below, abs=0.01)
        assert moved.operating_point == "balanced"
        unmoved = calibrate(held, PLAIN, {}, "balanced", base=(base, answers))
        assert unmoved.calibration["taken_over"]["moved_by_slices"] == 0
        assert (unmoved.temperature, unmoved.operating_points) == (base.temperature, base.operating_points)

    def test_a_threshold_moves_with_the_ranks_around_it(self) -> None:
        before = np.array([3.0, 0.0, 1.0, 2.0])
        assert moved(1.5, before, before) == 1.5
        assert moved(1.5, before, 2 * before + 1) == 4.0
        assert moved(9.0, before, before - 1) == 8.0
        assert moved(-9.0, before, before - 1) == -10.0


def manifest_of(found: Original, artifact: Artifact) -> Manifest:
    return Manifest(
        task="classify", model={"name": "resnet18"}, contract=found.contract, artifacts=(artifact,), files={}
    )
