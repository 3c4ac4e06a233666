"""A damaged ledger is one line with the fix, and never other answers: bytes flipped, rows altered, a run killed."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from ledgers import BASE, make_ledger
from lits_deploy.errors import LedgerError, OutputError
from lits_deploy.ledger import FILE_NAME, OK, PICTURES, RUN, FileRow, HeaderRow, Ledger, SecondRow, SliceRow, check
from lits_deploy.ledger.check import examine
from lits_deploy.pipeline.output import OutputFolder
from lits_deploy.pseudonyms import SALT_FILE, salt_of
from lits_deploy.report.redraw import redraw
from lits_deploy.results import write_tables
from lits_deploy.scans.appearance import GREY, packed
from lits_deploy.scans.discover import ScanRecord

SERIES, SLICES = 3, 5
FOUND = [ScanRecord(f"study-{n:03d}/IM{k:04d}.dcm", 100, 0, kind="dicom") for n in range(SERIES) for k in range(SLICES)]
LOOKS = None, packed(tuple(range(len(GREY))))
SECONDS = None, SecondRow(40, None, -1.5)
DAMAGED = r"^The ledger .* is damaged \(.*\); .* Fix: put a copy of it in its place, or --overwrite: all is done again$"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run's folder: its ledger has masks and pictures."""
    folder = tmp_path_factory.mktemp("ledger")
    with make_ledger(folder, series=SERIES, slices=SLICES, overlay=None) as ledger:
        ledger.answer_with({"onnxruntime": "1", "lits-deploy": "2"})
        ledger.stage([*FOUND, ScanRecord("volume.nii", 9, 9)])
        ledger.adopt({"bundle": "b"}, BASE)
        ((number, *_),) = ledger.pending(9)
        columns = [(f'{{"position":{k}}}', k, b"mask %d" % k, LOOKS[k % 2], SECONDS[k % 2]) for k in range(9)]
        slices = [SliceRow(number, k, OK, None, 1, 0.2, 0.5, 0.3, *columns[k]) for k in range(9)]
        ledger.record(
            slices, [FileRow(number, OK, None, "cd", "w", HeaderRow("nifti", "study", "", '{"kind":"nifti"}'))]
        )
    redraw(folder)
    return folder


def copy_of(whole: Path, folder: Path) -> Path:
    folder.mkdir()
    shutil.copyfile(whole / FILE_NAME, folder / FILE_NAME)
    return folder


def resume(folder: Path) -> tuple[bytes, ...]:
    """As `classify` goes on where all is done; what the tables then are."""
    with Ledger(folder) as ledger:
        ledger.stage([*FOUND, ScanRecord("volume.nii", 9, 9)])
        assert ledger.adopt({"bundle": "b"}, BASE).pending == 0
        run = json.loads(ledger.noted(RUN) or "")
        write_tables(folder, ("csv",), ledger, classes=run["classes"], provenance=run["provenance"])
    return tables(folder)


def tables(folder: Path) -> tuple[bytes, ...]:
    return tuple((folder / f"{name}.csv").read_bytes() for name in ("slices", "studies"))


def test_flipped_bytes_are_reported_or_change_nothing(whole: Path, tmp_path: Path) -> None:
    good, wanted = (whole / FILE_NAME).read_bytes(), tables(whole)
    used = [at for at, byte in enumerate(good) if byte]
    messages = []
    for seed in range(60):
        dice, data = random.Random(seed), bytearray(good)
        at = dice.choice(used)
        length = dice.choice([0, 16, 512])
        if length:
            data[at : at + length] = dice.randbytes(len(data[at : at + length]))
        else:
            data[at] ^= 1 << dice.randrange(8)
        folder = tmp_path / str(seed)
        folder.mkdir()
        (folder / FILE_NAME).write_bytes(data)
        try:
            assert resume(folder) == wanted, (seed, length, at)
        except OutputError as error:
            messages.append(str(error))
    assert len(messages) > 20
    assert all("--overwrite" in text and "\n" not in text for text in messages)


