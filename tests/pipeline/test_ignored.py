"""Acknowledged failures: rows as before, no news, kept in OUT, and never as a name where names are hashed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from folder_runs import SALT, SIZE, classify, outcome, rows, tricks
from lits_deploy.bundle import Bundle
from lits_deploy.cli.app import app
from pictures import folder_of_slices
from tiny_bundle import make_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"), size=SIZE, crop=56)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    tricks(tmp_path / "scans/1234567", bad="no such thing", worse="raise")
    return tricks(tmp_path / "scans", good="grey 3", bad="no such thing")


def test_a_pattern_is_kept_and_later_failures_are_news(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert (classify(bundle, scans, out).acknowledged, classify(bundle, scans, out).news) == (0, 3)
    before = rows(out)
    summary = classify(bundle, scans, out, ignore=("1234567/*",))
    assert (summary.failed, summary.acknowledged, summary.news) == (3, 2, 1)
    assert rows(out) == before
    assert classify(bundle, scans, out).news == 1
    assert classify(bundle, scans, out, ignore=("bad.*",)).news == 0
    tricks(scans / "1234567/deep", new="no such thing")
    tricks(scans, new="no such thing")
    summary = classify(bundle, scans, out)
    assert (summary.failed, summary.news) == (5, 1)  # `*` matches `/`, too
    record = json.loads((out / "run.json").read_text())
    assert record["ignored"]["patterns"] == ["1234567/*", "bad.*"]
    assert (record["counts"]["failed"], record["counts"]["acknowledged"]) == (5, 4)
    summary = classify(bundle, scans, out, ignore_none=True, ignore=("new.test", "nothing"))
    assert summary.news == 4
    assert summary.warnings == ("Number 2 of the patterns to ignore matches no failed file.",)
    assert classify(bundle, scans, out).news == 4


def test_where_paths_are_hashed_no_pattern_is_kept_but_what_it_matched_is(
    bundle: Bundle, scans: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for ignore in (("1234567/*",), ()):
        assert classify(bundle, scans, out, pseudonymous=True, ignore=ignore).news == 1
        for path in out.iterdir():
            assert b"1234567" not in path.read_bytes(), path.name
    tricks(scans / "1234567", new="no such thing")
    assert classify(bundle, scans, out, pseudonymous=True).news == 2
    assert classify(bundle, scans, out, pseudonymous=True, ignore=("*/new.*",)).news == 1
    assert classify(bundle, scans, out, pseudonymous=True, ignore_none=True).news == 4


def test_the_command_exits_1_for_news_alone(bundle: Bundle, tmp_path: Path) -> None:
    scans, out = folder_of_slices(tmp_path / "scans", 2, size=SIZE), tmp_path / "out"
    (scans / "bad.png").write_bytes(b"")
    arguments = ["classify", str(bundle.folder), str(scans), "--out", str(out), "--salt", SALT, "--no-report"]
    assert CliRunner().invoke(app, arguments).exit_code == 1
    done = CliRunner().invoke(app, [*arguments, "--ignore", "*.txt", "--ignore", "bad.png"])
    assert done.exit_code == 0
    assert "1 of them are acknowledged" in done.output
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert outcome(out)["bad.png"] == "the file is empty"
    (scans / "news.png").write_bytes(b"")
    assert CliRunner().invoke(app, arguments).exit_code == 1
