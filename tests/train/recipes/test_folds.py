"""Figures by folds beside those of table6, table9 and split: which answers they are of, and when they are asked for."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fake_training import FakeTraining
from folded_run import FOLDS, make_folded_run
from lits_deploy.cli.app import app
from lits_deploy.errors import UserError
from phantom_data import make_phantom_data
from train.config import TrainConfig
from train.data.layout import read_layout
from train.folds.figures import by_fold, figures_of
from train.out_of_fold import NAME, read
from train.recipes.lab import folds, trainings
from train.recipes.lab.bench import BenchSettings
from train.recipes.lab.reproduce import reproduce
from train.recipes.lab.scale import TINY
from train.recipes.registry import RECIPES
from train.session import Observer


class FakeFolds:
    """As `train.folds.run.train_folds`, without a training; `done` lists what it was asked for."""

    def __init__(self) -> None:
        self.done: list[tuple[TrainConfig, int, bool]] = []

    def __call__(self, config: TrainConfig, run: Path, count: int, *, resume: bool, observer: Observer) -> None:
        self.done.append((config, count, resume))
        make_folded_run(run, model=config.model)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeFolds:
    found = FakeFolds()
    monkeypatch.setattr(trainings, "train", FakeTraining())
    monkeypatch.setattr(folds, "train_folds", found)
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_phantom_data(tmp_path_factory.mktemp("phantom") / "data")


def made(name: str, data: Path, out: Path, count: int = FOLDS) -> dict[str, Any]:
    settings = BenchSettings(out=out, scale=TINY, folds=count)
    return reproduce([RECIPES[name]], data, settings, watch=Observer(), arguments=[])[0]


def rows_of(out: Path, name: str) -> list[dict[str, str]]:
    with (out / name / "folds.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def answers_in(out: Path, model: str) -> Any:
    (path,) = out.glob(f"runs/{model}-*folds/{NAME}")
    return read(path)


def test_printed_measured_out_of_fold_and_by_slice_stand_side_by_side(
    fake: FakeFolds, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = made("split", data, out)
    answers = answers_in(out, "resnet18")
    first, *others = rows_of(out, "split")
    assert (first["network"], first["figure"], first["printed"]) == ("ResNet18", "accuracy (%)", "98.35")
    assert [row["figure"] for row in others] == ["balanced accuracy (%)", "liver or none (%)", "lesion AUROC"]
    assert not any(row["printed"] for row in others)
    assert float(first["out_of_fold"]) == pytest.approx(100 * figures_of(answers)["accuracy"])
    of_folds = [100 * one["accuracy"] for one in by_fold(answers)]
    assert [float(first[key]) for key in ("lowest", "highest")] == pytest.approx([min(of_folds), max(of_folds)])
    assert float(others[2]["out_of_fold"]) == pytest.approx(figures_of(answers)["lesion_auroc"])
    with (out / "split" / "split.csv").open(newline="") as stream:
        split = {row["what"]: row for row in csv.DictReader(stream)}
    assert first["measured"] == split["split by patient"]["accuracy"]
    assert first["by_slice"] == split["split by slice"]["accuracy"]
    (table,) = (table for table in result["tables"] if table["name"] == "folds")
    assert "210 slices of 7 patients of train and validate" in table["notes"][0]
    assert "too high" in table["notes"][1]


def test_the_folds_are_of_patients_and_the_other_split_is_not(fake: FakeFolds, data: Path, tmp_path: Path) -> None:
    made("split", data, tmp_path / "out")
    ((config, count, resume),) = fake.done
    assert (config.model, count, resume) == ("resnet18", FOLDS, False)
    assert read_layout(config.data).split_by == "patient"
    (by_slice,) = (tmp_path / "out/data").glob("by-slice-*")
    assert read_layout(by_slice).split_by == "slice"


def test_a_training_that_is_there_is_not_done_again(fake: FakeFolds, data: Path, tmp_path: Path) -> None:
    made("split", data, tmp_path / "out")
    made("table6", data, tmp_path / "out")
    assert sorted(config.model for config, *_ in fake.done) == sorted(
        ["alexnet", "resnet18", "resnet34", "resnet50", "resnet152", "vgg19"]
    )
    assert {config.init for config, *_ in fake.done if config.model == "resnet152"} == {"kaiming"}
    rows = rows_of(tmp_path / "out", "table6")
    assert len(rows) == 24
    assert [row["printed"] for row in rows[::4]] == ["83.54", "98.35", "94.8", "98.39", "82.52", "98.35"]


def test_the_unet_has_dice_and_iou_of_every_class(fake: FakeFolds, data: Path, tmp_path: Path) -> None:
    made("table9", data, tmp_path / "out")
    answers = answers_in(tmp_path / "out", "unet")
    rows = {row["figure"]: row for row in rows_of(tmp_path / "out", "table9")}
    assert len(rows) == 6
    tumour = rows["Dice tumour (%)"]
    assert tumour["printed"] == "71.96"
    assert float(tumour["out_of_fold"]) == pytest.approx(100 * figures_of(answers)["dice"][2])


def test_without_folds_a_note_says_that_patients_are_few(fake: FakeFolds, data: Path, tmp_path: Path) -> None:
    result = made("split", data, tmp_path / "out", 0)
    assert not fake.done
    assert any("2 patients: with so few, one split of them tells little" in note for note in result["notes"])
    assert [table["name"] for table in result["tables"]] == ["split"]


def test_one_fold_holds_nobody_out(data: Path, tmp_path: Path) -> None:
    arguments = ["reproduce", "split", "--data", str(data), "--out", str(tmp_path / "out"), "--folds", "1"]
    with pytest.raises(UserError, match="holds nobody out"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    shown = " ".join(CliRunner().invoke(app, ["reproduce", "table9", "--help"]).output.split())
    assert re.search(r"--folds N .*out of fold and by slice side by side", shown)


@pytest.mark.slow
def test_real_folds_at_the_tiny_scale(tmp_path: Path) -> None:
    program = ["data", "phantom", str(tmp_path / "data"), "--patients", "6"]
    assert CliRunner().invoke(app, program, catch_exceptions=False).exit_code == 0
    made("table9", tmp_path / "data", tmp_path / "out", 2)
    assert len(rows_of(tmp_path / "out", "table9")) == 6
