"""`evaluate` of a folded run: figures of each patient by the network that never saw it, and how folds differ."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk
from typer.testing import CliRunner

from benchmarks.evaluation.folded import evaluate_folds
from benchmarks.evaluation.report import JSON, page, write_report
from export.confidence import fit_temperature
from export.operating_points import RULES
from export.thresholds import threshold_of
from folded_run import FOLDS, make_folded_run
from lits_deploy.cli.app import app
from lits_deploy.errors import DataError, UserError
from lits_deploy.fusion import lesion_log_odds
from train.out_of_fold import NAME, OutOfFold

runner = CliRunner()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folds")
    make_folded_run(folder / "run")
    make_folded_run(folder / "unet", model="unet")
    return folder


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> OutOfFold:
    return make_folded_run(tmp_path_factory.mktemp("same") / "run")


def test_figures_are_those_of_the_answers_fold_by_fold(home: Path, answers: OutOfFold) -> None:
    document = evaluate_folds(home / "run", draws=50).document
    assert answers.logits is not None
    label = answers.logits.argmax(axis=1)
    figures = document["figures"]
    assert figures["accuracy"]["value"] == pytest.approx(sk.accuracy_score(answers.target, label))
    assert figures["accuracy"]["low"] < figures["accuracy"]["value"] < figures["accuracy"]["high"]
    assert (figures["patients"], document["intervals"]["patients"]) == (7, 7)
    rows, spread = document["folds"]["rows"], document["folds"]["spread"]
    assert [row["fold"] for row in rows] == [1, 2, 3]
    of_folds = []
    for row in rows:
        own = answers.fold == row["fold"]
        of_folds.append(sk.balanced_accuracy_score(answers.target[own], label[own]))
        assert row["balanced_accuracy"] == pytest.approx(of_folds[-1])
    found = spread["balanced_accuracy"]
    expected = (np.mean(of_folds), min(of_folds), max(of_folds), np.std(of_folds, ddof=1))
    assert (found["mean"], found["low"], found["high"], found["sd"]) == pytest.approx(expected)
    assert {row["patient"]: row["fold"] for row in document["patients"]} == dict(
        zip(answers.patient.tolist(), answers.fold.tolist(), strict=True)
    )


def test_rules_are_measured_on_folds_that_did_not_set_them(home: Path, answers: OutOfFold) -> None:
    document = evaluate_folds(home / "run", draws=50).document
    promises = {row["rule"]: row for row in document["figures"]["promises"]}
    assert [*promises] == [*RULES]
    assert answers.logits is not None
    found = marked = 0
    for fold in range(1, FOLDS + 1):
        own, lesion = answers.fold == fold, answers.target == 2
        odds = lesion_log_odds(answers.logits, fit_temperature(answers.target[~own], answers.logits[~own]))
        called = odds >= threshold_of("balanced", lesion[~own], odds[~own])
        found += int((called & lesion & own).sum())
        marked += int((called & ~lesion & own).sum())
    assert promises["balanced"]["sensitivity"]["value"] == pytest.approx(found / (answers.target == 2).sum())
    assert promises["balanced"]["specificity"]["value"] == pytest.approx(1 - marked / (answers.target != 2).sum())
    assert "threshold" not in promises["balanced"], "the network that it would be for is not chosen yet"
    text = page(document)
    assert "What it will miss on new patients" in text
    assert "on patients that had no part in setting its threshold" in text
    assert "sensitivity=0.9" in text


def test_a_unet_is_measured_by_its_pixels(home: Path, tmp_path: Path) -> None:
    evaluation = evaluate_folds(home / "unet", draws=50)
    figures = evaluation.document["figures"]
    assert 0.8 < figures["regions"][1]["dice"]["global"]["value"] < 1
    assert figures["lesions"] is None
    assert "HD95 and lesions were not computed: masks are not kept" in " ".join(evaluation.document["notes"])
    assert len(evaluation.document["folds"]["rows"]) == FOLDS
    write_report(evaluation, tmp_path / "out")
    assert "Fold by fold" in (tmp_path / "out" / "evaluation.html").read_text()


def test_the_command_needs_nothing_but_the_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    result = runner.invoke(app, ["evaluate", "run"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "3 networks after 15 epochs, each on the patients that it never saw" in result.output
    assert "data, train and validate, out of fold: 210 slices of 7 patients, split by patient" in result.output
    assert "standard deviation" in result.output
    assert "found of 100 lesion slices" in result.output
    assert "patients with a lesion: found" in result.output
    out = home / "evaluation-run"
    document = json.loads((out / JSON).read_text())
    assert document["subject"]["kind"] == "folds"
    found = [row["lesion_sensitivity"] for row in document["folds"]["rows"]]
    marked = 1 - document["figures"]["classes"][2]["specificity"]["value"]
    assert (
        f"of 100 lesion slices a lesion (from fold to fold {100 * min(found):.0f} to {100 * max(found):.0f}), and "
        f"{100 * marked:.0f} of 100 others, too."
    ) in " ".join((out / "evaluation.html").read_text().split())
    with (out / "slices.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 210
    assert {row["fold"] for row in rows} == {"1", "2", "3"}
    with (out / "patients.csv").open(newline="") as stream:
        assert [row["fold"] for row in csv.DictReader(stream)] == ["1", "2", "3", "1", "2", "3", "1"]
    drawn = page(document)
    for text in (
        "Fold by fold",
        "standard deviation",
        "at its last epoch: no epoch",
        "run on data, train and validate",
    ):
        assert text in drawn, text


def test_what_does_not_go_with_a_folded_run(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    for more in (["--data", "data"], ["--split", "validate"], ["--artifact", "fp32"]):
        with pytest.raises(UserError, match="its own answers are measured"):
            runner.invoke(app, ["evaluate", "run", *more], catch_exceptions=False)
    (tmp_path / "plain").mkdir()
    with pytest.raises(UserError, match="no data to measure on"):
        runner.invoke(app, ["evaluate", str(tmp_path / "plain")], catch_exceptions=False)
    make_folded_run(tmp_path / "half")
    (tmp_path / "half" / NAME).unlink()
    with pytest.raises(DataError, match="no answers out of fold yet"):
        runner.invoke(app, ["evaluate", str(tmp_path / "half")], catch_exceptions=False)
