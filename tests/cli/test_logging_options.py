"""The options of logs and metrics, as they are typed: what is told of each end, and what never is."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from folder_runs import SIZE, answered
from lits_deploy import exits
from lits_deploy.bundle import Bundle
from lits_deploy.cli import console, logging_options
from lits_deploy.cli.app import COMMANDS, app
from lits_deploy.errors import OutputError
from lits_deploy.events.progress import ProgressFigures
from lits_deploy.events.session import CommandSession, ReportingOptions, current
from lits_deploy.printable import say_error
from pictures import folder_of_slices
from tiny_bundle import make_tiny_bundle

LONG = 60.0  # seconds until a test gives up
OPTIONS = ("--verbose", "--quiet", "--log-format", "--log-file", "--metrics")
WITHOUT = {"models", "bundle", "bundle inspect", "doctor"}
"""Commands that take seconds, and say what they find."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"), size=SIZE, crop=56)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    return folder_of_slices(tmp_path / "Miller^Hans", 6, size=SIZE)


def run(*arguments: object, code: int = 0, plant: str = "") -> subprocess.CompletedProcess[str]:
    program = f"import sys\nsys.argv[1:] = {[*map(str, arguments)]!r}\n{plant}\n"
    program += "from lits_deploy.__main__ import main\nmain()\n"
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == code, done.stderr
    return done


def metrics_of(path: Path) -> dict[str, float]:
    """Metrics without labels of their own."""
    lines = path.read_text().splitlines()
    pairs = (line.split('{command="classify"} ') for line in lines if '{command="classify"} ' in line)
    return {name.removeprefix("lits_deploy_"): float(value) for name, value in pairs}


@pytest.mark.parametrize(
    "command",
    [*COMMANDS, "data prepare", "data phantom", "data check", "reproduce table6", "bundle pair", "bundle inspect"],
)
def test_every_long_command_has_them_in_a_group_of_its_help(command: str) -> None:
    text = CliRunner().invoke(app, [*command.split(), "--help"]).output
    usual, title, group = text.partition("\nLogs and metrics:\n")
    assert bool(title) == (command not in WITHOUT | {"data", "reproduce"})
    if title:
        assert all(f" {option} " in group.replace(",", " ") for option in OPTIONS)
        assert not [option for option in OPTIONS if f" {option} " in usual]


