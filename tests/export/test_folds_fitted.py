"""Bundles of a folded classifier: temperature, abstaining and operating points are fitted out of fold, and say so."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from export import parity
from export.average import moved_to_average
from export.calibrate import calibrate
from export.card import model_card
from export.choices import Networks
from export.evidence import of_folds
from export.figures import measure
from export.flipped_folds import with_flipped_answers
from export.held_out import HeldOut
from export.operating_points import fit
from export.progress import ExportProgress
from export.run import MODEL, export
from export.source_of_folds import from_folds, networks_of
from export.transfer import moved_to
from lits_deploy.bundle import Artifact, Bundle
from lits_deploy.cli.app import app
from lits_deploy.contract import InputContract
from lits_deploy.errors import DataError
from lits_deploy.model_file import ModelFile
from lits_deploy.operating_point import point_of, promised
from lits_deploy.pipeline.about import about
from lits_deploy.pipeline.decide import SliceDecider, lesion_log_odds
from lits_deploy.procedure import its_part, moved_line
from lits_deploy.runtime import RuntimeInfo
from lits_deploy.runtime.device import Device
from lits_deploy.runtime.onnxruntime_ import OnnxRuntime
from tiny_data import make_tiny_data
from train.config import TrainConfig
from train.data.seen import of_bundle, sample_keys
from train.folds.run import train_folds
from train.out_of_fold import OutOfFold, of_run

runner = CliRunner()
KINDS = ("best", "average", "all")
RULE = "sensitivity=0.9"
PLAIN: dict[str, Any] = {
    "name": "fp32",
    "file": MODEL,
    "sha256": "0" * 64,
    "bytes": 1,
    "precision": "fp32",
    "opset": 19,
    "outputs": ("logits",),
    "tolerance": 1e-4,
    "parity": {},
}


@pytest.fixture(scope="module", autouse=True)
def few_phantoms() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "MINIMUM", 8)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three folds of two patients, a final network, and six patients of test."""
    folder = tmp_path_factory.mktemp("folds")
    data = make_tiny_data(folder / "data", slices=12, patients=(5, 1, 6), window=[-40, 160])
    contract = InputContract(window_hu=(-40.0, 160.0), crop=56, size=64)
    config = TrainConfig(model="resnet18", data=data, epochs=2, batch_size=8, contract=contract)
    train_folds(config, folder / "run", 3, final=True)
    return folder / "run"


@pytest.fixture(scope="module")
def shown() -> dict[str, str]:
    """What each export printed."""
    return {}


@pytest.fixture(scope="module")
def bundles(run: Path, shown: dict[str, str]) -> dict[str, Bundle]:
    made = {}
    for kind in KINDS:
        arguments = ["export", str(run), "--from", kind, "--operating-point", RULE]
        result = runner.invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        made[kind], shown[kind] = Bundle.open(run.with_name(f"run-{kind}-bundle")), " ".join(result.output.split())
    return made


def artifact_of(bundle: Bundle) -> Artifact:
    return bundle.manifest.artifacts[0]


def thresholds(artifact: Artifact) -> dict[str, Any]:
    return {point["rule"]: point["threshold"] for point in artifact.operating_points}


def logits_of(answers: OutOfFold) -> Any:
    assert answers.logits is not None
    return answers.logits


@pytest.mark.parametrize("taken", KINDS)
def test_an_original_of_folds_brings_every_patient_s_answers(run: Path, taken: Networks) -> None:
    evidence = from_folds(run, taken).out_of_fold
    assert evidence is not None
    assert (evidence.source, len(evidence.paths)) == ("out of fold", 72)


