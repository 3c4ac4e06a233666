"""`evaluate` as a library: the document, its marks, its bad files, and the page."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics as sk

from benchmarks.evaluation import run as run_module
from benchmarks.evaluation.formatting import span, threshold
from benchmarks.evaluation.report import JSON, page, write_report
from benchmarks.evaluation.run import Evaluation, evaluate
from benchmarks.evaluation.subject import EvaluationSubject, open_subject, open_testset
from benchmarks.report_files import check_out
from export.answers import Identity, answers, read_answer
from export.bootstrap import about_intervals, figure, finite
from fake_runtime import FakeRuntime
from lits_deploy.bundle import write_manifest
from lits_deploy.errors import ContractError, DataError, DeviceError, OutputError, UserError
from lits_deploy.pipeline.decide import SliceDecider, softmax
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.runtime import Runtime
from tiny_bundle import make_tiny_bundle, tiny_logits, with_manifest
from tiny_data import make_tiny_data
from train.data.layout import read_layout
from train.data.seen import Past, SeenSlices, sample_keys

DRAWS = 60


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three test patients of six slices each."""
    return make_tiny_data(tmp_path_factory.mktemp("data") / "set", slices=6, patients=(1, 1, 3), window=[-40, 160])


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> EvaluationSubject:
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    make_tiny_bundle(folder, temperature=2.0, abstain_below=0.42)
    return open_subject(folder, ClassifyOptions(runtime="onnxruntime", device="cpu", batch_size=4))


@pytest.fixture(scope="module")
def evaluation(subject: EvaluationSubject, data: Path) -> Evaluation:
    return evaluate(subject, data, draws=DRAWS)


@pytest.fixture(scope="module")
def expected(subject: EvaluationSubject, data: Path) -> tuple[np.ndarray, np.ndarray]:
    """Targets and logits of the test split, in order, computed without the code under test."""
    paths = sorted((data / "test" / "images").iterdir())
    slices = np.stack([np.asarray(Image.open(path))[None] for path in paths])
    masks = [np.asarray(Image.open(data / "test" / "masks" / path.name)) for path in paths]
    return np.array([mask.max() for mask in masks]), tiny_logits(slices, subject.contract)


def test_figures_agree_with_scikit_learn(evaluation: Evaluation, expected: tuple[np.ndarray, np.ndarray]) -> None:
    target, logits = expected
    plain, labels, figures = softmax(logits), logits.argmax(axis=1), evaluation.document["figures"]
    assert figures["confusion"] == sk.confusion_matrix(target, labels, labels=[0, 1, 2]).tolist()
    assert figures["accuracy"]["value"] == pytest.approx(sk.accuracy_score(target, labels))
    assert figures["balanced_accuracy"]["value"] == pytest.approx(sk.balanced_accuracy_score(target, labels))
    assert figures["liver_accuracy"]["value"] == pytest.approx(sk.accuracy_score(target > 0, labels > 0))
    assert figures["liver"]["sensitivity"]["value"] == pytest.approx(sk.recall_score(target > 0, labels > 0))
    for k, found in enumerate(figures["classes"]):
        assert found["slices"] == (target == k).sum()
        assert found["auroc"]["value"] == pytest.approx(sk.roc_auc_score(target == k, plain[:, k]))
        average = sk.average_precision_score(target == k, plain[:, k])
        assert found["average_precision"]["value"] == pytest.approx(average)


def test_calibration_is_given_before_and_after(evaluation: Evaluation, expected: tuple[np.ndarray, np.ndarray]) -> None:
    target, logits = expected
    calibration = evaluation.document["figures"]["calibration"]
    assert calibration["temperature"] == 2.0
    for key, temperature in (("before", 1.0), ("after", 2.0)):
        p = softmax(logits, temperature).astype(np.float64)
        loss = sk.log_loss(target, p / p.sum(axis=1, keepdims=True))
        assert calibration[key]["negative_log_likelihood"]["value"] == pytest.approx(loss, rel=1e-5)
        assert sum(found["count"] for found in calibration[key]["reliability"]) == len(target)
    assert calibration["before"]["mean_confidence"] > calibration["after"]["mean_confidence"]


