"""What stands beside what, in the ledger: places that are known already, the order of turns, and what is done again."""

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
    ledger: Ledger, files: Iterable[ScanRecord], places: dict[str, float], *, retry_failed: bool = False
) -> FileCounts:
    """places: of the files that are not known yet."""
    ledger.stage(files)
    ledger.adopt(IDENTITY, "/scans", retry_failed=retry_failed)
    unread = {row.path: row.file for row in ledger.beside.unread("dicom", 2)}
    told = ((unread[path], HEADER, facts(position), None) for path, position in places.items() if path in unread)
    ledger.beside.put(told)
    ledger.beside.settle(_planned(ledger))
    return ledger.counts()


def _planned(ledger: Ledger) -> Iterator[PlannedNeighbours]:
    run: Any = SimpleNamespace(ledger=ledger, contract=SimpleNamespace(channels=3))
    return Neighbours(run)._planned()


def answer(ledger: Ledger, positions: dict[str, float], *failed: str) -> list[str]:
    """Do what is pending; its paths in the order of their turns."""
    order = []
    for row, _ in ledger.beside.pending(2):
        order.append(row.path)
        status = FAILED if row.path in failed else OK
        position = positions.get(row.path)
        slices = [SliceRow(row.file, 0, OK, None, 1, 0.25, 0.5, 0.25, facts(position))] if status == OK else []
        ledger.record(slices, [FileRow(row.file, status, "bad" if slices == [] else None, "ab", "w", HEADER)])
    return order


PLACES = {"d": 1.0, "a": 2.0, "c": 3.0, "b": 4.0}
FILES = [found(name) for name in "abcd"]


def test_turns_follow_the_series_and_files_without_a_place_come_first(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        files = [*FILES, found("v", kind="nifti"), found("x", reason="unreadable", size=UNREADABLE)]
        assert adopt(ledger, files, PLACES) == FileCounts(5, 0, 1)
        numbers = {row.path: row.file for row in ledger.pending(10)}
        near = {row.path: near for row, near in ledger.beside.pending(2)}
        assert list(near) == ["v", "d", "a", "c", "b"]
        assert near["v"] == ()
        assert near["d"] == (None, None, numbers["a"])
        assert near["a"] == (numbers["d"], None, numbers["c"]) == ledger.beside.near(numbers["a"])
        assert answer(ledger, PLACES) == list(near)
        assert list(ledger.beside.pending(2)) == []


def test_what_is_done_has_told_its_place(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        adopt(ledger, FILES, PLACES)
        answer(ledger, PLACES, "c")
    with Ledger(tmp_path) as ledger:
        ledger.stage([*FILES, found("e")])
        ledger.adopt(IDENTITY, "/scans")
        assert [row.path for row in ledger.beside.unread("dicom", 1)] == ["c", "e"]
        assert adopt(ledger, [], PLACES | {"e": 9.0}) == FileCounts(2, 2, 1)
        assert answer(ledger, PLACES | {"e": 9.0}) == ["b", "e"], "b has another neighbour now"


def test_a_change_has_those_beside_it_done_again_and_nobody_else(tmp_path: Path) -> None:
    places = {**PLACES, "e": 5.0, "f": 6.0}
    files = [*FILES, found("e"), found("f")]
    with Ledger(tmp_path) as ledger:
        adopt(ledger, files, places)
        answer(ledger, places)
    steps: list[tuple[list[ScanRecord], list[str]]] = [
        (files, []),
        ([*files[:2], found("c", size=2), *files[3:]], ["a", "c", "b"]),
        ([*files[:2], found("c", size=2), *files[3:5]], ["e"]),  # f is gone
    ]
    for there, again in steps:
        with Ledger(tmp_path) as ledger:
            assert adopt(ledger, there, places).pending == len(again)
            assert answer(ledger, places) == again
            assert sum(1 for _ in ledger.rows()) == len(there)


def test_failed_files_that_are_tried_again_take_those_beside_them_along(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        adopt(ledger, FILES, PLACES)
        answer(ledger, PLACES, "c")
    with Ledger(tmp_path) as ledger:
        assert adopt(ledger, FILES, PLACES).pending == 0
    with Ledger(tmp_path) as ledger:
        adopt(ledger, FILES, PLACES, retry_failed=True)
        assert answer(ledger, PLACES) == ["a", "c", "b"]
    with Ledger(tmp_path) as ledger:
        assert adopt(ledger, FILES, PLACES, retry_failed=True).pending == 0


def test_a_file_of_several_slices_or_without_position_has_no_place(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        adopt(ledger, [found("a"), found("b")], {})
        for row, _ in ledger.beside.pending(5):
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


def test_slices_beside_an_altered_one_are_done_again(tmp_path: Path) -> None:
    def at(ctime_ns: int) -> list[ScanRecord]:
        return [ScanRecord(name, 1, 1, None, "dicom", ctime_ns=ctime_ns) for name in "abcd"]

    with Ledger(tmp_path) as ledger:
        adopt(ledger, at(1), PLACES)
        answer(ledger, PLACES)
    with Ledger(tmp_path) as ledger:
        ledger.stage(at(2))
        assert [file.path for file in ledger.altered.doubtful()] == ["a", "b", "c", "d"]
        ledger.altered.put(["d"])
        assert adopt(ledger, [], PLACES) == FileCounts(2, 2, 0)
        assert answer(ledger, PLACES) == ["d", "a"]