def test_all_patients_set_the_numbers_each_answered_by_the_network_that_left_it_out(
    bundles: dict[str, Bundle], run: Path
) -> None:
    answers = of_run(run)
    expected = fit(answers.target, logits_of(answers), [*thresholds(artifact_of(bundles["best"]))])
    for kind, bundle in bundles.items():
        artifact = artifact_of(bundle)
        assert artifact.operating_point == RULE
        assert artifact.calibration["source"] == artifact.promise["source"] == "out of fold"
        assert (artifact.calibration["slices"], len(artifact.calibration["patients"])) == (72, 6)
        assert (artifact.promise["patients"], artifact.promise["groups"]) == (6, 3)
        if kind != "average":
            assert artifact.temperature == expected.temperature
            assert artifact.abstain_below == expected.abstain.threshold
            assert thresholds(artifact) == expected.thresholds
    promises = [
        [{**one, "threshold": None} for one in artifact_of(bundle).operating_points] for bundle in bundles.values()
    ]
    assert promises[0] == promises[1] == promises[2], "the procedure is one, whichever network goes into the file"


def test_no_threshold_is_measured_on_patients_that_set_it(bundles: dict[str, Bundle], run: Path) -> None:
    """Done again without any of the code that nests: what a bundle promises are decisions on each fold's patients by
    numbers of the other folds."""
    answers = of_run(run)
    rules = [*thresholds(artifact_of(bundles["best"]))]
    marked = {rule: np.zeros(len(answers), bool) for rule in rules}
    for fold in range(1, answers.folds + 1):
        own = answers.fold == fold
        assert not set(answers.patient[own]) & set(answers.patient[~own])
        fitted = fit(answers.target[~own], logits_of(answers)[~own], rules)
        for rule, found in fitted.marks(logits_of(answers)[own]).items():
            marked[rule][own] = found
    lesion = answers.target == 2
    for bundle in bundles.values():
        for point in artifact_of(bundle).operating_points:
            found = marked[point["rule"]]
            assert point["sensitivity"]["value"] == pytest.approx(found[lesion].mean())
            assert point["specificity"]["value"] == pytest.approx((~found[~lesion]).mean())


class TestAverage:
    def logits(self, bundle: Bundle, held: HeldOut) -> Any:
        with OnnxRuntime(
            ModelFile.read(bundle.folder / MODEL),
            device=Device("cpu"),
            precision="fp32",
            shape=held.contract.shape,
            wanted=("logits",),
            max_batch=16,
        ) as runtime:
            return np.array([answer.logits for answer in measure(held, runtime)[1]["test"]], np.float32)

    def test_it_marks_as_many_unseen_slices_as_the_networks_that_the_promise_is_of(
        self, bundles: dict[str, Bundle], run: Path
    ) -> None:
        artifact, single = (artifact_of(bundles[kind]) for kind in ("average", "best"))
        assert artifact.calibration["taken_over"] == {"from": "folds", "moved_by_slices": 72}
        original = from_folds(run, "average")
        held, folded = HeldOut(original), original.folded
        assert folded is not None
        pictures = torch.from_numpy(np.stack([held.load(answer.sample) for answer in held.read("test")[0]]))
        own = self.logits(bundles["average"], held)
        with torch.inference_mode():
            theirs = [network.module(pictures)[0].numpy() for network in networks_of(folded)]
        moved = 0
        for rule, threshold in thresholds(artifact).items():
            if threshold is None:
                continue
            odds = lesion_log_odds(own, artifact.temperature)
            each = [lesion_log_odds(one, single.temperature) for one in theirs]
            wanted = np.mean([one >= np.log(thresholds(single)[rule]) for one in each])
            assert np.mean(odds >= np.log(threshold)) == pytest.approx(wanted, abs=2 / 72)
            moved += threshold != thresholds(single)[rule]
        assert moved

    def test_the_truth_of_test_is_not_looked_at(self, bundles: dict[str, Bundle], run: Path) -> None:
        original = from_folds(run, "average")
        held, folded = HeldOut(original), original.folded
        assert folded is not None
        own = self.logits(bundles["average"], held)
        answers = [
            dataclasses.replace(answer, logits=row, target=None)
            for answer, row in zip(held.read("test")[0], own, strict=True)
        ]
        fitted = calibrate(held, artifact_of(bundles["average"]), {}, RULE)
        done = moved_to_average(held, fitted, {"test": answers}, networks_of(folded), ExportProgress())
        assert done.temperature == pytest.approx(artifact_of(bundles["average"]).temperature)
        assert thresholds(done) == pytest.approx(thresholds(artifact_of(bundles["average"])))

    def test_where_no_unseen_slices_tell_the_promise_says_so(self, bundles: dict[str, Bundle], run: Path) -> None:
        original = from_folds(run, "average")
        held, folded = HeldOut(original), original.folded
        assert folded is not None
        fitted = calibrate(held, artifact_of(bundles["average"]), {}, RULE)
        done = moved_to_average(held, fitted, {}, networks_of(folded), ExportProgress())
        assert (done.temperature, thresholds(done)) == (fitted.temperature, thresholds(fitted))
        sentence = promised(point_of(done), done.promise)
        assert "thresholds are still those of single networks" in (sentence or "")
        assert "thresholds are still" not in (promised(point_of(fitted), fitted.promise) or "")
        card = model_card(dataclasses.replace(bundles["average"].manifest, artifacts=(done,)))
        assert "NOT MOVED to their average" in card


