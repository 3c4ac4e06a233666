"""One file, one set of figures: manifest, card, `inspect`, report and `evaluate` say the same, and what it is of."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.evaluation.run import Evaluation, evaluate
from benchmarks.evaluation.subject import open_subject
from export import parity
from export.figures import measure
from export.held_out import HeldOut
from export.run import export
from folder_runs import rows
from ledgers import make_ledger
from lits_deploy.bundle import Bundle
from lits_deploy.cli.app import app
from lits_deploy.files import canonical_json
from lits_deploy.ledger import ABOUT
from lits_deploy.measured import CLASSIFIER, figures_of
from lits_deploy.pipeline.about import about
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.run import run_folder
from lits_deploy.report.page import page
from lits_deploy.report.view import view
from lits_deploy.runtime import RuntimeInfo
from lits_deploy.synthetic import CAVEAT
from tiny_bundle import make_tiny_bundle, with_manifest
from tiny_data import make_tiny_data
from tiny_network import train_tiny_network
from train.data.layout import read_layout
from train.data.seen import SeenSlices, sample_keys

IN_TRAINING = {"test": {"slices": 36, "accuracy": 0.123, "balanced_accuracy": 0.123, "confusion": [[1, 0, 0]] * 3}}


@pytest.fixture(scope="module")
def few_phantoms() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "MINIMUM", 8)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_tiny_data(
        tmp_path_factory.mktemp("figures") / "phantoms", slices=18, patients=(2, 4, 2), window=[-40, 160]
    )
    (folder / "dataset.json").write_text(json.dumps({"window_hu": [-40, 160], "source": "phantom", "synthetic": True}))
    (folder / "test" / "images" / "volume-006_0003.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def bundle(data: Path, few_phantoms: None) -> Bundle:
    original = train_tiny_network(data, steps=50)  # not so well that every figure is 1
    original.metrics.update(copy.deepcopy(IN_TRAINING))
    return export(original, data.parent / "bundle", slices=8)


@pytest.fixture(scope="module")
def evaluations(bundle: Bundle, data: Path) -> dict[str, Evaluation]:
    subject = open_subject(bundle.folder, ClassifyOptions(runtime="onnxruntime", device="cpu"))
    return {split: evaluate(subject, data, split=split, draws=10) for split in ("validate", "test")}


def of_file(bundle: Bundle, split: str = "test") -> dict[str, Any]:
    found = figures_of(bundle.manifest.metrics, "fp32", split)
    assert found is not None
    return found


@pytest.mark.parametrize("split", ["validate", "test"])
def test_the_manifest_has_what_evaluate_gives_to_the_last_bit(
    split: str, bundle: Bundle, evaluations: dict[str, Evaluation]
) -> None:
    document, found = evaluations[split].document, of_file(bundle, split)
    figures = document["figures"]
    assert 0.4 < found["accuracy"] < 1, "a figure that says something"
    assert found["confusion"] == figures["confusion"]
    for name in ("accuracy", "balanced_accuracy", "liver_accuracy"):
        assert found[name] == figures[name]["value"]
    assert found["lesion_auroc"] == figures["classes"][2]["auroc"]["value"]
    assert (found["slices"], found["failed"]) == (document["data"]["slices"], document["data"]["failed"])
    assert found["patients"] == document["data"]["patients"]
    record = bundle.manifest.metrics["artifacts"]["fp32"][split]
    assert record["data_sha256"] == document["data"]["sha256"], "the very same slices"
    runtime = document["subject"]["runtime"]
    assert record["runtime"] == f"{runtime['name']} {runtime['version']}"


def test_card_inspect_and_report_say_them_with_the_same_digits(
    bundle: Bundle, evaluations: dict[str, Evaluation], tmp_path: Path
) -> None:
    figures = evaluations["test"].document["figures"]
    values = [figures[name]["value"] for name in ("accuracy", "balanced_accuracy", "liver_accuracy")]
    values.append(figures["classes"][2]["auroc"]["value"])
    digits = [f"{value:.3f}" for value in values]
    card = (bundle.folder / "README.md").read_text()
    assert f"| fp32 | {' | '.join(digits)} | onnxruntime" in card
    line = ", ".join(f"{name} {value}" for name, value in zip(CLASSIFIER.values(), digits, strict=True))
    inspected = " ".join(CliRunner().invoke(app, ["bundle", "inspect", str(bundle.folder)]).output.split())
    assert line in inspected
    text = report(bundle, tmp_path)
    assert line in text
    matrix = figures["confusion"]
    found = f"of 100 slices with a lesion it called {100 * matrix[2][2] / sum(matrix[2]):.0f} a lesion"
    assert card.index("## What it will miss") < card.index(found) < card.index("## Training")
    assert inspected.index("will miss ") < inspected.index(found) < inspected.index(line)
    for page_ in (card, inspected, text):
        assert found in page_
        assert "0.123" not in page_, "training's own figures are not the file's"


def test_figures_of_phantoms_say_synthetic_wherever_they_stand(
    bundle: Bundle, evaluations: dict[str, Evaluation], tmp_path: Path
) -> None:
    card = " ".join((bundle.folder / "README.md").read_text().split())
    assert card.count(CAVEAT) == 4, "test, validate, calibration and what it will miss"
    inspected = " ".join(CliRunner().invoke(app, ["bundle", "inspect", str(bundle.folder)]).output.split())
    assert CAVEAT in inspected
    assert "phantoms/test, 35 slices of 2 patients (1 more could not be used), SYNTHETIC" in inspected
    assert "72 slices of phantoms/validate (SYNTHETIC)" in inspected
    text = report(bundle, tmp_path)
    assert f"{CAVEAT} Measured on 35 slices of 2 phantoms it had not seen" in text
    assert "35 slices of 2 patients (1 more could not be used), SYNTHETIC: accuracy" in text
    assert "fitted on 72 slices of 4 patients, SYNTHETIC" in text
    assert evaluations["test"].document["marks"][0] == CAVEAT
    assert evaluations["test"].document["data"]["synthetic"] is True


def test_without_data_figures_are_not_measured(bundle: Bundle, data: Path, tmp_path: Path) -> None:
    original = train_tiny_network(data, steps=0)
    subject = open_subject(bundle.folder, ClassifyOptions(runtime="onnxruntime", device="cpu"))
    with subject.open() as runtime:
        assert measure(HeldOut(dataclasses.replace(original, data=None)), runtime) == ({}, {})
        assert measure(HeldOut(dataclasses.replace(original, data=tmp_path)), runtime) == ({}, {})
        other = dataclasses.replace(original.contract, window_hu=(-100.0, 400.0))
        elsewhere = HeldOut(dataclasses.replace(original, contract=other))
        assert measure(elsewhere, runtime) == ({}, {}), "slices of another window"
        (tmp_path / "one").mkdir()
        (tmp_path / "one" / "test").symlink_to(data / "test")
        alone = measure(HeldOut(dataclasses.replace(original, data=tmp_path / "one")), runtime)[0]
    assert alone["test"]["split_by"] is None, "whether its patients are in another split cannot be known"
    assert set(alone) == {"test"}
    theirs = sample_keys([s for s in read_layout(data).splits["test"] if s.patient == "006"], original.contract)
    known = SeenSlices(splits={"train": np.array(sorted(value for value in theirs if value is not None), np.uint64)})
    with subject.open() as runtime:
        honest = measure(HeldOut(dataclasses.replace(original, seen=known)), runtime)[0]["test"]
    assert (honest["patients"], honest["left_out"]) == (1, 1), "never of patients that were trained on"
    bare = with_manifest(make_tiny_bundle(tmp_path / "bare"), metrics=IN_TRAINING)  # as it was before
    assert "Test figures not measured on this file" in report(bare, tmp_path)
    inspected = " ".join(CliRunner().invoke(app, ["bundle", "inspect", str(bare.folder)]).output.split())
    assert "on the test split: not measured on this file" in inspected
    assert "in training, before export: accuracy 0.123, balanced_accuracy 0.123" in inspected


def report(bundle: Bundle, folder: Path) -> str:
    """The text of a report of a run with that bundle."""
    info = RuntimeInfo(name="onnxruntime", version="0", device="cpu", precision="fp32", providers=("fake",))
    with make_ledger(folder / "ledger", series=1) as ledger:
        ledger.note(ABOUT, canonical_json(about(bundle, bundle.artifact(), info, abstain_below=None)))
        return " ".join(re.sub(r"<[^>]*>", " ", page(view(ledger))).split())


GOOD = {
    "data": "d/test",
    "split_by": "patient",
    "synthetic": False,
    "slices": 2,
    "patients": 1,
    "failed": 0,
    "left_out": 0,
    "runtime": "r 1",
    "device": "cpu",
    "accuracy": 1.0,
    "balanced_accuracy": 1.0,
    "liver_accuracy": 1.0,
    "lesion_auroc": None,
    "confusion": [[1, 0, 0], [0, 1, 0], [0, 0, 0]],
}


@pytest.mark.parametrize(
    "change",
    [
        {"slices": 0},
        {"slices": "2"},
        {"patients": None},
        {"failed": -1},
        {"data": 7},
        {"runtime": None},
        {"split_by": "chance"},
        {"accuracy": "1"},
        {"lesion_auroc": True},
        {"confusion": None},
        {"confusion": [[1, 0, 0]]},
        {"confusion": [[1, 0, 0], [0, 1, 0], [0, 0, 0.5]]},
        {"dice": [1.0, 1.0]},
    ],
)
def test_what_is_no_record_of_figures_counts_as_not_measured(change: dict[str, Any]) -> None:
    def found(record: object) -> object:
        return figures_of({"artifacts": {"fp32": {"test": record}}}, "fp32", "test")

    assert found(GOOD) == GOOD
    assert found({**GOOD, **change}) is None
    assert found([GOOD]) is None
    assert figures_of({"artifacts": 7}, "fp32", "test") is None
    assert figures_of({"test": GOOD}, "fp32", "test") is None, "of training, in a bundle made before"


def test_with_a_rule_in_force_all_of_them_are_by_that_rule(data: Path, bundle: Bundle, tmp_path: Path) -> None:
    """Manifest, `evaluate`, `classify` and the card of a file that marks from a threshold on."""
    marking = export(
        train_tiny_network(data, steps=50), tmp_path / "bundle", slices=8, operating_point="specificity=0.7"
    )
    found, plain = of_file(marking), of_file(bundle)
    assert found["rule"] == "specificity=0.7"
    assert found["confusion"] != plain["confusion"]
    assert found["lesion_auroc"] == plain["lesion_auroc"]
    subject = open_subject(marking.folder, ClassifyOptions(runtime="onnxruntime", device="cpu"))
    evaluation = evaluate(subject, data, split="test", draws=10)
    figures, notes = evaluation.document["figures"], " ".join(evaluation.document["notes"])
    assert found["confusion"] == figures["confusion"]
    assert found["accuracy"] == figures["accuracy"]["value"]
    assert evaluation.document["subject"]["operating_point"]["rule"] == "specificity=0.7"
    assert "Classes are by the bundle's operating point (specificity=0.7): class 2 where the calibrated odds" in notes
    lesions, others = found["confusion"][2], np.sum(found["confusion"][:2], axis=0)
    here = f"Here it found {100 * lesions[2] / sum(lesions):.0f} and marked {100 * others[2] / others.sum():.0f}."
    assert "Of 100 slices with a lesion it is expected to find" in notes
    assert here in notes
    assert "Class 2 is given by specificity=0.7; the AUROC does not depend on it." in (
        marking.folder / "README.md"
    ).read_text(encoding="utf-8")
    out = tmp_path / "out"
    test = [data / "test" / "images"]
    run_folder(marking, test, out, options=ClassifyOptions(runtime="onnxruntime", device="cpu", abstain=False))
    labels = {row["path"].rpartition("/")[2]: row["label"] for row in rows(out) if row["status"] == "ok"}
    for row in evaluation.slices:
        if row["status"] == "ok":
            assert labels[row["path"].rpartition("/")[2]] == str(row["label"])