def test_as_json_standard_error_is_events_alone_and_names_no_scan(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    (scans / "study-0" / "empty.png").write_bytes(b"")
    log, out = tmp_path / "log", tmp_path / "out"
    options = ["classify", bundle.folder, scans, "--out", out, "--log-format", "json", "--log-file", log, "-v"]
    done = run(*options, code=1)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert events == [json.loads(line) for line in log.read_text().splitlines()]
    names = [event["event"] for event in events]
    assert (names[0], names[-2:]) == ("start", ["run", "end"])
    phases = [event["phase"] for event in events if event["event"] == "phase"]
    assert phases == ["discover", "load", "series", "files", "tables", "pictures"]
    assert (events[-2]["slices"], events[-2]["failed"], events[-2]["files"]["added"]) == (6, 1, 7)
    assert set(events[-2]["stages"]) >= {"discover_s", "decode_s", "infer_s", "write_s"}
    assert events[-1]["exit_code"] == exits.SOME_FAILED
    assert [events[-1][name] for name in ("slices", "failed", "excluded", "abstained")] == [6, 1, 0, 0]
    assert "Miller" not in done.stderr
    assert "slice" not in "".join(name for event in events for name in map(str, event.values()) if "/" in name)
    assert "6 slices in" in done.stdout, "the result stays what it is"


def test_without_a_terminal_a_person_sees_heartbeats_and_nothing_more(bundle: Bundle, tmp_path: Path) -> None:
    scans = folder_of_slices(tmp_path / "Miller", 300, size=SIZE)
    options = ["classify", bundle.folder, scans, "--out", tmp_path / "out", "--batch-size", 1]
    done = run(*options, plant="import lits_deploy.events.session as events\nevents.EVERY_S = 0.1")
    beat = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ info classify heartbeat (?:\w+=\S+ )*seconds=[\d.e+]+")
    lines = done.stderr.splitlines()
    assert [line for line in lines if not beat.fullmatch(line)] == []
    assert [line for line in lines if " phase=files what=classify done=" in line and " total=300 failed=0 " in line]
    assert "Miller" not in done.stderr


def test_each_end_is_in_the_metrics_and_the_last_success_stays(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "m.prom", tmp_path / "out"
    options = ["classify", bundle.folder, scans, "--out", out, "--metrics", path]
    assert run(*options).stderr == ""
    first = metrics_of(path)
    assert (first["last_exit_code"], first["running"], first["run_slices"]) == (exits.DONE, 0, 6)

    def ended(code: int, *arguments: object, plant: str = "") -> str:
        said = run(*(arguments or options), code=code, plant=plant).stderr
        values = metrics_of(path)
        assert (values["last_exit_code"], values["running"]) == (code, 0)
        assert values["last_success_timestamp_seconds"] == first["last_success_timestamp_seconds"]
        assert values["last_end_timestamp_seconds"] > first["last_end_timestamp_seconds"]
        return said

    other = ["classify", bundle.folder, tmp_path / "none", "--out", out, "--metrics", path]
    assert ended(exits.USER_ERROR, *other).startswith("error: There is no ")
    fault = "import lits_deploy.pipeline.run as module\nmodule.discover = lambda run: 1 / 0"
    assert "Traceback" in ended(exits.BUG, plant=fault)
    fault = "import lits_deploy.pipeline.run as module\ndef stop(run): raise KeyboardInterrupt\nmodule.discover = stop"
    assert ended(130, plant=fault) == "stopped\n"
    log = tmp_path / "log"
    fault = "import lits_deploy.pipeline.run as module\nmodule.discover = lambda run: {}['Miller']"
    said = ended(exits.BUG, *options, "--log-format", "json", "--log-file", log, plant=fault)
    assert "Miller" not in said + log.read_text(), "a key error quotes the key"
    bug = next(event for event in map(json.loads, said.splitlines()) if event["event"] == "bug")
    assert any(line.startswith("run.py:") for line in bug["traceback"])


@pytest.mark.parametrize(("numbers", "code"), [([signal.SIGTERM], 143), ([signal.SIGHUP, signal.SIGINT], 130)])
def test_signals_are_in_the_metrics_a_second_one_too_and_a_kill_shows(
    bundle: Bundle, tmp_path: Path, numbers: list[signal.Signals], code: int
) -> None:
    scans, out, path = folder_of_slices(tmp_path / "scans", 2000, size=SIZE), tmp_path / "out", tmp_path / "m.prom"
    log = tmp_path / "log"
    options = ["classify", bundle.folder, scans, "--out", out, "--batch-size", 1, "--metrics", path, "--log-file", log]
    command = [sys.executable, "-m", "lits_deploy", *map(str, options)]

    def started() -> subprocess.Popen[bytes]:
        before = answered(out)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + LONG
        while answered(out) <= before and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        assert metrics_of(path)["running"] == 1
        return process

    process = started()
    for number in numbers:
        process.send_signal(number)
    assert process.wait(LONG) == code
    values = metrics_of(path)
    assert (values["running"], values["last_exit_code"]) == (0, code)
    assert "last_success_timestamp_seconds" not in values
    assert f" end exit_code={code} " in log.read_text()

    process = started()
    process.kill()
    process.wait(LONG)
    killed = metrics_of(path)
    assert (killed["running"], killed["last_exit_code"]) == (1, code)
    assert killed["last_start_timestamp_seconds"] > killed["last_end_timestamp_seconds"]


def test_verbose_and_quiet_exclude_each_other_and_quiet_says_no_warning(
    bundle: Bundle, scans: Path, tmp_path: Path
) -> None:
    options = ["classify", bundle.folder, scans, "--out", tmp_path / "out"]
    assert "exclude each other. Fix: give one of them" in run(*options, "-v", "-q", code=2).stderr
    (tmp_path / "out").mkdir(mode=0o755)
    assert run(*options, "-q").stderr == ""
    assert "other users may list it" in run(*options).stderr


def test_no_log_lies_where_every_file_counts(bundle: Bundle, tmp_path: Path) -> None:
    logging_options._check_folders(tmp_path / "log", None, {"bundle": "s3://bucket/bundle"})
    with pytest.raises(OutputError):
        logging_options._check_folders(None, tmp_path / "a" / "b" / "m", {"bundle": str(tmp_path / "a")})
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for option in ("--log-file", "--metrics"):
        options = ["watch", bundle.folder, inbox, "--out", tmp_path / "out", option]
        assert f"lies in the inbox. Fix: {option} elsewhere" in run(*options, inbox / "x", code=2).stderr
        assert "lies in the bundle" in run(*options, bundle.folder / "x", code=2).stderr
        options = ["classify", bundle.folder, tmp_path / "none", inbox, "--out", tmp_path / "out", option]
        assert f"lies in the scans. Fix: {option} elsewhere" in run(*options, inbox / "x", code=2).stderr
        assert not list(inbox.iterdir())


@pytest.mark.parametrize("identify", [[], ["--identify"]])
@pytest.mark.parametrize("name", ["John Miller", 'Miller\'s "1"\n%4d', "Mi\u200bller"])
def test_no_log_names_what_an_error_names_to_a_person(
    bundle: Bundle, tmp_path: Path, name: str, identify: list[str]
) -> None:
    missing, log = tmp_path / name / "Miller 2.zip", tmp_path / "log"
    options = ["classify", bundle.folder, missing, "--out", tmp_path / "out", *identify]
    assert run(*options, code=2).stderr.startswith("error: There is no ")
    said = run(*options, "--log-format", "text", "--log-file", log, code=2).stderr
    for text in (said, log.read_text()):
        assert " There is no {what}. Fix: check the path of the scans kind=UserError " in text
        assert "ller" not in text
    swapped = ["classify", tmp_path / name, bundle.folder, "--out", tmp_path / "out", *identify]
    said = run(*swapped, "--log-format", "json", code=2).stderr
    error = next(event for event in map(json.loads, said.splitlines()) if event["event"] == "error")
    assert error["kind"] == "BundleError"
    assert error["message"] == "There is no {folder}. Fix: check the path of the bundle"
    assert "ller" not in said


def test_a_bundle_that_does_not_hold_is_an_error_in_the_log(tmp_path: Path) -> None:
    altered = make_tiny_bundle(tmp_path / "bundle", size=SIZE, crop=56)
    (model := next(altered.folder.glob("*.onnx"))).write_bytes(model.read_bytes() + b"x")
    done = run("verify", altered.folder, "--log-format", "json", code=exits.BUNDLE_FAILS)
    error = json.loads(done.stderr.splitlines()[1])
    assert (error["event"], error["level"], error["files"], error["checks"]) == ("error", "error", 1, [])
    assert error["message"] == "This bundle must not be used here. Fix: copy it again, or export it again."
    assert run("verify", altered.folder, code=exits.BUNDLE_FAILS).stderr == "", "a person reads it among the results"


def test_of_several_processes_of_a_training_one_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = []

    @logging_options.reported("train")
    def command() -> None:
        sessions.append(current())

    for rank, size, speaks in ((None, None, True), ("0", "2", True), ("1", "2", False), ("3", None, True)):
        for name, value in (("RANK", rank), ("WORLD_SIZE", size)):
            monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
        command(verbose=False, quiet=False, log_format=None, log_file=None, metrics=None)
        assert (sessions.pop() is not None) == speaks


def test_a_bar_tells_heartbeats_how_far_it_is_drawn_or_not() -> None:
    lines: list[str] = []
    with CommandSession("scan", ReportingOptions(log_format="json"), show=lines.append) as session:
        with console.bar("scan", "files") as show:
            session.beat()
            show(3, 12)
            session.beat()
        with console.phase_bar() as drawn:
            session.beat()
            drawn.add_task("engine fp16", total=1.0, phase="timing")
            session.beat()
        session.beat()
    first, second, none, phase, last = (record for record in map(json.loads, lines) if record["event"] == "heartbeat")
    assert (first["what"], first["done"], first["unit"]) == ("scan", 0, "files")
    assert (second["done"], second["total"]) == (3, 12)
    assert second["per_second"] > 0
    assert (phase["what"], phase["note"]) == ("engine fp16", "timing")
    assert "what" not in none
    assert "what" not in last


@pytest.mark.parametrize(("asked", "drawn"), [({}, True), ({"quiet": True}, False), ({"log_format": "text"}, False)])
def test_on_a_terminal_a_bar_is_drawn_unless_lines_are_asked_for(
    asked: dict[str, Any], drawn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CommandSession("scan", ReportingOptions(**asked), show=lambda _: None, terminal=True):
        assert console.progress_bar().disable is not drawn
    terminal = console.Plain(file=Console().file, force_terminal=True)
    monkeypatch.setattr(console, "errors", terminal)
    assert not console.progress_bar().disable, "without a session as ever"


def test_lines_for_the_user_go_to_standard_error_and_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for tell, prefix in ((console.note, ""), (console.warn, "warning: "), (console.complain, "error: ")):
        tell("text")
        assert capsys.readouterr().err == f"{prefix}text\n"
    with CommandSession("plan", ReportingOptions(log_file=tmp_path / "log"), show=say_error):
        console.note("one")
        console.warn("two")
        console.complain("three")
    assert capsys.readouterr().err == "one\nwarning: two\nerror: three\n"
    lines = [line.split(" ", 1)[1] for line in (tmp_path / "log").read_text().splitlines()]
    assert lines[1:-1] == ["info plan note one", "warning plan two", "error plan three"]


def test_figures_that_are_not_known_are_left_out() -> None:
    assert ProgressFigures(what="x", done=0, failed=0, more={"inbox_all": 2}).known() == {
        "what": "x",
        "done": 0,
        "failed": 0,
        "inbox_all": 2,
    }


def test_options_of_a_panel_come_after_the_others_in_help() -> None:
    from lits_deploy.cli.lazy import Panelled

    small = typer.Typer(rich_markup_mode=None, add_completion=False)

    @small.command(cls=Panelled)
    def one(x: int = typer.Option(1, rich_help_panel="More"), y: int = 2, z: str = typer.Argument("z")) -> None:
        """Help."""

    text = CliRunner().invoke(small, ["--help"]).output
    assert (
        text.index("Arguments:") < text.index("Options:") < text.index("--y") < text.index("More:") < text.index("--x")
    )