def test_slices_are_answered_as_classify_answers_them(
    evaluation: Evaluation, expected: tuple[np.ndarray, np.ndarray]
) -> None:
    _, logits = expected
    decided = list(SliceDecider(temperature=2.0, abstain_below=0.42).answers(logits))
    assert any(answer.unsure for answer in decided)
    assert not all(answer.unsure for answer in decided)
    for row, answer in zip(evaluation.slices, decided, strict=True):
        assert row["uncertain"] == answer.unsure
        assert [row["p0"], row["p1"], row["p2"]] == pytest.approx([answer.p0, answer.p1, answer.p2], abs=1e-5)
    abstention = evaluation.document["figures"]["abstention"]
    assert abstention["abstained"] == sum(answer.unsure for answer in decided)


def test_patients_and_worst_slices(evaluation: Evaluation, expected: tuple[np.ndarray, np.ndarray]) -> None:
    target, logits = expected
    rows = evaluation.document["patients"]
    assert [row["patient"] for row in rows] == ["002", "003", "004"]
    assert [row["slices"] for row in rows] == [6, 6, 6]
    first = (logits.argmax(axis=1) == target)[:6]
    assert rows[0]["accuracy"] == pytest.approx(first.mean())
    assert rows[0]["max_p2"] == pytest.approx(softmax(logits)[:6, 2].max(), abs=1e-5)
    worst = evaluation.document["worst"]
    assert [row["p_target"] for row in worst] == sorted(row["p_target"] for row in worst)
    assert all(row["target"] != row["label"] for row in worst)
    assert len(worst) == (logits.argmax(axis=1) != target).sum()


def test_intervals_hold_their_figure_and_are_called_decoration(evaluation: Evaluation) -> None:
    document = evaluation.document
    accuracy = document["figures"]["accuracy"]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert document["intervals"]["decoration"] is True
    assert "decoration" in document["intervals"]["line"]
    assert "decoration" not in about_intervals(10, 2000)["line"]
    assert "need two patients" in about_intervals(1, 2000)["line"]


def test_equal_calls_give_equal_documents(subject: EvaluationSubject, data: Path, evaluation: Evaluation) -> None:
    again = evaluate(subject, data, draws=DRAWS).document
    assert {**again, "made": None} == {**evaluation.document, "made": None}


