"""`lits-deploy train --folds` as it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from lits_deploy.cli.app import app
from lits_deploy.errors import OutputError, UserError
from tiny_data import make_tiny_data

runner = CliRunner()
SMALL = ["train", "--model", "unet", "--width", "2", "--size", "64", "--epochs", "1", "--batch-size", "4"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    make_tiny_data(folder / "data", slices=3, patients=(1, 1, 1), window=[-40, 160])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = runner.invoke(app, [*SMALL, "--folds", "2"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    (run,) = (folder / "runs").iterdir()
    for text in (
        "fold 1 of 2: epoch 1/1: train loss",
        "fold 2 of 2: epoch 1/1: train loss",
        "out of fold, last epochs",
        f"next:  lits-deploy evaluate runs/{run.name}",
        f"lits-deploy export runs/{run.name} --from best|average",
        "not for clinical use",
    ):
        assert text in result.output, text
    assert "best|average|all" not in result.output
    return folder


def test_the_newest_folded_run_goes_on_and_gets_its_final_network(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    result = runner.invoke(app, [*SMALL, "--folds", "2", "--final", "--resume"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "fold 2 of 2: resumed after epoch 1" in result.output
    assert "final: epoch 1/1: train loss" in result.output
    assert "nobody is held out" in result.output
    assert "--from best|average|all" in result.output


def test_mistakes_name_the_fix(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    (run,) = (home / "runs").iterdir()
    with pytest.raises(UserError, match="--final goes with --folds"):
        runner.invoke(app, [*SMALL, "--final"], catch_exceptions=False)
    with pytest.raises(OutputError, match="is a folded run") as caught:
        runner.invoke(app, [*SMALL, "--out", str(run), "--resume"], catch_exceptions=False)
    assert "--folds" in caught.value.fix
    assert runner.invoke(app, [*SMALL, "--folds", "1"]).exit_code == 2
