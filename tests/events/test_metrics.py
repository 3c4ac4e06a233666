"""The file of metrics: its format, what outlives a failure, who may read it, and what is never overwritten."""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lits_deploy import exits
from lits_deploy.errors import OutputError
from lits_deploy.events.emit import QUEUE, RUN, STUDY
from lits_deploy.events.metrics import END, HEARTBEAT, MARK, METRICS, START, MetricsFile

A_RUN: dict[str, Any] = {
    "files": {"done": 5, "missing": 1, "added": 6, "removed": 2},
    "classes": {"no liver": 3, 'a "class" \\ \n': 1},
    "abstained": 1,
    "excluded": 4,
    "failed": 3,
    "acknowledged": 2,
    "now": 5,
    "per_second": 12.5,
    "seconds": 2.0,
    "stages": {"decode_s": 0.25, "infer_s": 1e-05},
}
SAMPLE = re.compile(r'lits_deploy_([a-z_]+)\{(\w+="(?:[^"\\\n]|\\["\\n])*"(?:,\w+="(?:[^"\\\n]|\\["\\n])*")*)\} (\S+)')


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lits.prom"


@pytest.fixture
def at() -> Callable[..., None]:
    def tell(metrics: MetricsFile, event: str, when: float, **figures: Any) -> None:
        record = logging.LogRecord("lits_deploy", logging.INFO, "", 0, "", None, None)
        vars(record).update(event=event, figures=figures, created=when)
        metrics.handle(record)

    return tell


def samples(path: Path) -> dict[tuple[str, str], float]:
    """Name and labels → value; every line is one that Prometheus takes."""
    found, said = {}, dict[str, list[str]]()
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            if line != MARK:
                kind, name, text = line[2:].split(" ", 2)
                said.setdefault(name, []).append(f"{kind} {text}")
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample is not None, line
        name, labels, value = sample.groups()
        assert said[f"lits_deploy_{name}"] == [f"HELP {METRICS[name]}", "TYPE gauge"]
        assert (name, labels) not in found
        found[name, labels] = float(value)
    return found


def of(path: Path, command: str = "classify") -> dict[str, float]:
    """The metrics that have no label of their own."""
    return {name: value for (name, labels), value in samples(path).items() if labels == f'command="{command}"'}


def test_start_heartbeat_run_and_end(path: Path, at: Callable[..., None]) -> None:
    metrics = MetricsFile(path, "classify")
    at(metrics, START, 1000.0)
    assert of(path) == {
        "running": 1,
        "last_start_timestamp_seconds": 1000,
        "heartbeat_timestamp_seconds": 1000,
    }
    at(metrics, HEARTBEAT, 1060.5, phase="files", done=3, total=9, failed=1, per_second=4.5, unit="slices")
    found = samples(path)
    assert found["progress_per_second", 'command="classify",unit="slices"'] == 4.5
    values = of(path)
    assert [values[f"progress_{name}"] for name in ("done", "total", "failed")] == [3, 9, 1]
    assert values["heartbeat_timestamp_seconds"] == 1060.5
    at(metrics, HEARTBEAT, 1120.0, phase="tables")
    assert not {name for name, _ in samples(path) if name.startswith("progress")}, "they were of another phase"
    at(metrics, RUN, 1130.0, **A_RUN)
    at(metrics, END, 1140.0, exit_code=exits.SOME_FAILED)
    found, values = samples(path), of(path)
    assert (values["running"], values["last_exit_code"]) == (0, 1)
    assert values["last_end_timestamp_seconds"] == values["last_success_timestamp_seconds"] == 1140
    assert (values["run_slices"], values["run_slices_per_second"], values["run_seconds"]) == (5, 12.5, 2)
    labels = {(name, labels.removeprefix('command="classify",')): value for (name, labels), value in found.items()}
    assert labels["slices", 'status="ok",class="no liver"'] == 3
    assert labels["slices", 'status="ok",class="a \\"class\\" \\\\ \\\\x0a"'] == 1
    assert labels["slices", 'status="excluded",class=""'] == 4
    assert labels["failed_rows", 'acknowledged="no"'] == 1
    assert labels["failed_rows", 'acknowledged="yes"'] == 2
    assert labels["files", 'state="removed"'] == 2
    assert labels["stage_seconds", 'stage="decode"'] == 0.25
    assert labels["stage_seconds", 'stage="infer"'] == 0
    assert not list(path.parent.glob(".*")), "nothing is left beside it"


