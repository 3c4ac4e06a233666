"""Series and their ranking: runs, extents, suspicion, and nothing lost that has no series."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from lits_deploy.ledger import ABSTAINED, EXCLUDED, FAILED, OK, ResultRow, VolumeRow
from lits_deploy.studies import STUDY_COLUMNS, longest_run, study_rows, summaries

IN_MM = '{"in_mm":true,"by":"position"}'
SERIES = {n: VolumeRow(f"s{n}", f"t{n}", '{"kind":"dicom","modality":"CT"}', IN_MM) for n in (1, 2)}
SERIES[3] = VolumeRow("s3", "t3", '{"kind":"picture"}', '{"in_mm":false}')
SERIES[4] = VolumeRow("s4", "t4", '{"kind":"dicom"}', IN_MM, "s1")


def row(series: int | None, z: float | None, p2: float | None, label: int | None = None, **more: object) -> ResultRow:
    label = label if label is not None or p2 is None else 2 if p2 > 0.5 else 1
    rest = None if p2 is None else (1 - p2) / 2
    made = ResultRow(f"{series}-{z}", 0, OK, None, label, rest, rest, p2, "w", "ab", z, series)
    return made._replace(**more)  # type: ignore[arg-type]


def test_the_longest_run_bridges_unsure_slices_but_begins_and_ends_on_sure_ones() -> None:
    assert longest_run([]) is None
    assert longest_run([False, None, False]) is None
    assert longest_run([None, True, None, True, None, False, True]) == (1, 4)
    assert longest_run([True, False, True, True]) == (2, 4)


def test_three_neighbours_that_agree_are_more_suspicious_than_one_outlier() -> None:
    spike = [row(1, z, p) for z, p in enumerate([0.0, 0.0, 0.95, 0.0, 0.0])]
    lesion = [row(2, z, p) for z, p in enumerate([0.1, 0.7, 0.8, 0.6, 0.1])]
    first, second = summaries([*spike, *lesion], SERIES)
    assert (first.name, first.rank, second.name, second.rank) == ("s2", 1, "s1", 2)
    assert first.suspicion == pytest.approx(0.7)
    assert second.suspicion == pytest.approx(0.95 / 3)
    assert second.max_p2 == 0.95
    assert second.mean_p2 == pytest.approx(0.19)
    assert second.top is not None
    assert second.top.path == "1-2"


def test_extents_are_in_mm_where_headers_say_them_and_only_there() -> None:
    labels = [0, 1, 2, 2, 1, 0, 1]
    volume = [row(1, 5.0 * k, 0.9 if label == 2 else 0.1, label) for k, label in enumerate(labels)]
    pictures = [r._replace(volume=3) for r in volume]
    for summary in summaries([*volume, *pictures], SERIES):
        assert summary.classes == [2, 3, 2]
        assert summary.longest_lesion_run == 2
        assert summary.liver_extent_mm == (20.0 if summary.name == "s1" else None)
        assert summary.lesion_run_mm == (10.0 if summary.name == "s1" else None)


def test_abstained_excluded_and_failed_slices_are_counted_and_named() -> None:
    rows = [
        row(1, 0.0, 0.4)._replace(status=ABSTAINED, label=None, reason="unsure"),
        row(1, 1.0, None)._replace(status=EXCLUDED, reason="no body"),
        row(1, 2.0, None)._replace(status=EXCLUDED, reason="no body"),
        row(1, 3.0, None)._replace(status=FAILED, reason="broken"),
    ]
    (summary,) = summaries(rows, SERIES)
    assert (summary.slices, summary.answered, summary.abstained, summary.excluded, summary.failed) == (4, 1, 1, 2, 1)
    assert summary.reason == "no body"
    assert summary.suspicion == pytest.approx(0.4)


def test_copies_count_once_and_a_series_that_is_wholly_one_has_no_rank() -> None:
    once = [row(1, z, p) for z, p in enumerate([0.1, 0.9, 0.2])]
    twice = [*once, once[1]._replace(path="copy", copy_of="1-1")]
    (alone,), (doubled, copied) = summaries(once, SERIES), summaries([*twice, row(4, 0.0, 0.95)], SERIES)
    assert (doubled.suspicion, doubled.slices, doubled.copies, doubled.classes) == (
        alone.suspicion,
        3,
        1,
        alone.classes,
    )
    assert (doubled.rank, copied.rank, copied.copy_of) == (1, None, "s1")


def test_what_has_no_series_or_no_answer_is_a_row_without_a_rank() -> None:
    rows: Iterable[ResultRow] = [row(None, None, None)._replace(status=FAILED, reason="empty"), row(1, 0.0, 0.3)]
    table = [dict(zip(STUDY_COLUMNS, cells, strict=True)) for cells in study_rows(rows, SERIES)]
    assert [(cells["rank"], cells["series"], cells["slices"]) for cells in table] == [(1, "s1", 1), (None, None, 1)]
    assert table[1]["reason"] == "empty"
    assert table[0]["identifiers"] is None
