"""What a report says of when, where and on what a run was: noted once, and nothing that may be a patient's."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from folder_runs import SIZE, classify
from lits_deploy.ledger import RAN, Ledger
from lits_deploy.pipeline.about import ran
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.redraw import redraw
from pictures import folder_of_slices
from tiny_bundle import make_tiny_bundle

EARLY = datetime(2026, 11, 28, 23, 59, 40, tzinfo=timezone(timedelta(hours=1)))
LATE = EARLY + timedelta(days=1)


def noted(before: str | None, started: datetime, *, answers: bool = True) -> str:
    told = ran(before, started, [Path("/ward/Smith")], ClassifyOptions(), answers=answers)
    return json.dumps(told)


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
    told = ran(None, EARLY, [Path("/ward/Smith")], options, answers=True)
    assert told["scans"] == scans
    assert (told["machine"] is not None) == machine


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
