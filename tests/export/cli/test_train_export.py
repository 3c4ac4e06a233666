"""`lits-deploy train` and `export` as they are typed, defaults included."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from lits_deploy.bundle import Bundle
from lits_deploy.cli.app import app
from lits_deploy.errors import DataError, DeviceError, OutputError, UserError
from tiny_data import make_tiny_data
from train.models.registry import NETWORKS, build
from train.settings import RECIPES

runner = CliRunner()
SMALL = ["--model", "unet", "--width", "2", "--epochs", "1", "--batch-size", "4"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/ in it and one run trained by defaults."""
    folder = tmp_path_factory.mktemp("home")
    make_tiny_data(folder / "data", window=[-40, 160])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = runner.invoke(app, ["train", *SMALL], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "epoch 1/1: train loss" in result.output
    assert "next:  lits-deploy export runs/unet-" in result.output
    assert "not for clinical use" in result.output
    return folder


def test_defaults_put_the_run_where_export_finds_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    (run,) = (home / "runs").glob("unet-*")
    with pytest.raises(UserError, match=r"There is no NVIDIA GPU here to build an engine for|not installed"):
        runner.invoke(app, ["export", "--trt"], catch_exceptions=False)
    assert not run.with_name(f"{run.name}-bundle").exists(), "what cannot be built is said before any work"
    result = runner.invoke(app, ["export"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    bundle = Bundle.open(run.with_name(f"{run.name}-bundle"))
    assert bundle.problems() == []
    assert bundle.manifest.contract.window_hu == (-40.0, 160.0)


def test_resume_without_out_takes_the_newest_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    more = [*SMALL[:5], "2", *SMALL[6:], "--resume"]
    result = runner.invoke(app, ["train", *more], catch_exceptions=False)
    assert "resumed after epoch 1" in result.output
    (run,) = [path for path in (home / "runs").glob("unet-*") if (path / "config.json").is_file()]
    assert json.loads((run / "last.json").read_text())["epoch"] == 2


def test_a_strong_run_exports_like_any_other(home: Path) -> None:
    arguments = ["train", "--data", str(home / "data"), "--out", str(home / "strong"), "--recipe", "strong", "--model"]
    arguments += ["resnet18", "--epochs", "1", "--batch-size", "4"]
    result = runner.invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    settings = json.loads((home / "strong" / "config.json").read_text())
    assert settings["recipe"] == "strong"
    assert (settings["masks"], settings["epochs"]) == (RECIPES["strong"](NETWORKS["resnet18"])["masks"], 1)
    assert (settings["contract"]["size"], settings["contract"]["crop"]) == (128, 112)
    result = runner.invoke(app, ["export", str(home / "strong")], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    bundle = Bundle.open(home / "strong-bundle")
    two_more_channels = 2 * 64 * 7 * 7
    parameters = NETWORKS["resnet18"].parameters + two_more_channels
    assert bundle.manifest.model["parameters"] == parameters, "the head for masks stays behind"
    assert bundle.manifest.contract.shape == (3, 128, 128)
    assert "recipe strong, AdamW" in (bundle.folder / "README.md").read_text()


def test_weights_of_a_registered_network(home: Path) -> None:
    torch.manual_seed(1)
    wrapped = {f"module.{name}": value for name, value in build("unet", width=2).state_dict().items()}
    torch.save({"state_dict": wrapped}, home / "plain.pt")
    arguments = ["export", "--weights", str(home / "plain.pt"), "--model", "unet", "--width", "2", "--size", "64"]
    result = runner.invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "256 slices (phantoms)" in result.output
    bundle = Bundle.open(home / "plain-bundle")
    assert bundle.manifest.contract.window_hu is None
    assert bundle.manifest.contract.shape == (1, 64, 64)
    assert "plain.pt: took `state_dict`\nplain.pt: cut `module.` off the names\n" in result.output
    assert "- cut `module.` off the names" in (bundle.folder / "README.md").read_text()
    assert "how they were trained is not recorded" in (bundle.folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (["train", "--data", "nowhere"], DataError, "data phantom nowhere"),
        (["train", *SMALL, "--device", "cuda:7"], DeviceError, "cuda:7 was asked for"),
        (["train", "--model", "resnet99"], UserError, "choose one of"),
        (["train", *SMALL, "--window", "0", "400"], DataError, "declares the window"),
        (["train", "--model", "vgg19", "--resume"], OutputError, "no run of vgg19"),
        (["export", "nowhere"], DataError, "not a training run"),
        (["export", "nowhere", "--data", "elsewhere"], DataError, "no data at elsewhere"),
        (["export", "--model", "unet"], UserError, "go with --weights"),
        (["export", "--weights", "x.pt"], DataError, "no file x.pt"),
        (["export", "--weights", "x.pt", "--model", "unet"], DataError, "no file x.pt"),
    ],
)
def test_mistakes_name_the_fix(
    home: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], error: type[UserError], says: str
) -> None:
    monkeypatch.chdir(home)
    with pytest.raises(error, match=says) as caught:
        runner.invoke(app, arguments, catch_exceptions=False)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "alexnet", "--size", "128"], "alexnet takes slices of 256 pixels only. Fix: --size 256"),
        (["--size", "100"], "100 pixels cannot be halved five times. Fix: --size 96"),
        (["--size", "288", "--resize", "never"], "--resize never allows no slices of 288 pixels. Fix: --resize box"),
    ],
)
def test_sides_that_a_network_cannot_take(home: Path, arguments: list[str], says: str) -> None:
    with pytest.raises(UserError) as error:
        runner.invoke(app, ["train", "--data", str(home / "data"), *arguments], catch_exceptions=False)
    assert str(error.value) == says


def test_rules_that_are_none_or_not_for_this_network_are_refused_before_any_work(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    for rule, says in (("youden", "`youden` is not an operating point"), ("balanced", "is for classifiers")):
        with pytest.raises(UserError, match=says):
            runner.invoke(app, ["export", "--operating-point", rule, "--out", "refused"], catch_exceptions=False)
    assert not (home / "refused").exists()