ALTERED = (
    "UPDATE slice SET p2 = p2 + 1e-12 WHERE p2 IS NOT NULL AND idx = 0",
    "UPDATE slice SET label = 2 WHERE label = 1",
    "UPDATE slice SET status = 2, reason = 'x' WHERE idx = 8",
    "UPDATE slice SET facts = '{\"position\":9}' WHERE idx = 3",
    "UPDATE slice SET idx = 99 WHERE idx = 4",
    "DELETE FROM slice WHERE idx = 2",
    "INSERT INTO slice VALUES (1, 7, 1, NULL, 1, 0, 1, 0, '{}', NULL)",
    "INSERT INTO slice VALUES (999, 0, 2, 'of no file', NULL, NULL, NULL, NULL, '{}', NULL)",
    "UPDATE mask SET labels = x'00' WHERE idx = 1",
    "DELETE FROM mask WHERE idx = 1",
    "UPDATE look SET numbers = x'00' WHERE idx = 1",
    "UPDATE look SET idx = 2 WHERE idx = 1",
    "DELETE FROM look WHERE idx = 1",
    "INSERT INTO look VALUES (1, 0, x'00')",
    "UPDATE second SET tumour = 0 WHERE idx = 1",
    "UPDATE second SET log_odds = log_odds + 1e-12 WHERE idx = 1",
    "DELETE FROM second WHERE idx = 1",
    "UPDATE file SET reason = 'another' WHERE status = 2",
    "UPDATE file SET window = NULL WHERE id = 1",
    "UPDATE file SET sha256 = 'ef' WHERE id = 1",
    "UPDATE file SET path = 'x' WHERE id = 1",
    "UPDATE file SET part = 'x' WHERE id = 1",
    "UPDATE file SET header = 2 WHERE header = 1",
    "UPDATE file SET library = NULL WHERE path = 'volume.nii'",
    "UPDATE library SET versions = '{}'",
    "UPDATE file SET status = 0 WHERE id = 1",
    "UPDATE file SET status = 0, digest = NULL, size = 3 WHERE id = 1",
    "DELETE FROM file WHERE id = 1",
    "INSERT INTO file (path, size, mtime_ns, status) VALUES ('new', 1, 1, 0)",
    "UPDATE header SET study = 'another' WHERE id = 1",
    'UPDATE header SET info = \'{"kind":"picture"}\' WHERE id = 1',
    "DELETE FROM header WHERE id = 1",
    "UPDATE meta SET value = replace(value, 'liver', 'Liver') WHERE key = 'run'",
    "UPDATE meta SET value = 'x' WHERE key = 'run_id'",
    "DELETE FROM meta WHERE key = 'run_id'",
    "DELETE FROM meta WHERE key = 'identity'",
)


@pytest.mark.parametrize("statement", ALTERED)
def test_rows_altered_by_hand_are_reported_before_a_table_is_made(whole: Path, tmp_path: Path, statement: str) -> None:
    out = copy_of(whole, tmp_path / "out")
    db = sqlite3.connect(out / FILE_NAME)
    with db:
        assert db.execute(statement).rowcount > 0
    db.close()
    for again in (redraw, resume):
        with pytest.raises(LedgerError, match=DAMAGED):
            again(out)
        assert [path.name for path in out.glob("*.csv")] == []
    assert examine(out / FILE_NAME) is not None


@pytest.mark.parametrize("change", ["jpeg = x'00'", "contours = '{}'", "idx = idx + 1"])
def test_an_altered_picture_is_reported(whole: Path, tmp_path: Path, change: str) -> None:
    out = tmp_path / "out"
    make_ledger(out, series=SERIES, slices=SLICES).close()
    redraw(out)
    db = sqlite3.connect(out / FILE_NAME)
    with db:
        db.execute(f"UPDATE picture SET {change} WHERE file = (SELECT max(file) FROM picture)")
    db.close()
    with pytest.raises(LedgerError, match="a picture of file"):
        redraw(out)


def test_pages_are_looked_at_after_a_kill_and_not_after_a_good_end(whole: Path, tmp_path: Path) -> None:
    out = copy_of(whole, tmp_path / "out")
    data = bytearray((out / FILE_NAME).read_bytes())
    page = int.from_bytes(data[16:18], "big")
    at = page * (_root(out, "slice") - 1) + 5  # where its cells begin: opening the ledger never reads it
    data[at : at + 2] = b"\xff\xff"
    (out / FILE_NAME).write_bytes(data)
    Ledger(out).close()  # the mark is gone again
    ledger = Ledger(out)
    ledger._db.close()  # as a kill leaves it, but for the log, which sqlite3 OUT/ledger.sqlite would have taken away
    with pytest.raises(LedgerError, match=DAMAGED):
        Ledger(out)
    with pytest.raises(LedgerError, match=DAMAGED):  # and again: the mark stays until it has been mended
        Ledger(out)


def test_a_log_that_was_left_tells_of_a_kill(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, seen = copy_of(whole, tmp_path / "out"), list[str]()
    monkeypatch.setattr("lits_deploy.ledger.check.pages", lambda _db, **_: seen.append("looked"))
    Ledger(out).close()
    assert seen == []
    (out / f"{FILE_NAME}-wal").touch()
    Ledger(out).close()
    assert seen == ["looked"]


@pytest.mark.parametrize(("said", "altered"), [(b"label INTEGER", b"libel INTEGER"), (b"p1 REAL, p2", b"p2 REAL, p1")])
def test_a_table_that_is_described_otherwise_is_damage(
    whole: Path, tmp_path: Path, said: bytes, altered: bytes
) -> None:
    out = copy_of(whole, tmp_path / "out")
    data = (out / FILE_NAME).read_bytes()
    assert data.count(said) == 1
    (out / FILE_NAME).write_bytes(data.replace(said, altered))
    with pytest.raises(LedgerError, match="table `slice` is not as it was made"):
        Ledger(out)
    assert examine(out / FILE_NAME) is not None


def _root(out: Path, table: str) -> int:
    db = sqlite3.connect(out / FILE_NAME)
    ((page,),) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,))
    db.close()
    return int(page)


