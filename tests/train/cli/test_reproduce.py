"""`lits-deploy reproduce` as it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fake_training import FakeTraining
from lits_deploy.cli.app import app
from lits_deploy.errors import DataError, DeviceError, OutputError, UserError
from tiny_data import make_tiny_data
from train.recipes.lab import trainings
from train.recipes.registry import RECIPES

runner = CliRunner()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_data(tmp_path_factory.mktemp("tiny") / "data", window=[-40, 160])


def reproduce(*arguments: object) -> str:
    result = runner.invoke(app, ["reproduce", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_help_and_list_name_every_recipe() -> None:
    usage, listed = " ".join(reproduce("--help").split()), " ".join(reproduce("list").split())
    for recipe in RECIPES.values():
        assert f"{recipe.id} {recipe.summary}" in usage
        assert f"{recipe.id} {recipe.summary}" in listed
    assert "not for clinical use" in usage
    assert all(word in usage for word in ("all Every one", "report Gather"))


def test_table5_needs_no_data_and_is_printed(tmp_path: Path) -> None:
    output = reproduce("table5", "--data", tmp_path / "none", "--out", tmp_path / "out")
    assert "11.1766" in output
    assert "Table 5: yes; Table 6: misprint" in output
    assert output.splitlines()[-1] == "Not a medical device, not for clinical use."
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_recipe_that_trains_and_the_report(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainings, "train", FakeTraining())
    out = tmp_path / "out"
    options = ["--data", data, "--out", out, "--scale", "tiny", "--device", "cpu", "--weight-decay", "0.5"]
    output = reproduce("fig18", *options)
    assert "alexnet-lr1e-5-seed0" in output
    assert "SCALED DOWN (--scale tiny)" in output
    readme = (out / "fig18" / "README.md").read_text()
    assert (
        f"`lits-deploy reproduce fig18 --data {data} --out {out} --scale tiny --device cpu --weight-decay 0.5`"
        in readme
    )
    (out / "report.html").unlink()
    output = reproduce("report", out)
    assert str(out / "report.html") in output
    assert 'id="fig18"' in (out / "report.html").read_text()


def test_what_users_get_wrong(data: Path, tmp_path: Path) -> None:
    def refused(*arguments: object) -> UserError:
        with pytest.raises(UserError) as caught:
            runner.invoke(app, ["reproduce", *map(str, arguments)], catch_exceptions=False)
        assert caught.value.fix
        return caught.value

    out = tmp_path / "out"
    assert "not a scale" in str(refused("table6", "--data", data, "--out", out, "--scale", "7"))
    assert isinstance(refused("table1", "--data", tmp_path / "none", "--out", out), DataError)
    assert isinstance(refused("table6", "--data", data, "--out", out, "--device", "cuda:99"), DeviceError)
    assert isinstance(refused("report", tmp_path), OutputError)
    result = runner.invoke(app, ["reproduce", "table2"])
    assert result.exit_code == 2
    assert "No such command" in result.output


def test_all_that_cannot_make_one_of_them_exits_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainings, "train", FakeTraining())
    monkeypatch.setattr("train.cli.reproduce.RECIPES", {n: RECIPES[n] for n in ("table1", "table9")})
    root = make_tiny_data(tmp_path / "data")
    for split in ("train", "validate", "test"):
        names = sorted(path.name for path in (root / split / "images").iterdir())
        (root / split / "targets.csv").write_text("file,target\n" + "".join(f"{name},1\n" for name in names))
    result = runner.invoke(app, ["reproduce", "all", "--data", str(root), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1, result.output
    assert "not made:" in result.output
