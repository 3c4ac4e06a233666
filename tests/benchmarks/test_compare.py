"""Before and after: what counts as worse, rows that vanish, two machines."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmark_documents import document, row
from benchmarks.compare import Limits, compare
from lits_deploy.cli.app import app
from lits_deploy.errors import DataError, UserError

runner = CliRunner()


def test_equal_documents_pass() -> None:
    one = document(row(1), row(8))
    found = compare(one, copy.deepcopy(one))
    assert found.passed
    assert {change.worse for change in found.changes} == {0.0}
    assert found.notes == []


@pytest.mark.parametrize(
    ("changes", "figure"),
    [
        ({"slices_per_second": 89.0}, "slices/s"),
        ({"latency_ms": {"p50": 11.2, "p90": 11.0, "p99": None}}, "p50 ms"),
        ({"accuracy": 0.79}, "accuracy"),
        ({"size_mb": 45.0}, "size MB"),
        ({"cold": {"load_s": 0.3, "first_ms": 20.0, "peak_mb": 230.0}}, "peak MB"),
    ],
)
def test_one_figure_beyond_its_limit_fails(changes: dict[str, Any], figure: str) -> None:
    found = compare(document(row(1)), document(row(1, **changes)))
    assert [change.figure for change in found.regressions] == [figure]
    assert not found.passed


def test_better_and_within_limits_pass_and_limits_can_be_moved() -> None:
    better = row(1, slices_per_second=150.0, accuracy=0.9, latency_ms={"p50": 5.0, "p90": 6.0, "p99": 7.0})
    assert compare(document(row(1)), document(better)).passed
    slower = document(row(1, slices_per_second=80.0))
    assert not compare(document(row(1)), slower).passed
    assert compare(document(row(1)), slower, Limits(throughput=0.25)).passed


def test_a_lost_or_failed_row_is_a_regression_and_a_new_one_is_not() -> None:
    found = compare(document(row(1), row(8)), document(row(1), row(32)))
    assert found.gone == ["onnxruntime 1 fp32, batch 8: missing"]
    assert found.new == ["onnxruntime 1 fp32, batch 32"]
    assert not found.passed
    assert not compare(document(row(1)), document(row(1, error="out of memory"))).passed
    assert compare(document(row(1), row(8, error="was broken")), document(row(1))).passed


def test_server_rows_count_by_their_rate_alone() -> None:
    served = {"scenario": "server", "latency_ms": {"p50": 50.0}, "most_rate": 120.0}
    slower = compare(document(row(8, **served)), document(row(8, **{**served, "latency_ms": {"p50": 99.0}})))
    assert slower.passed
    assert not compare(document(row(8, **served)), document(row(8, **served, slices_per_second=80.0))).passed


def test_what_differs_is_noted() -> None:
    other = document(row(1), bundle={"sha256": "b" * 64}, notes=["the machine was not idle: load average 3"])
    other["machine"] = {**other["machine"], "processor": "Q", "libraries": {"numpy": "3"}}
    notes = compare(document(row(1)), other).notes
    assert notes == [
        "another machine: processor P before, Q after", "numpy 2 before, 3 after",
        "another bundle: aaaaaaaaaaaa before, bbbbbbbbbbbb after", "after: the machine was not idle: load average 3",
    ]  # fmt: skip


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "benchmark.json").write_text(json.dumps(document(row(1), row(8))))
    (tmp_path / "b.json").write_text(json.dumps(document(row(1, slices_per_second=50.0), row(8))))
    call = ["benchmark", "compare", str(tmp_path / "a"), str(tmp_path / "b.json")]
    done = runner.invoke(app, call, catch_exceptions=False)
    assert done.exit_code == 1
    assert "REGRESSION" in done.output
    assert "-50.0 %" in done.output
    assert "1 worse than they may be" in done.output
    done = runner.invoke(app, [*call, "--throughput", "60", "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    assert json.loads(done.output)["passed"] is True
    moved = document(row(1))
    moved["machine"] = {**moved["machine"], "processor": "Q"}
    (tmp_path / "c.json").write_text(json.dumps(moved))
    call[-1] = str(tmp_path / "c.json")
    with pytest.raises(UserError, match="two machines"):
        runner.invoke(app, call, catch_exceptions=False)
    assert runner.invoke(app, [*call, "--across-machines"], catch_exceptions=False).exit_code == 1  # batch 8 is missing
    (tmp_path / "old.json").write_text(json.dumps({"schema": 1, "rows": []}))
    with pytest.raises(DataError, match="schema 1"):
        runner.invoke(app, [*call[:3], str(tmp_path / "old.json")], catch_exceptions=False)
