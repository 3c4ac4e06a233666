"""One vocabulary over all commands: a name means one thing and takes one kind of value; bundles are arguments."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
from typer.testing import CliRunner

from command_tree import all_commands
from lits_deploy.cli.app import app

MEANINGS = {
    "--batch-size": "Slices in a batch",
    "--batch-sizes": "Batch sizes to measure, joined by commas",
    "--channels": "Slices|slices",
    "--device": "auto, cpu, cuda or cuda:N",
    "--engine-cache": "folder of engines",
    "--folds": "Train|train",
    "--format": "Formats of tables",
    "--json": "as one JSON document",
    "--layout": "lits|LiTS",
    "--ledger": "ledger",
    "--masks": "Formats of masks",
    "--operating-point": "Rule by which a slice is called a lesion",
    "--overwrite": "Replace|Drop",
    "--quick": "96 slices",
    "--report": "report.html",
    "--salt-file": "salt",
    "--segmenter": "U-Net",
    "--size": "ide of the slices",
    "--threads": "every core",
    "--window": "HU",
    "--workers": "rocesses",
}
"""What the help of an option says wherever it occurs; `|`: one of these."""


ALL = all_commands()
OPTIONS = [
    (name, option, one)
    for name, command in ALL.items()
    for one in command.params
    if one.param_type_name == "option"
    for option in one.opts
]


def test_an_option_takes_one_kind_of_value_in_every_command() -> None:
    kinds = defaultdict(set)
    for _, option, one in OPTIONS:
        kinds[option].add((one.metavar, bool(one.is_flag), one.nargs, bool(one.multiple)))
    assert len(kinds) > 100
    assert {option: kind for option, kind in kinds.items() if len(kind) > 1} == {}
    assert {one.metavar for _, option, one in OPTIONS if option == "--window"} == {"LOW HIGH"}


def test_no_value_is_called_by_its_type() -> None:
    values = {one.metavar for _, _, one in OPTIONS if one.metavar}
    assert not values & {"TEXT", "INTEGER", "FLOAT", "STRING", "BOOLEAN", "STR", "INT"}
    assert {"N", "X", "PATH", "RULE", "FORMAT", "MASKS", "BUNDLE", "DEVICE"} <= values


@pytest.mark.parametrize("option", MEANINGS)
def test_an_option_means_the_same_in_every_command(option: str) -> None:
    helps = {name: one.help for name, found, one in OPTIONS if found == option}
    assert helps
    wanted = MEANINGS[option].split("|")
    assert [name for name, text in helps.items() if not any(one in text for one in wanted)] == []


def test_a_bundle_is_an_argument_and_called_one() -> None:
    """Options that name a bundle say what for: `--segmenter`, `--reference`."""
    assert "--bundle" not in {option for _, option, _ in OPTIONS}
    named = {
        name: one.metavar
        for name, command in ALL.items()
        for one in command.params
        if one.param_type_name == "argument" and one.name in ("bundle", "bundles")
    }
    assert set(named.values()) == {"BUNDLE"}
    first = "bundle inspect, bundle pack, bundle upgrade, verify, classify, segment, plan, watch, benchmark run, choose"
    assert set(named) == {*first.split(", "), "merge"}
    for name in first.split(", "):
        assert ALL[name].params[0].metavar == "BUNDLE", name


def test_comma_lists_are_said_so() -> None:
    for name, option, one in OPTIONS:
        if option in ("--format", "--masks", "--batch-sizes", "--scenario"):
            assert "joined by commas" in (one.help or ""), (name, option)


def test_a_default_that_help_explains_is_called_one() -> None:
    """`[default: …]` behind the sentence, as Typer writes those that it knows."""
    for name, option, one in OPTIONS:
        _, bracket, rest = (one.help or "").partition(" [")
        assert not bracket or rest.startswith(("default: ", "thesis: ")), (name, option)


def test_every_option_has_a_sentence() -> None:
    assert [(name, option) for name, option, one in OPTIONS if not one.help] == []


def test_watch_says_that_its_arguments_are_swapped(tmp_path: Path) -> None:
    for folder in ("inbox", "bundle"):
        (tmp_path / folder).mkdir()
    for name in ("manifest.json", "manifest.sha256"):
        (tmp_path / "bundle" / name).touch()
    arguments = ["watch", str(tmp_path / "inbox"), str(tmp_path / "bundle"), "--out", str(tmp_path / "out")]
    with pytest.raises(Exception, match=r"BUNDLE and INBOX are swapped\. Fix: the bundle comes first, then INBOX"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