def test_damage_met_during_a_run_is_one_line_and_other_errors_of_sqlite_are_not(whole: Path, tmp_path: Path) -> None:
    out = copy_of(whole, tmp_path / "out")
    with pytest.raises(LedgerError, match=DAMAGED), OutputFolder(out):
        raise sqlite3.DatabaseError("database disk image is malformed")
    for error in (sqlite3.OperationalError("no such column: x"), sqlite3.IntegrityError("UNIQUE"), ValueError("bug")):
        with pytest.raises(type(error), match=str(error)), OutputFolder(out):
            raise error
    with OutputFolder(out):
        pass  # its lock was given back each time


def test_overwrite_does_all_again_and_keeps_the_salt(whole: Path, tmp_path: Path) -> None:
    out = copy_of(whole, tmp_path / "out")
    salt = salt_of(out, None)
    (out / FILE_NAME).write_bytes((out / FILE_NAME).read_bytes()[:9000])
    with pytest.raises(LedgerError, match=DAMAGED), OutputFolder(out):
        pass
    with OutputFolder(out, overwrite=True) as output:
        assert output.ledger.counts().all == 0  # `keep` stays False: the run fails before its first file
    assert salt_of(out, None) == salt
    assert (out / SALT_FILE).exists()


def test_a_ledger_is_examined_while_a_run_is_at_it(whole: Path, tmp_path: Path) -> None:
    out = copy_of(whole, tmp_path / "out")
    with Ledger(out) as ledger:
        ledger.stage([*FOUND, ScanRecord("volume.nii", 9, 9), ScanRecord("new", 1, 1)])
        ledger.adopt({"bundle": "b"}, BASE)
        ((number, *_),) = ledger.pending(9)
        ledger.record([SliceRow(number, 0, OK, None, 1, 0.0, 1.0, 0.0)], [])  # half-done
        assert examine(out / FILE_NAME) is None
        assert ledger.noted(PICTURES) is None
    assert examine(out / FILE_NAME) is None


def test_damage_that_a_run_met_has_the_pages_looked_at_the_next_time(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, seen = copy_of(whole, tmp_path / "out"), list[str]()
    with pytest.raises(LedgerError, match=DAMAGED), Ledger(out):
        raise sqlite3.DatabaseError("database disk image is malformed")
    monkeypatch.setattr("lits_deploy.ledger.check.pages", lambda _db, **_: seen.append("looked"))
    Ledger(out).close()
    assert seen == ["looked"]


def test_what_is_said_of_damage_quotes_nothing_of_a_patient(whole: Path, tmp_path: Path) -> None:
    out = copy_of(whole, tmp_path / "out")
    db = sqlite3.connect(out / FILE_NAME)
    with db:
        db.execute("UPDATE file SET path = CAST(? AS TEXT) WHERE id = 1", (b"MUSTERMANN\xff",))
    db.close()
    with pytest.raises(LedgerError, match=DAMAGED) as caught:
        resume(out)
    assert "MUSTERMANN" not in f"{caught.value}{examine(out / FILE_NAME)}"


def test_a_damaged_ledger_that_lost_its_notes_is_not_taken_for_another(whole: Path, tmp_path: Path) -> None:
    out = copy_of(whole, tmp_path / "out")
    db = sqlite3.connect(out / FILE_NAME)
    with db:
        db.execute("DELETE FROM meta WHERE key = 'run'")
        db.execute("DELETE FROM slice WHERE idx = 2")
    db.close()
    with pytest.raises(LedgerError, match=DAMAGED):  # not: the run never began
        redraw(out)
    with pytest.raises(LedgerError, match=DAMAGED), OutputFolder(out) as output:  # not: holds another run
        output.check({"bundle": "another"}, BASE, "names")


def test_rows_are_checked_once_in_a_start_that_answers_nothing_and_again_after_answers(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, seen, rows = copy_of(whole, tmp_path / "out"), list[str](), check.rows
    monkeypatch.setattr(check, "rows", lambda db: seen.append("checked") or rows(db))
    assert resume(out) == tables(whole)
    assert seen == ["checked"]
    with Ledger(out) as ledger:
        ledger.stage([*FOUND, ScanRecord("volume.nii", 9, 9), ScanRecord("new", 1, 1)])
        ledger.adopt({"bundle": "b"}, BASE)
        ((number, *_),) = ledger.pending(9)
        ledger.record([SliceRow(number, 0, OK, None, 1, 0.0, 1.0, 0.0)], [FileRow(number, OK, None, "", "w")])
        ledger._db.execute("UPDATE slice SET label = 2 WHERE file = ?", (number,))
        with pytest.raises(LedgerError, match="rows of file"):
            ledger.check()
