"""`train.train` and `export.export`: what the commands do, as functions of a program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import export
import train
from lits_deploy.cli.app import run
from lits_deploy.errors import DataError, UserError
from phantom_data import make_phantom_data
from train.config import TrainConfig


class Asked(Exception):  # noqa: N818 - carries what a run was asked for
    def __init__(self, config: TrainConfig, out: Path, *, resume: bool, **_: Any) -> None:
        self.asked = config, out, resume


@pytest.fixture
def no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*arguments: Any, **more: Any) -> None:
        raise Asked(*arguments, **more)

    monkeypatch.setattr("train.run.train", asked)


def test_a_training_is_asked_for_what_the_command_asks_for(
    no_run: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data, out = make_phantom_data(tmp_path / "data"), tmp_path / "run"
    settings: dict[str, Any] = {"epochs": 2, "seed": 5, "size": 128}
    with pytest.raises(Asked) as function:
        train.train(str(data), str(out), recipe="strong", device="cpu", **settings)
    assert capfd.readouterr() == ("", "")
    told = ["--data", data, "--out", out, "--recipe", "strong", "--device", "cpu", "--epochs", 2, "--seed", 5]
    with pytest.raises(Asked) as command:
        run(["train", *map(str, told), "--size", "128"])
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


@pytest.mark.parametrize("package", [train, export])
def test_no_other_name_is_made_up(package: Any) -> None:
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        package.trian  # noqa: B018
