"""`classify --report`, `--segmenter` and `report`: what is written, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from folder_runs import SIZE
from lits_deploy import DISCLAIMER
from lits_deploy.bundle import Bundle
from lits_deploy.cli.app import app
from lits_deploy.errors import ContractError, OutputError, UserError
from lits_deploy.pipeline.context import RunHooks
from pictures import folder_of_slices
from tiny_bundle import make_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"), size=SIZE, crop=56, cam=True)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    return folder_of_slices(tmp_path / "scans", 6, size=SIZE)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_run_writes_a_report_and_the_command_draws_it_again(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("classify", bundle.folder, scans, "--out", out)
    assert done.exit_code == 0, done.output
    assert f"→ {out}/report.html" in done.output
    page = (out / "report.html").read_bytes()
    assert b"<figure>" in page
    (out / "report.html").unlink()
    done = run("report", out, "--format", "parquet")
    assert done.exit_code == 0, done.output
    assert (out / "report.html").read_bytes() == page
    assert (out / "studies.parquet").exists()
    assert DISCLAIMER in done.output


def test_without_report_there_is_none(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("classify", bundle.folder, scans, "--out", out, "--no-report").exit_code == 0
    assert not (out / "report.html").exists()
    assert run("report", out).exit_code == 0
    assert "No pictures were made in this run." in (out / "report.html").read_text()


def test_without_report_the_one_that_is_there_keeps_its_pictures_and_is_said_to_be_old(
    bundle: Bundle, scans: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run("classify", bundle.folder, scans, "--out", out).exit_code == 0
    page = (out / "report.html").read_bytes()
    assert b"<figure>" in page
    again = run("classify", bundle.folder, scans, "--out", out, "--no-report")
    assert "earlier state" not in again.output, "nothing has changed"
    folder_of_slices(scans, 9, size=SIZE)
    more = run("classify", bundle.folder, scans, "--out", out, "--no-report")
    assert more.exit_code == 0
    text = " ".join(more.output.split())
    assert f"report.html shows an earlier state: --no-report does not update it. Fix: lits-deploy report {out}" in text
    assert (out / "report.html").read_bytes() == page
    assert run("classify", bundle.folder, scans, "--out", out, "--no-report", "--overwrite").exit_code == 0
    assert not (out / "report.html").exists(), "dropped with the results that it showed, and not written again"


def test_a_watch_without_report_leaves_the_one_that_is_there_alone(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finishes: list[object] = []

    def watched(*_: object, hooks: RunHooks, **__: object) -> SimpleNamespace:
        finishes.append(hooks.finish)
        return SimpleNamespace(stopped=False)

    monkeypatch.setattr("lits_deploy.watch.service.watch_folder", watched)
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.html").write_text("earlier")
    with_it = run("watch", bundle.folder, tmp_path, "--out", out)
    without = run("watch", bundle.folder, tmp_path, "--out", out, "--no-report")
    assert [finish is None for finish in finishes] == [False, True]
    note = f"--no-report does not update {out}/report.html; lits-deploy report {out} does"
    assert note in " ".join(without.output.split())
    assert note not in " ".join(with_it.output.split())


def test_what_cannot_be_done_is_refused_before_the_run(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    other = make_tiny_bundle(tmp_path / "unet", task="segment", size=SIZE, crop=None, window_hu=(-100.0, 400.0))
    out = tmp_path / "out"
    for arguments, error, says in (
        (("--segmenter", other.folder), ContractError, "sees slices otherwise"),
        (("--segmenter", other.folder, "--no-report"), UserError, "draws into the report"),
        (("--segmenter", tmp_path / "none"), UserError, "There is no"),
    ):
        done = run("classify", bundle.folder, scans, "--out", out, *arguments)
        assert isinstance(done.exception, error), done.output
        assert says in str(done.exception)
        assert not out.exists()


def test_report_says_what_it_needs(tmp_path: Path) -> None:
    done = run("report", tmp_path)
    assert isinstance(done.exception, OutputError)
    assert "holds no ledger.sqlite" in str(done.exception)
    done = run("report", tmp_path, "--format", "xlsx")
    assert "`xlsx` is not a result format" in str(done.exception)
    (tmp_path / "ledger.sqlite").write_bytes(b"no database at all, but long enough to be looked at" * 20)
    assert isinstance(run("report", tmp_path).exception, OutputError)
