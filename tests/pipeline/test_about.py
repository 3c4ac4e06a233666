"""What a report says of when, where and on what a run was: noted once, and nothing that may be a patient's."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from folder_runs import SIZE, classify
from lits_deploy.ledger import RAN, Ledger
from lits_deploy.pipeline.about import MACHINES_SHOWN, ran, ran_elsewhere
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.report.redraw import redraw
from pictures import folder_of_slices
from tiny_bundle import make_tiny_bundle

EARLY = datetime(2026, 11, 28, 23, 59, 40, tzinfo=timezone(timedelta(hours=1)))
LATE = EARLY + timedelta(days=1)


def noted(before: str | None, started: datetime, *, answers: bool = True) -> str:
    record = ran(before, started, ["Smith"], ClassifyOptions(), answers=answers)
    return json.dumps(record)


def test_the_first_and_the_last_start_that_answered_are_noted_and_no_other() -> None:
    first = noted(None, EARLY)
    assert json.loads(first)["first"] == json.loads(first)["last"] == "2026-11-28 22:59 UTC"
    assert noted(first, LATE, answers=False) == first, "a start that answers nothing changes no byte"
    both = json.loads(noted(first, LATE))
    assert (both["first"], both["last"]) == ("2026-11-28 22:59 UTC", "2026-11-29 22:59 UTC")


@pytest.mark.parametrize(
    ("identify", "pseudonymous", "scans", "machine"),
    [(False, False, [], True), (True, False, ["Smith"], True), (True, True, [], False), (False, True, [], False)],
)
def test_names_of_folders_only_where_identifiers_are_asked_for(
    identify: bool, pseudonymous: bool, scans: list[str], machine: bool
) -> None:
    options = ClassifyOptions(identify=identify, pseudonymous=pseudonymous)
    record = ran(None, EARLY, ["Smith"], options, answers=True)
    assert record["scans"] == scans
    assert (record["machine"] is not None) == machine


def test_a_run_notes_it_and_the_page_drawn_again_is_the_same(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle", size=SIZE, crop=56)
    folder_of_slices(tmp_path / "scans", 2, size=SIZE)
    out = tmp_path / "out"
    classify(bundle, tmp_path / "scans", out, formats=("csv",))
    with Ledger(out) as ledger:
        first = ledger.noted(RAN)
        assert first is not None
        ledger.note(RAN, first.replace(json.loads(first)["last"], "2026-01-01 00:00 UTC"))
        before = ledger.noted(RAN)
    redraw(out)
    page = (out / "report.html").read_bytes()
    classify(bundle, tmp_path / "scans", out, formats=("csv",))  # nothing to answer
    redraw(out)
    assert (out / "report.html").read_bytes() == page
    assert b"2026-01-01 00:00 UTC" in page
    folder_of_slices(tmp_path / "scans", 3, size=SIZE)
    classify(bundle, tmp_path / "scans", out, formats=("csv",))
    with Ledger(out) as ledger:
        after = json.loads(ledger.noted(RAN) or "")
    assert after["first"] == "2026-01-01 00:00 UTC"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", after["last"])
    assert after["last"] > after["first"]
    assert before is not None


def test_answers_from_elsewhere_have_the_first_and_last_start_of_all_and_each_machine_once() -> None:
    options = ClassifyOptions(identify=True)

    def run(day: int, machine: str | None) -> dict[str, Any]:
        return {"first": f"2026-07-{day:02d} 06:00 UTC", "last": f"2026-07-{day + 1:02d} 06:00 UTC", "machine": machine}

    both = ran_elsewhere(None, [run(14, "A, 2 cores"), run(12, "B, 1 core"), run(13, "A, 2 cores")], ["x"], options)
    assert both == {
        "first": "2026-07-12 06:00 UTC",
        "last": "2026-07-15 06:00 UTC",
        "scans": ["x"],
        "machine": "A, 2 cores; B, 1 core",
    }
    more = ran_elsewhere(json.dumps(both), [run(20, "B, 1 core")], ["x"], ClassifyOptions())
    assert more == {**both, "last": "2026-07-21 06:00 UTC", "scans": []}
    assert ran_elsewhere(json.dumps(both), [], ["x"], options) == both
    hidden = ran_elsewhere(None, [run(14, None)], ["x"], ClassifyOptions(pseudonymous=True))
    assert (hidden["machine"], hidden["scans"]) == (None, [])
    many = ran_elsewhere(None, [run(n, f"box {n}") for n in range(1, 20)], [], options)["machine"]
    assert many.endswith(f"box {MACHINES_SHOWN}; others")
