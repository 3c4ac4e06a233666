"""Neighbours in the ledger: positions that are known already, the order of work, and what is done again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lits_deploy.ledger import FAILED, OK, FileCounts, FileRow, HeaderRow, Ledger, SliceRow
from lits_deploy.ledger.neighbours import PlannedNeighbours
from lits_deploy.pipeline.neighbours import Neighbours
from lits_deploy.scans.discover import UNREADABLE, ScanRecord

IDENTITY = {"bundle": "b"}
HEADER = HeaderRow("s", "study", "", '{"kind":"dicom"}')


def found(path: str, size: int = 1, kind: str = "dicom", reason: str | None = None) -> ScanRecord:
    return ScanRecord(path, size, 1, reason, kind)


def facts(position: float | None) -> str:
    return "{}" if position is None else f'{{"position":{position}}}'


def adopt(
    ledger: Ledger, files: Iterable[ScanRecord], positions: dict[str, float], *, retry_failed: bool = False
) -> FileCounts:
    """positions: of the files that are not known yet."""
    ledger.stage(files)
    ledger.adopt(IDENTITY, "/scans", retry_failed=retry_failed)
    unread = {row.path: row.file for row in ledger.neighbours.unread("dicom", 2)}
    rows = ((unread[path], HEADER, facts(position), None) for path, position in positions.items() if path in unread)
    ledger.neighbours.put(rows)
    ledger.neighbours.settle(_planned(ledger))
    return ledger.counts()


def _planned(ledger: Ledger) -> Iterator[PlannedNeighbours]:
    run: Any = SimpleNamespace(ledger=ledger, contract=SimpleNamespace(channels=3))
    return Neighbours(run)._planned()


def answer(ledger: Ledger, positions: dict[str, float], *failed: str) -> list[str]:
    """Do what is pending; its paths in the order of work."""
    order = []
    for row, _ in ledger.neighbours.pending(2):
        order.append(row.path)
        status = FAILED if row.path in failed else OK
        position = positions.get(row.path)
        slices = [SliceRow(row.file, 0, OK, None, 1, 0.25, 0.5, 0.25, facts(position))] if status == OK else []
        ledger.record(slices, [FileRow(row.file, status, "bad" if slices == [] else None, "ab", "w", HEADER)])
    return order


POSITIONS = {"d": 1.0, "a": 2.0, "c": 3.0, "b": 4.0}
FILES = [found(name) for name in "abcd"]


def test_the_order_follows_the_series_and_files_without_a_position_come_first(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        files = [*FILES, found("v", kind="nifti"), found("x", reason="unreadable", size=UNREADABLE)]
        assert adopt(ledger, files, POSITIONS) == FileCounts(5, 0, 1)
        numbers = {row.path: row.file for row in ledger.pending(10)}
        numbered = {row.path: others for row, others in ledger.neighbours.pending(2)}
        assert list(numbered) == ["v", "d", "a", "c", "b"]
        assert numbered["v"] == ()
        assert numbered["d"] == (None, None, numbers["a"])
        assert numbered["a"] == (numbers["d"], None, numbers["c"]) == ledger.neighbours.of(numbers["a"])
        assert answer(ledger, POSITIONS) == list(numbered)
        assert list(ledger.neighbours.pending(2)) == []


def test_what_is_done_has_given_its_position(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        adopt(ledger, FILES, POSITIONS)
        answer(ledger, POSITIONS, "c")
    with Ledger(tmp_path) as ledger:
        ledger.stage([*FILES, found("e")])
        ledger.adopt(IDENTITY, "/scans")
        assert [row.path for row in ledger.neighbours.unread("dicom", 1)] == ["c", "e"]
        assert adopt(ledger, [], POSITIONS | {"e": 9.0}) == FileCounts(2, 2, 1)
        assert answer(ledger, POSITIONS | {"e": 9.0}) == ["b", "e"], "b has another neighbour now"


def test_a_change_has_its_neighbours_done_again_and_nobody_else(tmp_path: Path) -> None:
    positions = {**POSITIONS, "e": 5.0, "f": 6.0}
    files = [*FILES, found("e"), found("f")]
    with Ledger(tmp_path) as ledger:
        adopt(ledger, files, positions)
        answer(ledger, positions)
    steps: list[tuple[list[ScanRecord], list[str]]] = [
        (files, []),
        ([*files[:2], found("c", size=2), *files[3:]], ["a", "c", "b"]),
        ([*files[:2], found("c", size=2), *files[3:5]], ["e"]),  # f is gone
    ]
    for there, again in steps:
        with Ledger(tmp_path) as ledger:
            assert adopt(ledger, there, positions).pending == len(again)
            assert answer(ledger, positions) == again
            assert sum(1 for _ in ledger.rows()) == len(there)


def test_failed_files_that_are_tried_again_take_their_neighbours_along(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        adopt(ledger, FILES, POSITIONS)
        answer(ledger, POSITIONS, "c")
    with Ledger(tmp_path) as ledger:
        assert adopt(ledger, FILES, POSITIONS).pending == 0
    with Ledger(tmp_path) as ledger:
        adopt(ledger, FILES, POSITIONS, retry_failed=True)
        assert answer(ledger, POSITIONS) == ["a", "c", "b"]
    with Ledger(tmp_path) as ledger:
        assert adopt(ledger, FILES, POSITIONS, retry_failed=True).pending == 0


def test_a_file_of_several_slices_or_without_position_has_no_neighbours(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        adopt(ledger, [found("a"), found("b")], {})
        for row, _ in ledger.neighbours.pending(5):
            slices = [
                SliceRow(row.file, k, OK, None, 1, 0.2, 0.5, 0.3, facts(1.0))
                for k in range(2 if row.path == "a" else 1)
            ]
            slices = [slices[0]._replace(facts="{}")] if row.path == "b" else slices
            ledger.record(slices, [FileRow(row.file, OK, None, "ab", "w", HEADER)])
    with Ledger(tmp_path) as ledger:
        assert adopt(ledger, [found("a"), found("b")], {"a": 1.0, "b": 2.0}).pending == 0


def test_a_ledger_of_one_channel_has_none_of_it(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.stage(FILES)
        ledger.adopt(IDENTITY, "/scans")
        tables = {name for (name,) in ledger._db.execute("SELECT name FROM sqlite_master")}
    assert "beside" not in tables


def test_neighbours_of_an_altered_slice_are_done_again(tmp_path: Path) -> None:
    def at(ctime_ns: int) -> list[ScanRecord]:
        return [ScanRecord(name, 1, 1, None, "dicom", ctime_ns=ctime_ns) for name in "abcd"]

    with Ledger(tmp_path) as ledger:
        adopt(ledger, at(1), POSITIONS)
        answer(ledger, POSITIONS)
    with Ledger(tmp_path) as ledger:
        ledger.stage(at(2))
        assert [file.path for file in ledger.altered.doubtful()] == ["a", "b", "c", "d"]
        ledger.altered.put(["d"])
        assert adopt(ledger, [], POSITIONS) == FileCounts(2, 2, 0)
        assert answer(ledger, POSITIONS) == ["d", "a"]
