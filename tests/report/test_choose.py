"""Which slices are pictured."""

from __future__ import annotations

from lits_deploy.ledger import OK, ResultRow, VolumeRow
from lits_deploy.report.choose import SERIES, SLICES, WORTH, chosen, peaks


def rows(series: int, *p2: float | None) -> list[ResultRow]:
    return [
        ResultRow(f"{series}-{k}", 0, OK, None, None if p is None else 1, None, None, p, None, None)._replace(
            position=k, volume=series, file=100 * series + k
        )
        for k, p in enumerate(p2)
    ]


def test_peaks_are_the_highest_of_those_worth_a_look() -> None:
    found = peaks(rows(0, 0.05, 0.9, None, 0.3, 0.02, 0.5))
    assert [row.p2 for row in found] == [0.9, 0.5, 0.3]
    assert [row.p2 for row in peaks(rows(0, 0.01, 0.04, WORTH / 2))] == [WORTH / 2]
    assert peaks(rows(0, None, None)) == []
    assert len(peaks(rows(0, *[0.9] * 30))) == SLICES


def test_peaks_of_a_long_series_are_not_neighbours() -> None:
    lesion = [0.9 - abs(k - 100) / 200 for k in range(200)]
    positions = [int(row.position or 0) for row in peaks(rows(0, *lesion))]
    assert positions[0] == 100
    assert len(positions) == SLICES
    assert min(abs(a - b) for a in positions for b in positions if a != b) >= 5


def test_the_most_suspicious_series_come_first_and_not_all_of_them() -> None:
    series = {n: VolumeRow(f"s{n}", "t", '{"kind":"dicom"}', "{}") for n in range(SERIES + 5)}
    ledger = [row for n in series for row in rows(n, n / 100, n / 100)]
    found = chosen(ledger, series)
    assert [summary.name for summary, _ in found] == [f"s{n}" for n in reversed(range(5, SERIES + 5))]
    assert all(len(own) >= 1 for _, own in found)
    nothing = [row for n in series for row in rows(n, None)]
    assert chosen(nothing, series) == []
