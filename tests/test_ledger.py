"""The ledger: done means done with all slices; a change on disk means again; nothing half-written survives."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lits_deploy.errors import LedgerError, OutputError
from lits_deploy.ledger import (
    ABSTAINED,
    EXCLUDED,
    FAILED,
    FILE_NAME,
    OK,
    FileCounts,
    FileRow,
    HeaderRow,
    Ledger,
    SliceRow,
)
from lits_deploy.scans.discover import UNREADABLE, ScanRecord

IDENTITY = {"bundle": "b", "runtime": "fake"}


def found(path: str, size: int = 1, mtime_ns: int = 1, reason: str | None = None) -> ScanRecord:
    return ScanRecord(path, size, mtime_ns, reason)


def adopt(ledger: Ledger, *records: ScanRecord, **options: Any) -> FileCounts:
    ledger.stage(records)
    return ledger.adopt(IDENTITY, "/scans", **options)


def reopen(folder: Path) -> Ledger:
    return Ledger(folder)


def slice_of(number: int, index: int = 0, label: int = 1) -> SliceRow:
    return SliceRow(number, index, OK, None, label, 0.25, 0.5, 0.25)


def finish(ledger: Ledger, path: str, *, status: int = OK) -> None:
    number = {row.path: row.file for row in ledger.pending(100)}[path]
    slices = [slice_of(number)] if status == OK else []
    ledger.record(slices, [FileRow(number, status, None if status == OK else "broken", "ab", "unverified")])


def test_files_come_in_path_order_page_by_page(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        adopt(ledger, *(found(name) for name in ("b", "a/2", "a-1", "Z", "ä")), found("b"))
        assert [row.path for row in ledger.pending(2)] == ["Z", "a-1", "a/2", "b", "ä"]


def test_pending_goes_on_while_files_are_recorded(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        adopt(ledger, *(found(f"{i:03d}") for i in range(20)))
        seen = []
        for number, path, *_ in ledger.pending(3):
            seen.append(path)
            ledger.record([slice_of(number)], [FileRow(number, OK, None, "ab", "w")])
        assert len(seen) == 20
        assert ledger.counts() == FileCounts(0, 20, 0)


def test_done_files_stay_and_others_change_with_the_disk(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        adopt(ledger, *(found(name) for name in ("same", "resized", "touched", "gone", "bad", "todo")))
        for name in ("same", "resized", "touched", "gone"):
            finish(ledger, name)
        finish(ledger, "bad", status=FAILED)
    with reopen(tmp_path) as ledger:
        counts = adopt(
            ledger,
            found("same"),
            found("resized", size=2),
            found("touched", mtime_ns=2),
            found("bad"),
            found("todo"),
            found("new"),
        )
        assert counts == FileCounts(pending=4, ok=1, failed=1)
        assert [row.path for row in ledger.pending(9)] == ["new", "resized", "todo", "touched"]
        assert [row.path for row in ledger.rows()] == ["bad", "same"]


def test_failed_files_are_tried_again_when_asked_or_changed(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        adopt(ledger, found("bad"))
        finish(ledger, "bad", status=FAILED)
        assert adopt_again(tmp_path, ledger, found("bad")) == FileCounts(0, 0, 1)
        assert adopt_again(tmp_path, ledger, found("bad"), retry_failed=True) == FileCounts(1, 0, 0)
        finish(ledger, "bad", status=FAILED)
        assert adopt_again(tmp_path, ledger, found("bad", mtime_ns=9)) == FileCounts(1, 0, 0)


def adopt_again(folder: Path, ledger: Ledger, *records: ScanRecord, **options: Any) -> FileCounts:
    ledger.close()
    ledger.__init__(folder)  # type: ignore[misc]
    return adopt(ledger, *records, **options)


def test_a_record_with_a_reason_is_a_failed_row_at_once(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        assert adopt(ledger, found("pipe", UNREADABLE, 0, "not a regular file")) == FileCounts(0, 0, 1)
        (row,) = ledger.rows()
        assert (row.path, row.status, row.reason, row.idx) == ("pipe", FAILED, "not a regular file", 0)
        assert adopt_again(tmp_path, ledger, found("pipe")) == FileCounts(1, 0, 0)


def test_half_done_files_start_anew(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        adopt(ledger, found("volume"))
        ((number, *_),) = ledger.pending(9)
        ledger.record([slice_of(number, index) for index in range(3)], [])
        assert list(ledger.rows()) == []
        assert ledger.labels() == {}
        adopt_again(tmp_path, ledger, found("volume"))
        ((number, *_),) = ledger.pending(9)
        ledger.record([slice_of(number, index) for index in range(5)], [FileRow(number, OK, None, "ab", "w")])
        assert [row.idx for row in ledger.rows()] == [0, 1, 2, 3, 4]


def test_a_file_that_fails_takes_its_slices_with_it_and_forgotten_ones_make_room(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        adopt(ledger, found("a"), found("b"))
        (a, *_), (b, *_) = ledger.pending(9)
        ledger.record([slice_of(a), slice_of(b)], [])
        ledger.record([slice_of(b)], [FileRow(a, FAILED, "cut off", "ab", None)], forget=[b])
        ledger.record([slice_of(b, 1)], [FileRow(b, OK, None, "cd", "w")])
        assert [(row.path, row.idx, row.status) for row in ledger.rows()] == [
            ("a", 0, FAILED),
            ("b", 0, OK),
            ("b", 1, OK),
        ]


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        adopt(ledger, found("a"))
        ((number, *_),) = ledger.pending(9)
        with pytest.raises(sqlite3.IntegrityError):
            ledger.record([slice_of(number), slice_of(number)], [FileRow(number, OK, None, "ab", "w")])
        assert ledger.counts().pending == 1
        finish(ledger, "a")


def test_run_id_follows_identity_paths_and_sizes_and_nothing_else(tmp_path: Path) -> None:
    def run_id(name: str, records: list[ScanRecord], identity: dict[str, str] = IDENTITY) -> str:
        (tmp_path / name).mkdir()
        with Ledger(tmp_path / name) as ledger:
            ledger.stage(records)
            ledger.adopt(identity, f"/{name}")
            return ledger.run_id

    first = run_id("1", [found("a"), found("b")])
    assert first == run_id("2", [found("b"), found("a", mtime_ns=99)])
    assert len({first, run_id("3", [found("a")]), run_id("4", [found("a", 2), found("b")])}) == 3
    assert first != run_id("5", [found("a"), found("b")], {**IDENTITY, "runtime": "other"})


def test_counts_by_label_and_reason(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        adopt(ledger, *(found(name) for name in "abcd"))
        numbers = {row.path: row.file for row in ledger.pending(9)}
        bad = SliceRow(numbers["a"], 1, FAILED, "not finite", None, None, None, None)
        ledger.record(
            [slice_of(numbers["a"], label=2), bad],
            [FileRow(numbers["a"], OK, None, "", "w"), *(FileRow(numbers[n], FAILED, "empty", "", None) for n in "bc")],
        )
        assert ledger.labels() == {2: 1}
        assert list(ledger.reasons().items()) == [("empty", 2), ("not finite", 1)]
        assert ledger.failed() == 3
        assert ledger.identity == IDENTITY
        assert ledger.base == "/scans"


def test_a_damaged_foreign_or_newer_ledger_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database, long enough to be looked at" * 100)
    with pytest.raises(LedgerError, match="not a database"):
        Ledger(tmp_path)
    (tmp_path / FILE_NAME).unlink()
    Ledger(tmp_path).close()
    for version, says in ((3, r"older .* Fix: .*--overwrite \(.*pseudonyms stay\)"), (99, "newer .* Fix: update")):
        db = sqlite3.connect(tmp_path / FILE_NAME)
        db.execute(f"PRAGMA user_version = {version}")
        db.close()
        with pytest.raises(OutputError, match=says):
            Ledger(tmp_path)


def test_a_disk_that_has_no_wal_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = sqlite3.connect

    def in_memory(path: object, **options: Any) -> sqlite3.Connection:  # its journal mode can only be "memory"
        return real(":memory:", **options)

    monkeypatch.setattr(sqlite3, "connect", in_memory)
    with pytest.raises(OutputError, match=r"network share.*--ledger"):
        Ledger(tmp_path)


def test_a_disk_without_room_for_a_ledger_is_not_called_a_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk SQLite says "disk I/O error", too, and another folder of the same disk does not help."""
    real = os.statvfs(tmp_path)
    full = SimpleNamespace(f_bavail=3, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda path: full)

    def fails(path: object, **options: Any) -> sqlite3.Connection:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(sqlite3, "connect", fails)
    with pytest.raises(OutputError, match=r"No room for the ledger.*I/O error.*make room"):
        Ledger(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda path: real)
    with pytest.raises(OutputError, match="needs a local disk"):
        Ledger(tmp_path)


