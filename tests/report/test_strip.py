"""Strips: columns from rows, and the SVG that says them."""

from __future__ import annotations

import re

from lits_deploy.ledger import ABSTAINED, EXCLUDED, FAILED, OK, ResultRow
from lits_deploy.report import strip
from lits_deploy.report.profile import FULL_WIDTH, MOST_COLUMNS, profile


def row(p2: float | None, label: int | None = 1, status: int = OK) -> ResultRow:
    p1 = None if p2 is None else round((1 - p2) / 2, 3)
    return ResultRow("a", 0, status, None, label, None, p1, p2, None, None)


MIXED = [
    row(0.0, 0),
    row(0.8, 2),
    row(0.8, 2),
    row(None, None, EXCLUDED),
    row(None, None, FAILED),
    row(0.4, None, ABSTAINED),
    row(None, 2),
]


def heights(svg: str, kind: str) -> dict[int, int]:
    """Column → height of an area's path, as a browser would draw it."""
    path = re.search(rf'class="{kind}" d="([^"]*)"', svg)
    assert path
    found: dict[int, int] = {}
    for start, steps in re.findall(r"M(\d+) 100((?:V\d+h\d+)*)V100Z", path[1]):
        at = int(start)
        for y, width in re.findall(r"V(\d+)h(\d+)", steps):
            found |= dict.fromkeys(range(at, at + int(width)), 100 - int(y))
            at += int(width)
    assert re.fullmatch(r"(?:M\d+ 100(?:V\d+h\d+)+V100Z)*", path[1])
    return found


def test_areas_are_the_probabilities_and_gaps_where_there_is_no_answer() -> None:
    svg = strip.areas(profile(MIXED))
    assert heights(svg, "lesion") == {0: 0, 1: 80, 2: 80, 5: 40}
    assert heights(svg, "liver") == {0: 50, 1: 90, 2: 90, 5: 70}, "liver stands upon lesion"
    assert heights(svg, "none") == {0: 100, 1: 100, 2: 100, 5: 100}, "what is left is no liver; elsewhere is nothing"


def test_the_ribbon_says_what_each_slice_was_called() -> None:
    runs = re.findall(r'class="(\w+)" x="(\d+)" width="(\d+)"', strip.ribbon(profile(MIXED)))
    assert runs == [
        ("none", "0", "1"),
        ("lesion", "1", "2"),
        ("excluded", "3", "1"),
        ("failed", "4", "1"),
        ("abstained", "5", "1"),
        ("lesion", "6", "1"),
    ]


def test_a_long_series_keeps_its_peaks_in_few_columns() -> None:
    rows = [row(0.01, 0) for _ in range(10 * MOST_COLUMNS + 3)]
    rows[4321] = row(0.97, 2)
    shown = profile(rows)
    assert len(shown.columns) <= MOST_COLUMNS
    assert shown.slices == len(rows)
    column = shown.columns[shown.column_of(4321)]
    assert (column.p2, column.what, column.index) == (0.97, 2, 4321)
    assert shown.width == len(shown.columns)


def test_a_short_series_does_not_fill_the_strip() -> None:
    for count in (1, 7, FULL_WIDTH, 3 * FULL_WIDTH):
        shown = profile([row(0.5)] * count)
        assert shown.width == count, "as long as the series"
        assert shown.share == round(100 * min(1, count / FULL_WIDTH), 2)
    assert profile([]).columns == ()


def test_a_closed_line_is_closed_and_an_open_one_is_not() -> None:
    closed = strip.outlines({"heat": [[0, 0, 10, 0, 10, 8, 0, 0]]}, 256)
    assert 'd="M0 0l10,0 0,8Z"' in closed
    assert 'd="M0 0l10,0 0,8"' in strip.outlines({"lesion": [[0, 0, 10, 0, 10, 8]]}, 256)
    assert strip.outlines({}, 256) == ""
    assert strip.outlines({"unknown": [[0, 0, 1, 1, 2, 2]]}, 256) == ""


def test_bars_stay_in_their_frame() -> None:
    assert 'width="83"' in strip.bar(0.834, 2)
    assert 'width="100"/></svg>' not in strip.bar(7.0, 2).replace('height="8"', "")
    assert 'class="lesion" width="0"' in strip.bar(-1.0, 2)