def test_thresholds_of_single_networks_are_not_those_of_their_average() -> None:
    """Five made-up networks that err alike in part, and what a threshold does on 6,000 other slices."""
    rng = np.random.default_rng(3)
    target = rng.integers(0, 3, 8000)
    shared = 2 * np.eye(3)[target] + rng.normal(0, 0.7, (8000, 3))
    each = (shared + rng.normal(0, 2.0, (5, 8000, 3))).astype(np.float32)
    shares = np.exp(each) / np.exp(each).sum(axis=2, keepdims=True)
    average = np.log(shares.mean(axis=0)).astype(np.float32)
    set_on, unseen, other = slice(0, 1500), slice(1500, 2000), slice(2000, None)
    rules = ["sensitivity=0.9", "specificity=0.95"]
    fold = np.arange(1500) % 5
    found = fit(target[set_on], each[fold, np.arange(1500)], rules)
    single = Artifact(
        **{**PLAIN, "temperature": found.temperature, "abstain_below": found.abstain.threshold},
        operating_points=tuple({"rule": rule, "threshold": found.thresholds[rule]} for rule in rules),
    )
    moved = moved_to(single, "folds", each[:, unseen], average[unseen])
    marks = {
        name: {rule: odds >= np.log(value) for rule, value in thresholds(artifact).items()}
        for name, artifact, odds in (
            ("single", single, lesion_log_odds(each[0, other], single.temperature)),
            ("moved", moved, lesion_log_odds(average[other], moved.temperature)),
            ("not moved", single, lesion_log_odds(average[other], single.temperature)),
        )
    }
    lesion = target[other] == 2
    for rule in rules:
        share = {name: found[rule].mean() for name, found in marks.items()}
        assert share["moved"] == pytest.approx(share["single"], abs=0.03)
        assert abs(share["not moved"] - share["single"]) > 0.05
        assert marks["moved"][rule][lesion].mean() > marks["single"][rule][lesion].mean()
        assert marks["moved"][rule][~lesion].mean() < marks["single"][rule][~lesion].mean()
    none = moved_to(single, "folds", each[:, :3], average[:3])
    assert thresholds(none) == thresholds(single)
    assert moved_line(none.calibration) == (
        "fitted on the folds' single networks and NOT MOVED to their average: there were no slices to move them by"
    )


class TestFlips:
    def test_the_answers_out_of_fold_are_those_of_what_is_exported(self, run: Path, tmp_path: Path) -> None:
        plain = from_folds(run, "best")
        bundle = export(plain.with_flips("sides"), tmp_path / "bundle", operating_point=RULE)
        flipped = with_flipped_answers(plain.with_flips("sides"), "sides", ExportProgress())
        folded, before = flipped.folded, of_run(run)
        assert folded is not None
        answers = folded.answers
        assert (answers.patient.tolist(), answers.fold.tolist()) == (before.patient.tolist(), before.fold.tolist())
        network = networks_of(folded, "sides")[1]
        own, held = answers.fold == 2, HeldOut(plain)
        assert held.layout is not None
        samples = {sample.image.name: sample for split in held.layout.splits.values() for sample in split}
        pictures = np.stack([held.load(samples[Path(path).name]) for path in answers.path[own].tolist()])
        with torch.inference_mode():
            expected = network.module(torch.from_numpy(pictures))[0].numpy()
        assert np.abs(logits_of(answers)[own] - expected).max() < 1e-4
        assert np.abs(logits_of(answers) - logits_of(before)).max() > 1e-3
        assert (
            thresholds(artifact_of(bundle))
            == fit(answers.target, logits_of(answers), [*thresholds(artifact_of(bundle))]).thresholds
        )
        card = " ".join((bundle.folder / "README.md").read_text().split())
        assert "by the one of 3 networks that never saw it, with mirror images" in card

    def test_without_the_data_they_are_refused(self, run: Path, tmp_path: Path) -> None:
        original = from_folds(run, "best", tmp_path / "gone").with_flips("sides")
        with pytest.raises(DataError, match="without mirror images") as caught:
            export(original, tmp_path / "bundle")
        assert "leave --flips out" in caught.value.fix