def test_a_full_disk_is_the_users_error(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger._db.execute("PRAGMA max_page_count = 12")
        with pytest.raises(OutputError, match="make room"):
            ledger.record([slice_of(number) for number in range(5000)], [])
        ledger._db.execute("PRAGMA max_page_count = 100000")
        assert ledger.counts() == FileCounts(0, 0, 0)


def test_zip_members_and_names_lead_from_what_is_written_to_where_it_was_found(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.stage(
            [ScanRecord("a.zip/1", 5, 1, kind="dicom", container="a.zip", member=7)], name=lambda path: path[::-1]
        )
        ledger.adopt(IDENTITY, "/scans")
        (row,) = ledger.pending(9)
        assert row[1:] == ("1/piz.a", "a.zip/1", "dicom", "a.zip", 7, 1)


def test_headers_are_kept_once_and_leave_with_their_files_and_rows_come_volume_by_volume(tmp_path: Path) -> None:
    one, two = HeaderRow("s1", "study", "", '{"kind":"dicom"}'), HeaderRow("s2", "study", "", '{"kind":"dicom"}')
    with Ledger(tmp_path) as ledger:
        adopt(ledger, *(found(name) for name in "abcd"))
        for (number, path, *_), (header, facts) in zip(
            list(ledger.pending(9)),
            [(one, '{"position":30}'), (one, '{"position":10}'), (two, "{}"), (None, "{}")],
            strict=True,
        ):
            row = slice_of(number)._replace(facts=facts, labels=b"mask" if path == "a" else None)
            ledger.record([row], [FileRow(number, OK, None, "ab", "w", header)])
        volumes = ledger.volumes()
        assert [(row.path, row.volume, row.position) for row in ledger.rows_by_volume()] == [
            ("d", None, None),
            ("b", 0, 10.0),
            ("a", 0, 30.0),
            ("c", 1, None),
        ]
        assert [volume.study for volume in volumes.values()] == ["study", "study"]
        assert len({volume.name for volume in volumes.values()}) == 2
        assert ledger.mask(1, 0) == b"mask"
        assert ledger.mask(2, 0) is None
        adopt_again(tmp_path, ledger, found("a"))
        assert [volume.name for volume in ledger.volumes().values()] == [volumes[0].name]


def record_all(ledger: Ledger, rows: list[tuple[str, HeaderRow, str, int]]) -> None:
    """Answer every file: path, header, facts and pixels."""
    adopt(ledger, *(found(path) for path, *_ in rows))
    numbers = {row.path: row.file for row in ledger.pending(99)}
    for path, header, facts, pixels in rows:
        answer = slice_of(numbers[path])._replace(facts=facts, pixels=pixels)
        ledger.record([answer], [FileRow(numbers[path], OK, None, f"hash {pixels}", "w", header)])


def test_a_copy_leads_to_its_original_and_a_series_that_is_wholly_one_to_that_series(tmp_path: Path) -> None:
    info = '{"kind":"dicom"}'
    first, again, other = (HeaderRow(token, token, "", info) for token in ("s1", "s2", "s3"))
    with Ledger(tmp_path) as ledger:
        record_all(
            ledger,
            [
                *((f"a/{k}", first, f'{{"position":{k},"instance":"{k}"}}', k) for k in range(4)),
                ("a/1 (1)", first, '{"position":1,"instance":"1"}', 1),
                *((f"copied/{k}", again, f'{{"position":{k}}}', k) for k in range(3)),
                *((f"b/{k}", other, f'{{"position":{k}}}', 5 * k) for k in range(3)),
            ],
        )
        assert {row.path: row.copy_of for row in ledger.rows() if row.copy_of} == {"a/1 (1)": "a/1"}
        volumes = list(ledger.volumes().values())
        assert [volume.copy_of for volume in volumes] == [None, volumes[0].name, None]


def test_a_series_of_another_patient_is_no_copy(tmp_path: Path) -> None:
    info = '{"kind":"dicom"}'
    with Ledger(tmp_path) as ledger:
        headers = [HeaderRow(token, token, patient, info) for token, patient in (("s1", "A"), ("s2", "B"), ("s3", ""))]
        record_all(
            ledger, [(f"{header.token}/{k}", header, f'{{"position":{k}}}', k) for header in headers for k in (1, 2)]
        )
        names = {volume.name: volume.copy_of for volume in ledger.volumes().values()}
        first, second, third = names
        assert names == {first: None, second: None, third: first}


def copies_of(folder: Path, rows: list[tuple[str, HeaderRow, str, int]]) -> dict[str, str | None]:
    """Folder of each volume → that of the one of which it is wholly a copy."""
    folder.mkdir()
    with Ledger(folder) as ledger:
        record_all(ledger, rows)
        volumes = ledger.volumes()
        where = {
            volumes[row.volume].name: row.path.rpartition("/")[0] for row in ledger.rows() if row.volume is not None
        }
        return {where[one.name]: one.copy_of and where[one.copy_of] for one in volumes.values()}


def test_a_copy_without_a_name_hides_no_patient(tmp_path: Path) -> None:
    info = '{"kind":"dicom"}'
    patients = (("a nobody's copy", ""), ("a long way to P1", "P1"), ("p2", "P2"))
    headers = {token: HeaderRow(token, token, patient, info) for token, patient in patients}
    rows = [(f"{token}/{k}", header, f'{{"position":{k}}}', k) for token, header in headers.items() for k in (1, 2)]
    nobody, first, second = headers
    assert copies_of(tmp_path / "out", rows) == {first: None, second: None, nobody: second}


def test_a_doubtful_copy_does_not_hide_the_series_itself(tmp_path: Path) -> None:
    """The copy lost what tells two phases apart, and holds more slices than either."""
    info = '{"kind":"dicom"}'
    clear, lost = HeaderRow("s1", "s", "P", info), HeaderRow("s2", "s", "P", info)
    rows = [
        (f"the series/{phase}-{k}", clear, f'{{"labels":{{"acquisition":{phase}}},"position":{k}}}', 10 * phase + k)
        for phase in (1, 2)
        for k in range(4)
    ]
    rows += [(f"copy/{pixels}", lost, f'{{"position":{pixels % 10}}}', pixels) for _, _, _, pixels in rows]
    assert copies_of(tmp_path / "out", rows) == {"the series": None, "copy": None}


def test_a_copied_series_is_one_whatever_was_excluded_from_it(tmp_path: Path) -> None:
    info = '{"kind":"dicom"}'
    with Ledger(tmp_path) as ledger:
        adopt(ledger, *(found(f"{folder}/{k}") for folder in ("a", "again") for k in range(4)))
        for number, path, *_ in list(ledger.pending(99)):
            folder, k = path.split("/")
            row = slice_of(number)._replace(facts=f'{{"position":{k}}}', pixels=int(k))
            if k in "03":
                row = row._replace(status=EXCLUDED, reason="empty", label=None, p0=None, p1=None, p2=None, pixels=None)
            ledger.record([row], [FileRow(number, OK, None, path, "w", HeaderRow(folder, folder, "P", info))])
        first, again = sorted(ledger.volumes().values(), key=lambda volume: volume.copy_of is not None)
        assert (first.copy_of, again.copy_of) == (None, first.name)


def test_two_patients_under_one_study_uid_are_two_studies(tmp_path: Path) -> None:
    def header(token: str, patient: str) -> HeaderRow:
        return HeaderRow(token, "study", patient, '{"kind":"dicom"}')

    with Ledger(tmp_path) as ledger:
        record_all(ledger, [("a", header("s1", "A"), "{}", 1), ("b", header("s2", "A"), "{}", 2)])
        assert {volume.study for volume in ledger.volumes().values()} == {"study"}
    (tmp_path / "two").mkdir()
    with Ledger(tmp_path / "two") as ledger:
        record_all(ledger, [("a", header("s1", "A"), "{}", 1), ("b", header("s1", "B"), "{}", 2)])
        assert len({volume.study for volume in ledger.volumes().values()}) == 2
        assert len({volume.name for volume in ledger.volumes().values()}) == 2


def test_excluded_slices_are_counted_apart_from_abstained_ones(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        adopt(ledger, found("a"))
        ((number, *_),) = ledger.pending(9)
        unsure = SliceRow(number, 0, ABSTAINED, "unsure", None, 0.4, 0.3, 0.3)
        held = [SliceRow(number, index, EXCLUDED, "no body", None, None, None, None) for index in (1, 2)]
        ledger.record([unsure, *held], [FileRow(number, OK, None, "ab", "w")])
        assert (ledger.slices(ABSTAINED), ledger.slices(EXCLUDED), ledger.failed()) == (1, 2, 0)
        assert ledger.excluded_reasons() == {"no body": 2}


def test_notes_last(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.note("names", "x")
    with reopen(tmp_path) as ledger:
        assert ledger.noted("names") == "x"
        assert ledger.noted("other") is None


def test_with_a_scope_only_what_lies_in_it_is_compared_with_the_disk(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        adopt(ledger, *(found(name) for name in ("a/1", "a/2", "b/1", "b/2", "c", "d.zip/1")))
        for name in ("a/1", "a/2", "b/1", "c", "d.zip/1"):
            finish(ledger, name, status=FAILED if name == "c" else OK)
    with reopen(tmp_path) as ledger:  # b was half-done
        counts = adopt(ledger, found("a/1"), found("a/3"), scope={"a": "a", "d.zip": "d.zip"}, retry_failed=True)
        assert counts == FileCounts(pending=1, ok=3, failed=1)
        assert [row.path for row in ledger.rows()] == ["a/1", "b/1", "c", "d.zip/1"]  # of d.zip nothing is left
        assert [row.path for row in ledger.pending(9)] == ["a/3"]
        finish(ledger, "a/3")
        assert [(row.part, row.rows, row.failed) for row in ledger.entries()] == [("a", 2, 0), ("d.zip", 1, 0)]
    with reopen(tmp_path) as ledger:
        assert adopt(ledger, scope={"c": "c"}) == FileCounts(0, 4, 1)
    with reopen(tmp_path) as ledger:
        assert adopt(ledger, found("a/1")) == FileCounts(0, 1, 0)


def test_a_hidden_part_is_a_random_number_and_known_again_by_its_files(tmp_path: Path) -> None:
    def adopt_hidden(ledger: Ledger, *records: ScanRecord, scope: Mapping[str, str] | None = None) -> FileCounts:
        ledger.stage(records, name=lambda path: f"h({path})")
        return ledger.adopt(IDENTITY, "/scans", scope=scope, hidden=True)

    def parts(ledger: Ledger) -> dict[str, str | None]:
        return dict(ledger._db.execute("SELECT path, part FROM file"))

    with Ledger(tmp_path) as ledger:
        adopt_hidden(ledger, *(found(name) for name in ("1234567/1", "1234567/2", "b/1", "c")))
        for name in ("1234567/1", "1234567/2", "b/1", "c"):
            finish(ledger, f"h({name})")
        first = parts(ledger)
        assert first["h(1234567/1)"] == first["h(1234567/2)"] != first["h(b/1)"]
        assert all(re.fullmatch("[0-9a-f]{12}", first[name] or "") for name in first if name != "h(c)")
        assert first["h(c)"] is None
    scope = {"1234567": "h(1234567)"}
    with reopen(tmp_path) as ledger:
        assert adopt_hidden(ledger, found("1234567/2"), found("1234567/3"), scope=scope) == FileCounts(1, 3, 0)
        assert set(parts(ledger)) == {"h(1234567/2)", "h(1234567/3)", "h(b/1)", "h(c)"}
        assert parts(ledger)["h(1234567/3)"] == first["h(1234567/1)"]
        finish(ledger, "h(1234567/3)")
        assert [(row.part, row.rows) for row in ledger.entries()] == [("1234567", 2)]
        assert ledger.written_parts() == {"1234567": [first["h(1234567/1)"]]}
    with reopen(tmp_path) as ledger:  # nothing of it is left: as if it had been moved away
        assert adopt_hidden(ledger, scope=scope) == FileCounts(0, 4, 0)
        assert ledger.written_parts() == {}
    with reopen(tmp_path) as ledger:  # a file directly below the base is known by its path
        assert adopt_hidden(ledger, scope={"c": "h(c)"}) == FileCounts(0, 4, 0)
        assert [(row.part, row.rows) for row in ledger.entries()] == [("c", 1)]
    with reopen(tmp_path) as ledger:
        assert adopt_hidden(ledger, found("b/1")) == FileCounts(0, 1, 0)


def test_what_a_batch_wrote_is_on_the_disk_before_the_log_is_folded_in(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:  # OFF would leave a broken file after a power cut; NORMAL costs the last batches
        assert ledger._db.execute("PRAGMA synchronous").fetchone()[0] >= 1
        assert ledger._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_every_file_keeps_the_versions_that_answered_all_of_its_slices(tmp_path: Path) -> None:
    old, new = {"onnxruntime": "1.31.0", "lits-deploy": "1"}, {"onnxruntime": "1.32.0", "lits-deploy": "1"}
    with Ledger(tmp_path) as ledger:
        adopt(ledger, found("a"), found("b"), found("pipe", UNREADABLE, 0, "not a regular file"))
        ledger.answer_with(old)
        (a, *_), (b, *_) = ledger.pending(9)
        ledger.record([slice_of(a, 0), slice_of(a, 1), slice_of(b)], [FileRow(a, OK, None, "ab", "w")])
    with reopen(tmp_path) as ledger:  # after an update: b was half-done, and is answered by the new one alone
        adopt(ledger, found("a"), found("b"), found("c"))
        ledger.answer_with(new)
        finish(ledger, "b")
        finish(ledger, "c", status=FAILED)
        assert ledger.answered_with() == [(old, 1, 2), (new, 2, 1)]
    with reopen(tmp_path) as ledger:
        ledger.answer_with(old)  # back again: the same record, none twice
        assert ledger.answered_with() == [(old, 1, 2), (new, 2, 1)]