def test_batches_do_not_change_the_figures(subject: EvaluationSubject, data: Path, evaluation: Evaluation) -> None:
    open_one = dataclasses.replace(subject, open=lambda: FakeRuntime(max_batch=1))
    open_many = dataclasses.replace(subject, open=lambda: FakeRuntime(max_batch=64, memory_for=5))
    one, many = (evaluate(opened, data, draws=DRAWS).document for opened in (open_one, open_many))
    assert one["figures"] == many["figures"], "a device that has no memory for a batch gets halves"
    with pytest.raises(DeviceError, match="no memory for one slice"):
        evaluate(dataclasses.replace(subject, open=lambda: FakeRuntime(memory_for=0)), data)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Nine slices: one cut short, one empty, one mask with a foreign label, one mask that is no picture."""
    folder = make_tiny_data(tmp_path / "broken", slices=9)
    images, masks = (sorted((folder / "test" / kind).iterdir()) for kind in ("images", "masks"))
    images[0].write_bytes(images[0].read_bytes()[:500])
    images[4].write_bytes(b"")
    Image.fromarray(np.full((256, 256), 255, np.uint8)).save(masks[2])
    masks[7].write_text("not a picture")
    return folder


def test_files_that_cannot_be_used_are_rows_and_counted(subject: EvaluationSubject, broken: Path) -> None:
    evaluation = evaluate(subject, broken, draws=DRAWS)
    assert evaluation.failed == 4
    document = evaluation.document
    assert (document["data"]["failed"], document["data"]["slices"], document["figures"]["slices"]) == (4, 5, 5)
    reasons = {row["path"][-8:-4]: row["reason"] for row in evaluation.slices if row["status"] == "failed"}
    assert sorted(reasons) == ["0000", "0002", "0004", "0007"]
    assert "truncated" in reasons["0000"]
    assert reasons["0004"] == "the file is empty"
    advice = "translate them: `lits-deploy data prepare … --labels 0=0,255=1`"
    assert reasons["0002"] == f"its mask holds the value 255, which is no label (0, 1, 2): {advice}"
    assert str(broken) not in "".join(reasons.values()), "a reason holds no path"
    assert [row["reason"] for row in document["failed"]] == list(reasons.values())


def test_a_split_without_a_usable_slice_is_an_error(subject: EvaluationSubject, broken: Path) -> None:
    for image in (broken / "test" / "images").iterdir():
        image.write_bytes(b"x")
    with pytest.raises(DataError, match="None of the 9 slices"):
        evaluate(subject, broken)


class Odd(FakeRuntime):
    """Answers the first slice with something that is no number."""

    def _infer(self, batch: Any) -> Any:
        outputs = super()._infer(batch)
        if not self.batches[1:]:
            assert outputs.logits is not None
            outputs.logits[0, 1] = np.nan
        return outputs


def test_an_answer_that_is_no_number_is_a_failed_row(subject: EvaluationSubject, data: Path) -> None:
    odd = evaluate(dataclasses.replace(subject, open=lambda: Odd(max_batch=4)), data, draws=DRAWS)
    assert [row["status"] for row in odd.slices].count("failed") == 1
    assert odd.slices[0]["reason"] == "the network's answer is not a finite number"
    json.dumps(odd.document, allow_nan=False)


def test_the_hash_is_of_pictures_and_labels(subject: EvaluationSubject, data: Path, tmp_path: Path) -> None:
    def digest(folder: Path) -> str:
        identity, layout = Identity(), read_layout(folder)
        read = (read_answer(sample, subject.contract, identity) for sample in layout.splits["test"])
        list(answers(FakeRuntime(), read))
        return identity.hexdigest()

    copy = make_tiny_data(tmp_path / "other-name", slices=6, patients=(1, 1, 3))
    assert digest(copy) == digest(data), "the folder's name is no part of it"
    mask = next((copy / "test" / "masks").iterdir())
    Image.fromarray(np.asarray(Image.open(mask)) ^ 1).save(mask)
    assert digest(copy) != digest(data)


def test_a_leaky_split_is_marked_everywhere(subject: EvaluationSubject, tmp_path: Path) -> None:
    folder = make_tiny_data(tmp_path / "leaky", slices=6, patients=(1, 1, 2))
    for kind in ("images", "masks"):  # one slice of a test patient goes to train
        source = folder / "test" / kind / "volume-002_0000.png"
        source.rename(folder / "train" / kind / source.name)
    evaluation = evaluate(subject, folder, draws=DRAWS)
    data = evaluation.document["data"]
    assert data["split_by"] == "slice"
    assert data["leaked_patients"] == ["002"]
    (mark,) = evaluation.document["marks"]
    assert mark.startswith("LEAKY")
    names, _ = write_report(evaluation, tmp_path / "out")
    assert {"roc.png", "reliability.png", "confusion.png", "precision_recall.png"} < set(names)
    assert '<p class="warning">LEAKY' in (tmp_path / "out" / "evaluation.html").read_text()
    for name in ("slices.csv", "patients.csv"):
        with (tmp_path / "out" / name).open(newline="") as stream:
            assert {row["split_by"] for row in csv.DictReader(stream)} == {"slice"}


def test_a_declared_slice_split_is_marked_without_overlap(
    subject: EvaluationSubject, data: Path, tmp_path: Path
) -> None:
    folder = make_tiny_data(tmp_path / "declared")
    (folder / "dataset.json").write_text(json.dumps({"split_by": "slice"}))
    assert open_testset(folder, "test", subject).split_by == "slice"
    assert open_testset(data, "test", subject).split_by == "patient"


def test_patients_that_were_trained_on_are_no_test(subject: EvaluationSubject, data: Path, tmp_path: Path) -> None:
    for split, what in (("train", "trained on"), ("validate", "chosen on")):
        keys = sample_keys(read_layout(data).splits["test"][:6], subject.contract)
        seen = SeenSlices(splits={split: np.array(sorted(key for key in keys if key is not None), np.uint64)})
        opened = dataclasses.replace(subject, past=Past(seen=seen))
        renamed = shutil.copytree(data, tmp_path / split)
        document = evaluate(opened, renamed, draws=DRAWS).document
        (mark,) = document["marks"]
        assert mark.startswith("NOT A TEST: ")
        assert mark.endswith(f"{what} 1 of the 3 patients of this split.")
        assert not any("did not note" in note for note in document["notes"])
        stranger = make_tiny_data(tmp_path / f"{split}-2" / data.name, slices=6, patients=(1, 1, 3), seed=8)
        assert evaluate(opened, stranger, draws=DRAWS).document["marks"] == []
    leaky = dataclasses.replace(subject, trained_on={"name": "other", "split_by": "slice"})
    assert "not known" in open_testset(data, "test", leaky).marks[0]


def test_a_training_that_noted_nothing_is_told_by_names_and_said_to_be(subject: EvaluationSubject, data: Path) -> None:
    dataset = {"name": data.name, "patients": {"train": ["000", "003"], "validate": ["001"]}}
    opened = dataclasses.replace(subject, past=Past.of(None, {"dataset": dataset}))
    document = evaluate(opened, data, draws=DRAWS).document
    (mark,) = document["marks"]
    assert mark.startswith("NOT KNOWN whether this is a test: 1 of the 3 patients")
    assert any("did not note all slices" in note for note in document["notes"])
    opened = dataclasses.replace(subject, past=Past.of(None, {"dataset": {**dataset, "name": "other"}}))
    assert evaluate(opened, data, draws=DRAWS).document["marks"] == []


def test_only_the_split_that_is_measured_must_be_there(subject: EvaluationSubject, tmp_path: Path) -> None:
    folder = make_tiny_data(tmp_path / "half")
    for path in sorted((folder / "train").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    found = open_testset(folder, "test", subject)
    assert found.split_by is None
    assert "cannot be known" in found.notes[0]


def test_users_errors(subject: EvaluationSubject, data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a split"):
        evaluate(subject, data, split="tset")
    with pytest.raises(DataError, match="no data"):
        evaluate(subject, tmp_path / "none")
    with pytest.raises(ContractError, match="made through the window"):
        evaluate(subject, make_tiny_data(tmp_path / "window", window=[-200, 250]))
    for path, says in ((tmp_path / "window", "neither a bundle nor a training run"), (tmp_path / "none", "not exist")):
        with pytest.raises(UserError, match=says):
            open_subject(path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="something else"):
        check_out(tmp_path / "mine", JSON, "an evaluation")


def test_targets_instead_of_masks(subject: EvaluationSubject, data: Path, tmp_path: Path) -> None:
    folder = make_tiny_data(tmp_path / "targets", slices=6, patients=(1, 1, 3))
    with (folder / "test" / "targets.csv").open("w") as stream:
        stream.write("file,target,patient\n")
        for image in sorted((folder / "test" / "images").iterdir()):
            stream.write(f"{image.name},{int(image.stem[-1]) % 3},{'ab'[int(image.stem[-1]) % 2]}\n")
    document = evaluate(subject, folder, draws=DRAWS).document
    assert [row["patient"] for row in document["patients"]] == ["a", "b"]
    assert document["figures"]["accuracy"]["value"] == evaluate(subject, data).document["figures"]["accuracy"]["value"]
    with pytest.raises(DataError, match="U-Net needs masks"):
        open_testset(folder, "test", dataclasses.replace(subject, task="segment"))


@pytest.mark.parametrize("kept", ["0", "2", "01"])
def test_splits_that_lack_a_class_have_a_report_all_the_same(
    subject: EvaluationSubject, tmp_path: Path, kept: str
) -> None:
    """A single patient, few slices, some figures undefined: the page and JSON hold dashes and nulls, never NaN."""
    folder = make_tiny_data(tmp_path / "few", slices=6)
    for kind in ("images", "masks"):
        for path in (folder / "test" / kind).iterdir():
            if str(int(path.stem[-1]) % 3) not in kept:
                path.unlink()
    evaluation = evaluate(subject, folder, draws=DRAWS)
    write_report(evaluation, tmp_path / "out")
    text = (tmp_path / "out" / "evaluation.json").read_text() + (tmp_path / "out" / "evaluation.html").read_text()
    assert not re.search(r"\bnan\b|\bNaN\b|\bNone\b|Infinity", text)
    assert "No intervals: they need two patients." in text
    assert evaluation.document["figures"]["classes"][2]["auroc"]["value"] is None


def test_the_page_is_one_file_and_escapes_names(evaluation: Evaluation) -> None:
    hostile = json.loads(json.dumps(evaluation.document))
    hostile["data"]["name"] = "<script>alert(1)</script>"
    hostile["worst"][0]["path"] = 'x"><img src=x onerror=alert(1)>.png'
    hostile["failed"] = [{"path": "a&b.png", "reason": "`<b>`"}]
    hostile["data"]["failed"] = 1
    hostile["notes"].append("</li><script>\x1b[2J\u202e")
    html = page(hostile)
    assert html.replace("\n", "").isprintable()
    assert "<script" not in html
    assert "<img" not in html
    assert "a&amp;b.png" in html
    assert "<code>&lt;b&gt;</code>" in html
    assert not re.search(r"(?:src|href)\s*=|url\(|@import|https?://", page(evaluation.document)), "nothing is fetched"
    assert html.count("Not a medical device, not for clinical use.") == 2
    assert html.count('<svg class="plot"') == 3
    figures = evaluation.document["figures"]
    assert f"{figures['accuracy']['value']:.3f}" in html
    assert "viewport" in html


def test_reports_may_be_written_again_and_old_plots_go(evaluation: Evaluation, tmp_path: Path) -> None:
    out = tmp_path / "out"
    names, why = write_report(evaluation, out)
    assert why is None
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    (out / "dice.png").write_bytes(b"of a U-Net evaluated before")
    assert write_report(evaluation, out)[0] == names
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    for name in names:
        if name.endswith(".png"):
            with Image.open(out / name) as picture:
                assert picture.width > 500
    assert json.loads((out / "evaluation.json").read_text()) == evaluation.document
    with (out / "slices.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == [
        "path",
        "patient",
        "scan",
        "status",
        "reason",
        "split_by",
        "target",
        "label",
        "p0",
        "p1",
        "p2",
        "uncertain",
    ]
    assert float(rows[3]["p2"]) == pytest.approx(evaluation.slices[3]["p2"], rel=1e-6)
    assert {row["uncertain"] for row in rows} == {"true", "false"}


def test_a_folder_that_cannot_be_written_is_the_users_error(evaluation: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_report(evaluation, tmp_path / "file" / "below")


def test_progress_counts_every_slice(subject: EvaluationSubject, broken: Path) -> None:
    seen: list[tuple[int, int]] = []
    evaluate(subject, broken, draws=DRAWS, on_progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (9, 9)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_the_runtime_is_closed_when_the_data_is_no_good(subject: EvaluationSubject, broken: Path) -> None:
    closed = []

    class Watched(FakeRuntime):
        def close(self) -> None:
            closed.append(True)

    def open_it() -> Runtime:
        return Watched()

    for image in (broken / "test" / "images").iterdir():
        image.write_bytes(b"")
    with pytest.raises(DataError):
        evaluate(dataclasses.replace(subject, open=open_it), broken)
    assert closed == [True]


def test_an_uncalibrated_bundle_says_why(tmp_path: Path, data: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle")
    (artifact,) = bundle.manifest.artifacts
    artifact = dataclasses.replace(artifact, calibration={"fitted": False, "why": "12 validate slices are too few"})
    write_manifest(bundle.folder, dataclasses.replace(bundle.manifest, artifacts=(artifact,)))
    document = evaluate(open_subject(bundle.folder), data, draws=DRAWS).document
    assert "12 validate slices are too few" in page(document)
    assert document["figures"]["calibration"]["before"] == document["figures"]["calibration"]["after"]
    assert len(document["figures"]["operating_points"]) == 2
    assert document["figures"]["abstention"]["coverage"]["value"] == 1.0
    with_manifest(bundle, training={"dataset": {"name": data.name, "patients": {"train": ["002"]}}})
    assert evaluate(open_subject(bundle.folder), data, draws=DRAWS).document["marks"]


def test_figures_without_a_value_are_none() -> None:
    assert figure(float("nan"), np.ones(5)) == {"value": None, "low": None, "high": None}
    assert finite({"a": [np.float32(1.5), float("inf"), np.int64(2)], "b": np.array([np.nan])}) == {
        "a": [1.5, None, 2],
        "b": [None],
    }
    assert span({"value": 1.0, "low": None, "high": None}) == "–"
    assert [threshold(value) for value in (None, 0.5, 0.00001234)] == ["–", "0.5000", "1.2e-05"]
    assert run_module.SCHEMA == 1


def test_a_file_name_that_is_not_utf8_is_written_out(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.png")
    Identity().add(name, b"", b"")
    image = SimpleNamespace(image=tmp_path / name)
    assert run_module._path(SimpleNamespace(root=tmp_path), SimpleNamespace(sample=image)) == r"\xff.png"  # type: ignore[arg-type]
