"""What a command says to a slip: the likeliest mend, and none that leads astray."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lits_deploy.bundle import Bundle
from lits_deploy.cli.app import app
from lits_deploy.errors import DataError, MissingExtra, UserError
from pictures import folder_of_slices
from tiny_bundle import make_tiny_bundle
from train.data.layout import read_layout


def said(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in arguments])
    assert result.exit_code in (1, 2), result.output
    return str(result.exception) if isinstance(result.exception, UserError) else result.output


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("made") / "liver-bundle", size=32, crop=28, resize="never")


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_slices(tmp_path_factory.mktemp("scans") / "night", 2, size=32)


def test_a_typo_in_the_bundles_path_names_the_bundle_beside_it(bundle: Bundle, scans: Path) -> None:
    typo = bundle.folder.with_name("liver-bundel")
    for arguments in (("classify", typo, scans), ("verify", typo), ("bundle", "inspect", typo)):
        text = said(*arguments)
        assert f"There is no {typo}" in text
        assert f"is it {bundle.folder}?" in text
        assert "export" not in text
        assert "train" not in text


def test_a_training_run_is_told_from_a_bundle(tmp_path: Path, scans: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert f"is a training run, not a bundle. Fix: lits-deploy export {tmp_path}" in said("classify", tmp_path, scans)


@pytest.mark.parametrize("command", ["classify", "segment"])
def test_swapped_arguments_are_recognised(bundle: Bundle, scans: Path, tmp_path: Path, command: str) -> None:
    text = said(command, scans, bundle.folder, "--out", tmp_path / "out")
    assert text.startswith("BUNDLE and SCANS are swapped.")
    assert not (tmp_path / "out").exists()


def test_the_path_that_was_typed_is_named_unless_paths_are_hidden(bundle: Bundle, tmp_path: Path) -> None:
    arguments = ("classify", bundle.folder, tmp_path / "ERIKA", "--out", tmp_path / "out")
    assert f"There is no {tmp_path / 'ERIKA'}." in said(*arguments)
    assert "ERIKA" not in said(*arguments, "--pseudonymous")
    (tmp_path / "ERIKA").mkdir()
    assert f"No scans in {tmp_path / 'ERIKA'}:" in said(*arguments)
    assert "ERIKA" not in said(*arguments, "--pseudonymous")


def test_a_precision_that_is_not_there_is_what_is_wrong(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    arguments = ("classify", bundle.folder, scans, "--out", tmp_path / "out", "--precision")
    assert "has no precision `int7`. Fix: use one of: fp32" in said(*arguments, "int7")
    assert said(*arguments, "int7").endswith("fp32")
    assert "or export the run again with --int8" in said(*arguments, "int8")


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [(("clasify",), "`classify`"), (("data", "prepair"), "`prepare`"), (("bundle", "inspct"), "`inspect`")],
)
def test_a_mistyped_command_gets_a_suggestion(arguments: tuple[str, ...], meant: str) -> None:
    assert f"Did you mean {meant}?" in said(*arguments)
    assert "Did you mean" not in said("abacus")


def test_missing_splits_and_folders_per_class_explain_the_layout(tmp_path: Path) -> None:
    folder_of_slices(tmp_path / "train" / "0_no_liver", 2, size=32)
    with pytest.raises(DataError, match=r"folders per class \(0_no_liver\) are not read.*Fix: DATA/<train\|validate"):
        read_layout(tmp_path, ("train",))
    with pytest.raises(DataError, match=r"there is no validate/, only train\..*targets.csv"):
        read_layout(tmp_path, ("validate",))


def test_a_demo_that_cannot_end_does_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "torch" else there(name, *a))
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "demo")])
    assert isinstance(result.exception, MissingExtra)
    assert "lits-deploy[train]" in str(result.exception)
    assert not (tmp_path / "demo").exists()


def test_a_zipped_bundle_is_taken_where_a_folder_is(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    packed = tmp_path / "liver.zip"
    runner = CliRunner()
    assert runner.invoke(app, ["bundle", "pack", str(bundle.folder), "--out", str(packed)]).exit_code == 0
    for arguments in (
        ("classify", packed, scans, "--out", tmp_path / "out", "--no-report"),
        ("verify", packed),
        ("bundle", "inspect", packed),
    ):
        result = runner.invoke(app, [str(word) for word in arguments])
        assert result.exit_code == 0, result.output
