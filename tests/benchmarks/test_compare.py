"""Before and after: what counts as worse, rows that vanish, two machines."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmark_documents import document, row
from benchmarks.compare import ChangeLimits, compare
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
    assert compare(document(row(1)), slower, ChangeLimits(throughput=0.25)).passed


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
        "another machine: processor P before, Q after",
        "numpy 2 before, 3 after",
        "another bundle: aaaaaaaaaaaa before, bbbbbbbbbbbb after",
        "after: the machine was not idle: load average 3",
    ]


def test_accuracies_of_two_test_sets_are_not_compared() -> None:
    other = document(row(1, accuracy=0.6), data={"line": "d", "test_set_sha256": "e" * 64})
    found = compare(document(row(1)), other)
    assert found.test_sets == "different"
    assert found.passed
    assert not any("accuracy" in change.figure for change in found.changes)
    assert "two test sets: d (test set dddddddddddd) before, d (test set eeeeeeeeeeee) after" in found.notes
    renamed = document(row(1, accuracy=0.6), data={"line": "moved", "test_set_sha256": "d" * 64})
    assert compare(document(row(1)), renamed).regressions, "the same slices in another folder"
    silent = [document(row(1, accuracy=None), data={"line": line, "test_set_sha256": line}) for line in "de"]
    assert compare(*silent).test_sets == "same", "there is no accuracy to mislead"
    assert compare(*silent).notes == ["other slices: d before, e after"]


@pytest.mark.parametrize("recorded", [(), ("before",), ("after",)])
def test_a_test_set_that_is_not_recorded_is_marked_in_the_figure(recorded: tuple[str, ...]) -> None:
    def of(when: str, line: str = "d") -> dict[str, Any]:
        known = {"test_set_sha256": "d" * 64} if when in recorded else {}
        return document(row(1, accuracy=0.8 if when == "before" else 0.6), data={"line": line, **known})

    found = compare(of("before"), of("after"))
    assert found.test_sets == "not recorded"
    assert [change.figure for change in found.regressions] == ["accuracy (test set not recorded)"]
    assert any(note.startswith("test set not recorded: whether") for note in found.notes)
    assert compare(of("before"), of("after", line="other")).test_sets == "different", "lines that differ are proof"


def test_the_command_refuses_two_test_sets_unless_told(tmp_path: Path) -> None:
    other = document(row(1, accuracy=0.6), data={"line": "d", "test_set_sha256": "e" * 64})
    for name, values in (("a", document(row(1))), ("b", other)):
        (tmp_path / f"{name}.json").write_text(json.dumps(values))
    call = ["benchmark", "compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    with pytest.raises(UserError, match=r"accuracies cannot be compared \(two test sets: .*--across-test-sets"):
        runner.invoke(app, call, catch_exceptions=False)
    done = runner.invoke(app, [*call, "--across-test-sets", "--all"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "- two test sets: d (test set dddddddddddd) before" in done.output
    assert not re.search(r"\baccuracy\b", done.output)
    done = runner.invoke(app, [*call, "--across-test-sets", "--json"], catch_exceptions=False)
    assert json.loads(done.output)["test_sets"] == "different"


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
