"""`train.train` and `export.export`: what the commands do, as functions of a program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import export
import train
from folded_run import make_folded_run
from lits_deploy.cli.app import run
from lits_deploy.errors import DataError, OutputError, UserError
from phantom_data import make_phantom_data
from train.config import TrainConfig
from train.folds.figures import by_fold, figures_of


class Asked(Exception):  # noqa: N818 - carries what a run was asked for
    def __init__(self, config: TrainConfig, out: Path, *more: Any, resume: bool, final: bool = False, **_: Any) -> None:
        self.asked = config, out, *more, resume, final


@pytest.fixture
def no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*arguments: Any, **more: Any) -> None:
        raise Asked(*arguments, **more)

    monkeypatch.setattr("train.run.train", asked)
    monkeypatch.setattr("train.folds.run.train_folds", asked)


def test_a_training_is_asked_for_what_the_command_asks_for(
    no_run: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data, out = make_phantom_data(tmp_path / "data"), tmp_path / "run"
    settings: dict[str, Any] = {"epochs": 2, "seed": 5, "size": 128}
    with pytest.raises(Asked) as function:
        train.train(str(data), str(out), recipe="strong", device="cpu", **settings)
    assert capfd.readouterr() == ("", "")
    options = ["--data", data, "--out", out, "--recipe", "strong", "--device", "cpu", "--epochs", 2, "--seed", 5]
    with pytest.raises(Asked) as command:
        run(["train", *map(str, options), "--size", "128"])
    assert function.value.asked == command.value.asked


def test_a_setting_that_is_none_and_one_that_the_function_has_itself(tmp_path: Path) -> None:
    for name in ("epoch", "contract"):
        with pytest.raises(UserError, match=rf"`{name}` is not a setting\. Fix: use .*epochs"):
            train.train(tmp_path, tmp_path / "run", **{name: 3})
    with pytest.raises(DataError):
        train.train(tmp_path, tmp_path / "run")


def test_an_export_refuses_what_the_command_refuses(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a training run"):
        export.export(tmp_path, tmp_path / "bundle")
    (tmp_path / "folds.json").write_text("{}")
    with pytest.raises(UserError, match=r"best checkpoints of .* were chosen on the patients"):
        export.export(tmp_path, tmp_path / "bundle", checkpoint="best")
    with pytest.raises(UserError):
        export.export(tmp_path, tmp_path / "bundle", operating_point="luck")


def test_folds_are_asked_for_as_the_command_asks_for_them(no_run: None, tmp_path: Path) -> None:
    data, out = make_phantom_data(tmp_path / "data"), tmp_path / "run"
    with pytest.raises(Asked) as function:
        train.train(data, out, device="cpu", epochs=1, size=128, folds=2, final=True)
    options = ["--data", data, "--out", out, "--device", "cpu", "--epochs", 1, "--size", 128, "--folds", 2, "--final"]
    with pytest.raises(Asked) as command:
        run(["train", *map(str, options)])
    assert function.value.asked == command.value.asked
    assert function.value.asked[1:] == (out, 2, False, True)
    with pytest.raises(UserError, match=r"`final` goes with `folds`"):
        train.train(data, out, final=True)


def test_figures_of_folds_are_those_of_the_patients_held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = make_folded_run(tmp_path / "run")
    monkeypatch.setattr("train.folds.run.train_folds", lambda *_, **__: None)  # trained already
    data = make_phantom_data(tmp_path / "data")
    figures = train.train(data, tmp_path / "run", device="cpu", size=128, folds=3)
    assert repr(figures) == repr({**figures_of(answers), "by_fold": by_fold(answers)})
    assert (figures["slices"], [fold["fold"] for fold in figures["by_fold"]]) == (210, [1, 2, 3])
    with pytest.raises(OutputError, match="is a folded run"):
        train.train(data, tmp_path / "run", device="cpu", size=128)


@pytest.mark.parametrize("package", [train, export])
def test_no_other_name_is_made_up(package: Any) -> None:
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        package.trian  # noqa: B018