def test_another_run_drops_the_classes_of_the_one_before(path: Path, at: Callable[..., None]) -> None:
    metrics = MetricsFile(path, "watch")
    at(metrics, RUN, 1.0, **A_RUN)
    at(metrics, RUN, 2.0, **{**A_RUN, "classes": {"liver": 2}})
    assert [labels for name, labels in samples(path) if name == "slices" and '"ok"' in labels] == [
        'command="watch",status="ok",class="liver"'
    ]


def test_the_queue_of_an_inbox(path: Path, at: Callable[..., None]) -> None:
    metrics = MetricsFile(path, "watch")
    at(metrics, QUEUE, 1.0, all=3, to_do=2, set_aside=1, failures=4)
    at(metrics, STUDY, 2.0, study="abc", slices=3)
    assert not path.exists(), "written at heartbeats"
    at(metrics, HEARTBEAT, 3.0)
    found = samples(path)
    assert [found["inbox_entries", f'command="watch",state="{state}"'] for state in ("all", "to_do", "set_aside")] == [
        3,
        2,
        1,
    ]
    assert (of(path, "watch")["inbox_failures"], of(path, "watch")["last_study_timestamp_seconds"]) == (4, 2)


@pytest.mark.parametrize("code", [exits.USER_ERROR, exits.BUNDLE_FAILS, exits.BUG, 130, 143])
def test_the_last_success_outlives_a_failure_and_a_kill(path: Path, at: Callable[..., None], code: int) -> None:
    first = MetricsFile(path, "classify")
    at(first, START, 1.0)
    at(first, RUN, 1.5, **A_RUN)
    at(first, END, 2.25, exit_code=exits.SOME_FAILED_UNATTENDED)
    failed = MetricsFile(path, "classify")
    at(failed, START, 3.0)
    values = of(path)
    assert (values["last_success_timestamp_seconds"], values["last_exit_code"], values["running"]) == (2.25, 4, 1)
    assert "run_slices" not in values, "of the run before"
    at(failed, END, 4.0, exit_code=code)
    values = of(path)
    assert (values["last_success_timestamp_seconds"], values["last_exit_code"]) == (2.25, code)
    assert values["last_end_timestamp_seconds"] == 4
    at(MetricsFile(path, "classify"), START, 5.0)  # and is killed
    values = of(path)
    assert (values["running"], values["last_success_timestamp_seconds"], values["last_exit_code"]) == (1, 2.25, code)


def test_others_may_read_it_whatever_the_umask(path: Path, at: Callable[..., None]) -> None:
    before = os.umask(0o077)
    try:
        at(MetricsFile(path, "classify"), START, 1.0)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_what_a_killed_process_left_does_not_keep_it_from_writing(path: Path, at: Callable[..., None]) -> None:
    path.with_name(f".{path.name}.{os.getpid()}.tmp").write_text("half")
    at(MetricsFile(path, "classify"), START, 1.0)
    assert of(path)["running"] == 1
    assert not list(path.parent.glob(".*"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("root:x:0:0", "it holds something else"),
        (f'{MARK}\nlits_deploy_info{{command="verify",version="1"}} 1\n', "it is that of `verify`"),
    ],
)
def test_a_file_of_others_is_not_overwritten(path: Path, text: str, says: str) -> None:
    path.write_text(text)
    with pytest.raises(OutputError, match=rf"{says}\. Fix: name another file, one for each command"):
        MetricsFile(path, "classify")
    assert path.read_text() == text


def test_where_it_cannot_be_written_is_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("elsewhere")
    for name, says in (("none/m", "is no folder that this user may write to"), ("link", ""), (".", "")):
        with pytest.raises(OutputError, match=f"cannot be written: .*{says}"):
            MetricsFile(tmp_path / name, "classify")


def test_a_damaged_number_is_not_taken_over(path: Path, at: Callable[..., None]) -> None:
    path.write_text(f'{MARK}\nlits_deploy_last_exit_code{{command="classify"}} x\n')
    at(MetricsFile(path, "classify"), START, 1.0)
    assert "last_exit_code" not in of(path)


def test_a_disk_that_fills_up_is_reported_once_and_ends_nothing(
    path: Path, at: Callable[..., None], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = MetricsFile(path, "classify")
    at(metrics, START, 1.0)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for when in (2.0, 3.0):
        at(metrics, HEARTBEAT, when)
    assert [record.getMessage() for record in caplog.records] == [
        "The metrics cannot be written (No space left on device)."
    ]
    assert of(path)["heartbeat_timestamp_seconds"] == 1, "whole, as it was"
    assert not list(path.parent.glob(".*"))