def test_every_place_says_that_it_is_out_of_fold(bundles: dict[str, Bundle], shown: dict[str, str]) -> None:
    for kind, bundle in bundles.items():
        artifact = artifact_of(bundle)
        card = " ".join((bundle.folder / "README.md").read_text().split())
        inspected = " ".join(runner.invoke(app, ["bundle", "inspect", str(bundle.folder)]).output.split())
        sentence = promised(point_of(artifact), artifact.promise)
        assert sentence is not None
        for text in (shown[kind], card, inspected):
            assert sentence in text
        assert "each answered by a network that had not seen them" in sentence
        assert "calibrated out of fold on 72 slices of 6 patients (data, train and validate)" in shown[kind]
        assert "calibrated out of fold on 72 slices of data, train and validate" in inspected
        assert "Each patient was answered by the network of the fold that left them out" in card
        assert "figures of the procedure, out of fold, not of this very file" in card
        assert its_part({"folds": {"taken": kind}}) in card
        assert "Classes are the most probable ones here; what sensitivity=0.9 finds" in card
        assert "(class 2 by argmax)" in inspected
        for text in (shown[kind], card, inspected):
            assert ("moved to their average by its answers to 72 slices" in text) == (kind == "average")
        info = RuntimeInfo(name="onnxruntime", version="1", device="cpu", precision="fp32", providers=())
        document = about(bundle, artifact, info, abstain_below=None)
        assert document["calibrated_on"]["source"] == "out of fold"
        assert document["decided"]["promised"] == sentence
    best = " ".join((bundles["best"].folder / "README.md").read_text().split())
    assert "Its temperature and thresholds were set on them too, among the patients of all folds." in best


def test_who_set_the_numbers_counts_as_seen_and_nobody_else(
    bundles: dict[str, Bundle], run: Path, tmp_path: Path
) -> None:
    original = from_folds(run, "best")
    held = HeldOut(original)
    layout = held.layout
    assert layout is not None
    seen = of_bundle(bundles["best"])
    assert seen is not None
    pool = [sample for split in ("train", "validate") for sample in layout.splits[split]]
    known = seen.keys("train", "validate")
    assert set(sample_keys(pool, original.contract)) <= known
    other = make_tiny_data(tmp_path / "other", slices=12, patients=(1, 2, 1), window=[-40, 160], seed=99)
    elsewhere = export(from_folds(run, "best", other).with_data(other), tmp_path / "bundle")
    assert artifact_of(elsewhere).calibration["source"] == "out of fold"
    again = of_bundle(elsewhere)
    assert again is not None
    assert again.keys("train", "validate") == known


def test_evidence_is_a_classifiers(run: Path) -> None:
    found = from_folds(run, "all").out_of_fold
    assert found is not None
    expected = of_folds(of_run(run))
    assert (found.patients, found.source) == (expected.patients, "out of fold")
    assert np.array_equal(found.groups, of_run(run).fold)


def test_a_rule_decides_by_the_thresholds_that_were_moved(bundles: dict[str, Bundle]) -> None:
    artifact = artifact_of(bundles["average"])
    point = point_of(artifact)
    decider = SliceDecider(temperature=artifact.temperature, point=point)
    logits = np.array([[0, 0, 9], [9, 0, -9]], np.float32) * artifact.temperature
    assert decider.decide(logits).labels.tolist() == [2, 0]
