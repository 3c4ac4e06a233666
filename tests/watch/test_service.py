"""The watch: studies are classified once complete, earlier results stay, and nothing that goes wrong ends it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from fake_runtime import FakeRuntime
from folder_runs import SALT, SIZE, classify, rows, tricks
from lits_deploy.bundle import Bundle
from lits_deploy.errors import BundleError, OutputError, UserError
from lits_deploy.ledger import Ledger
from lits_deploy.pipeline.context import RunHooks
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.stop import Stop
from lits_deploy.runtime.base import Batch, Outputs
from lits_deploy.scans.paths import escape
from lits_deploy.watch import service
from lits_deploy.watch.folders import alone
from pictures import encoded, grey_pixels, save
from tiny_bundle import make_tiny_bundle
from watching import Script, Watched, nothing


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"), size=SIZE, crop=56)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


def study(inbox: Path, name: str, slices: int = 3, start: int = 0) -> None:
    for number in range(start, start + slices):
        save(inbox / name / f"slice-{number:03d}.png", grey_pixels(SIZE, crc32(f"{name} {number}".encode())))


def paths(out: Path) -> list[str]:
    return [row["path"] for row in rows(out)]


def test_a_study_is_classified_when_it_has_been_quiet_and_grows_no_more(
    bundle: Bundle, inbox: Path, tmp_path: Path
) -> None:
    watched = Watched(
        bundle,
        inbox,
        tmp_path / "out",
        (5, lambda: study(inbox, "Miller Anna", 2)),
        (20, lambda: study(inbox, "Miller Anna", 1, start=2)),
        (29, nothing),
        (1, nothing),
        quiet_s=30,
    )
    assert watched.times == [55]
    (line,) = watched.lines
    assert line.startswith("study ")
    assert "3 slices, rank 1 of 1 (suspicion 0." in line
    assert watched.notes == ["Watching by a script. Entries: 0, 0 of them to do."]
    assert line.startswith(f"study {rows(tmp_path / 'out')[0]['study']}, entry Miller Anna: ")


def test_the_results_are_those_of_one_run_over_everything(bundle: Bundle, inbox: Path, tmp_path: Path) -> None:
    def complete_b() -> None:
        study(inbox, "b", 1, start=3)
        (inbox / "b" / "broken.png").write_bytes(b"")

    study(inbox, "a")
    study(inbox, "b")
    watched = Watched(bundle, inbox, tmp_path / "out", (10, complete_b), (40, nothing), (40, nothing), quiet_s=20)
    assert len(watched.lines) == 3  # a, b, and b's file that belongs to its series only by its path
    classify(bundle, inbox, tmp_path / "at once")
    for name in ("slices.csv", "studies.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "at once" / name).read_bytes()


def test_a_study_that_is_there_already_says_of_what_it_is_a_copy(bundle: Bundle, inbox: Path, tmp_path: Path) -> None:
    study(inbox, "a")
    watched = Watched(
        bundle,
        inbox,
        tmp_path / "out",
        (40, lambda: shutil.copytree(inbox / "a", inbox / "again") and None),
        (40, nothing),
        quiet_s=20,
    )
    first, again = watched.lines
    series = next(row["series"] for row in rows(tmp_path / "out") if row["path"].startswith("a/"))
    assert "rank 1 of 1" in first
    assert again.endswith(f"entry again: 3 slices, a copy of series {series}, not ranked")


def test_earlier_results_stay_while_a_study_grows_and_after_it_was_moved_away(
    bundle: Bundle, inbox: Path, tmp_path: Path
) -> None:
    out, seen = tmp_path / "out", []

    def grow() -> None:
        study(inbox, "a", 1, start=3)
        study(inbox, "b")

    def take_away() -> None:
        seen.append(paths(out))
        shutil.rmtree(inbox / "a")
        study(inbox, "b", 1, start=3)
        study(inbox, "c", 1)

    study(inbox, "a")
    watched = Watched(bundle, inbox, out, (30, nothing), (5, grow), (29, take_away), (31, nothing), quiet_s=30)
    assert seen == [["a/slice-000.png", "a/slice-001.png", "a/slice-002.png"]]
    assert len(paths(out)) == 3 + 4 + 1
    assert [line.split(": ")[1].split(",")[0] for line in watched.lines] == ["3 slices", "4 slices", "1 slice"]


def test_a_file_that_leaves_a_study_leaves_its_results(bundle: Bundle, inbox: Path, tmp_path: Path) -> None:
    study(inbox, "a")
    study(inbox, "b")
    gone = inbox / "a" / "slice-001.png"
    Watched(bundle, inbox, tmp_path / "out", (30, gone.unlink), (30, nothing), (30, nothing), quiet_s=30)
    assert len(paths(tmp_path / "out")) == 5
    assert "a/slice-001.png" not in paths(tmp_path / "out")


@pytest.mark.parametrize("pseudonymous", [False, True])
def test_started_again_it_does_what_arrived_meanwhile_and_nothing_twice(
    bundle: Bundle, inbox: Path, tmp_path: Path, pseudonymous: bool
) -> None:
    options = ClassifyOptions(salt=SALT, workers=1, pseudonymous=pseudonymous)
    study(inbox, "a")
    first = Watched(bundle, inbox, tmp_path / "out", (30, nothing), (1, nothing), options=options)
    study(inbox, "b", 2)
    second = Watched(bundle, inbox, tmp_path / "out", (30, nothing), (1, nothing), options=options)
    assert len(first.lines) == len(second.lines) == 1
    assert "2 slices" in second.lines[0]
    assert second.notes == ["Watching by a script. Entries: 2, 1 of them to do."]
    assert len(rows(tmp_path / "out")) == 5
    third = Watched(bundle, inbox, tmp_path / "out", (30, nothing), (1, nothing), options=options)
    assert third.lines == []


def test_stopped_in_the_middle_of_a_study_it_goes_on_there(bundle: Bundle, inbox: Path, tmp_path: Path) -> None:
    stop = Stop()

    class Interrupting(FakeRuntime):
        def _infer(self, batch: Batch) -> Outputs:
            stop.request()
            return super()._infer(batch)

    study(inbox, "a", 30)
    script = Script(stop, (30, nothing), (1, nothing))
    lines: list[Any] = []
    summary = service.watch_folder(
        bundle,
        inbox,
        tmp_path / "out",
        options=ClassifyOptions(salt=SALT, workers=1, batch_size=2),
        runtime=Interrupting(shape=(1, SIZE, SIZE)),
        watch=service.WatchOptions(changes=script, clock=script.clock),
        hooks=RunHooks(stop=stop),
        notices=service.WatchNotices(study=lines.append),
    )
    assert summary.stopped
    assert not lines
    assert 0 < len(rows(tmp_path / "out")) < 30
    again = Watched(bundle, inbox, tmp_path / "out", (30, nothing), (1, nothing))
    assert len(again.lines) == 1
    assert len(rows(tmp_path / "out")) == 30


def test_a_half_done_study_that_is_gone_leaves(bundle: Bundle, inbox: Path, tmp_path: Path) -> None:
    study(inbox, "a")
    Watched(bundle, inbox, tmp_path / "out", (30, nothing), (1, nothing))
    with Ledger(tmp_path / "out") as ledger:  # as a kill leaves it
        ledger._db.execute("UPDATE file SET status = 0, digest = NULL WHERE path = 'a/slice-000.png'")
    shutil.rmtree(inbox / "a")
    watched = Watched(bundle, inbox, tmp_path / "out", (30, nothing))
    assert (watched.summary.missing, watched.summary.files) == (0, 2)


def test_entries_without_scans_and_with_failures_are_reported(bundle: Bundle, inbox: Path, tmp_path: Path) -> None:
    (inbox / "letters").mkdir()
    (inbox / "letters" / "report.txt").write_text("no scan")
    (inbox / "note.txt").write_text("no scan")
    tricks(inbox / "bad", bad="fail", good="grey 200")
    watched = Watched(bundle, inbox, tmp_path / "out", (30, nothing), (1, nothing))
    assert sorted(line.split(": ")[1] for line in watched.lines) == ["2 slices, 1 failed", "no scans", "no scans"]
    assert {row["path"] for row in rows(tmp_path / "out")} == {"bad/bad.test", "bad/good.test"}


def test_a_study_of_which_only_ctimes_moved_is_not_reported_again_and_an_altered_one_is(
    bundle: Bundle, inbox: Path, tmp_path: Path
) -> None:
    tricks(inbox / "a", one="grey 3", bad="fail")

    def alter() -> None:
        before = (inbox / "a/one.test").stat()
        (inbox / "a/one.test").write_text("grey 9")
        os.utime(inbox / "a/one.test", ns=(before.st_atime_ns, before.st_mtime_ns))

    steps = ((30, nothing), (1, lambda: (inbox / "a/one.test").chmod(0o640)), (40, alter), (40, nothing), (1, nothing))
    watched = Watched(bundle, inbox, tmp_path / "out", *steps)
    assert watched.times == [30, 101]


@pytest.mark.parametrize("pseudonymous", [False, True])
def test_acknowledged_failures_are_told_apart(bundle: Bundle, inbox: Path, tmp_path: Path, pseudonymous: bool) -> None:
    tricks(inbox / "bad", bad="fail", worse="fail", good="grey 200")
    options = ClassifyOptions(salt=SALT, workers=1, ignore=("*/worse.*",), pseudonymous=pseudonymous)
    watched = Watched(bundle, inbox, tmp_path / "out", (30, nothing), (1, nothing), options=options)
    assert [line.split(": ")[1] for line in watched.lines] == ["3 slices, 1 failed, 1 failed, acknowledged"]


class Picky(FakeRuntime):
    """Breaks over a white slice, as a bug would."""

    def _infer(self, batch: Batch) -> Outputs:
        if batch.min() == 255:
            raise ZeroDivisionError("patient Miller")
        return super()._infer(batch)


def test_a_study_that_breaks_a_run_costs_no_other_and_is_set_aside(bundle: Bundle, inbox: Path, tmp_path: Path) -> None:
    study(inbox, "a")
    tricks(inbox / "evil", white="grey 255")
    study(inbox, "z")
    options = ClassifyOptions(salt=SALT, workers=1, batch_size=1)

    def mend() -> None:
        tricks(inbox / "evil", white="grey 7 then grey 8")

    watched = Watched(
        bundle,
        inbox,
        tmp_path / "out",
        (30, nothing),
        (10, nothing),
        (300, nothing),
        (1000, mend),
        (31, nothing),
        (1, nothing),
        runtime=Picky(shape=(1, SIZE, SIZE)),
        options=options,
    )
    assert len(watched.lines) == 3
    assert watched.times[:2] == [40, 40]  # the others, as soon as they were tried without it
    assert watched.times[2] > 1300
    together, alone = watched.notes[1:]  # once each, however often they were tried
    assert together.startswith("A run over 3 entries broke: ZeroDivisionError at ")
    assert alone.startswith("Entry evil broke its run: ZeroDivisionError at ")
    assert "set aside until it changes" in alone
    assert not any("Miller" in note for note in watched.notes)
    assert len(rows(tmp_path / "out")) == 8


def test_a_study_that_broke_a_run_is_named_once_over_restarts_too(bundle: Bundle, inbox: Path, tmp_path: Path) -> None:
    tricks(inbox / "evil", white="grey 255")
    steps = [(30.0, nothing), (20.0, nothing), (100.0, nothing), (1.0, nothing)]
    network = Picky(shape=(1, SIZE, SIZE))
    notes = []
    for change in (nothing, nothing, lambda: tricks(inbox / "evil", white="grey 255", more="grey 3")):
        change()
        options = ClassifyOptions(salt=SALT, workers=1, batch_size=1)
        watched = Watched(bundle, inbox, tmp_path / "out", *steps, runtime=network, options=options)
        notes.append(sum("Entry evil broke its run" in note for note in watched.notes))
    assert notes == [1, 0, 1]  # the last one has changed


HOSTILE = (
    b"not-utf8-\xff\xfe",
    b"\x1b[31mred",
    b"new\nline",
    "rtl-\u202egnp".encode(),
    b"\xed\xa0\x80half",
    b"a[bold]",
    b"back\\slash",
    b"-rf",
    b'quote"',
)


@pytest.mark.parametrize("pseudonymous", [False, True])
def test_no_name_ends_it_and_lines_are_printable(
    bundle: Bundle, inbox: Path, tmp_path: Path, pseudonymous: bool
) -> None:
    picture = encoded(grey_pixels(SIZE, 1))
    for raw in HOSTILE:
        folder = inbox / os.fsdecode(raw)
        folder.mkdir()
        (folder / os.fsdecode(raw + b".png")).write_bytes(picture)
        (folder / os.fsdecode(b"other." + raw)).write_bytes(b"no scan")
        (inbox / os.fsdecode(raw + b".png")).write_bytes(picture)
    (inbox / os.fsdecode(b"set-aside-\xff")).mkdir()
    (inbox / os.fsdecode(b"set-aside-\xff") / "white.test").write_text("grey 255")
    options = ClassifyOptions(salt=SALT, workers=1, batch_size=1, pseudonymous=pseudonymous)
    steps = [(30.0, nothing), (10.0, nothing), (1.0, nothing)]
    watched = Watched(bundle, inbox, tmp_path / "out", *steps, options=options, runtime=Picky(shape=(1, SIZE, SIZE)))
    named = {line.partition("entry ")[2].partition(": ")[0] for line in watched.lines}
    shown = {escape(os.fsdecode(raw + end)) for raw in HOSTILE for end in (b"", b".png")}
    assert len(named) == len(shown)
    assert (named == shown) != pseudonymous
    assert all(line.isprintable() for line in [*watched.lines, *watched.notes])
    assert sum("broke its run" in note for note in watched.notes) == 1
    again = Watched(bundle, inbox, tmp_path / "out", *steps, options=options)
    assert len(again.lines) == 1  # of the one that broke


def test_a_folder_that_cannot_be_written_for_a_while_is_waited_for(
    bundle: Bundle, inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, real = [], service.run_folder

    def failing(*arguments: Any, **named: Any) -> Any:
        calls.append(set(arguments[1].only))
        if 1 < len(calls) < 5:
            raise OutputError("The disk is full.", fix="make room")
        return real(*arguments, **named)

    monkeypatch.setattr(service, "run_folder", failing)
    study(inbox, "a")
    study(inbox, "b")
    steps = [(10, nothing)] * 12
    watched = Watched(bundle, inbox, tmp_path / "out", *steps, quiet_s=10)
    assert calls == [set(), *[{"a", "b"}] * 4]
    assert watched.times == [80, 80]  # 10, then 10, 20 and 40 s later
    assert watched.notes[1:] == ["A run failed: The disk is full. It is tried again until it succeeds."]


def test_an_inbox_that_cannot_be_listed_for_a_while_is_waited_for(bundle: Bundle, inbox: Path, tmp_path: Path) -> None:
    study(inbox, "a")
    away = tmp_path / "away"
    watched = Watched(
        bundle,
        inbox,
        tmp_path / "out",
        (30, lambda: inbox.rename(away)),
        (10, lambda: away.rename(inbox)),
        (30, nothing),
        (1, nothing),
        quiet_s=30,
    )
    assert watched.notes[1] == "The inbox cannot be listed (no such file or directory). It is tried again."
    assert len(watched.lines) == 1


def test_the_network_is_opened_once_and_again_after_a_failure(
    bundle: Bundle, inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[FakeRuntime] = []
    closed: list[FakeRuntime] = []

    class Counted(FakeRuntime):
        def close(self) -> None:
            closed.append(self)

        def _infer(self, batch: Batch) -> Outputs:
            if len(opened) == 1:
                raise UserError("The device was lost.")
            return super()._infer(batch)

    def open_network(*_: Any, **__: Any) -> FakeRuntime:
        opened.append(Counted(shape=(1, SIZE, SIZE)))
        return opened[-1]

    monkeypatch.setattr(service, "open_network", open_network)
    stop = Stop()
    for name in ("a", "b"):
        study(inbox, name)
    steps = [(30.0, nothing), (10.0, lambda: study(inbox, "c")), (30.0, nothing), (1.0, nothing)]
    script, lines = Script(stop, *steps), list[Any]()
    service.watch_folder(
        bundle,
        inbox,
        tmp_path / "out",
        options=ClassifyOptions(salt=SALT, workers=1),
        watch=service.WatchOptions(changes=script, clock=script.clock),
        hooks=RunHooks(stop=stop),
        notices=service.WatchNotices(study=lines.append),
    )
    assert len(opened) == 2
    assert closed == opened
    assert len(lines) == 3


def test_what_is_wrong_at_the_start_is_an_error(bundle: Bundle, inbox: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="lies in the inbox"):
        Watched(bundle, inbox, inbox / "out")
    with pytest.raises(UserError, match="not a folder"):
        Watched(bundle, inbox / "none", tmp_path / "out")
    unet = make_tiny_bundle(tmp_path / "unet", task="segment", size=SIZE, crop=56)
    with pytest.raises(BundleError, match="needs a classifier"):
        Watched(unet, inbox, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    other = make_tiny_bundle(tmp_path / "other", size=SIZE, crop=48)
    Watched(other, inbox, tmp_path / "out")
    with pytest.raises(OutputError, match="holds another run"):
        Watched(bundle, inbox, tmp_path / "out")
    with alone(tmp_path / "out"), pytest.raises(OutputError, match="Another watch"):
        Watched(other, inbox, tmp_path / "out")


def test_its_ledger_holds_no_name_of_an_entry_where_paths_are_pseudonyms(
    bundle: Bundle, inbox: Path, tmp_path: Path
) -> None:
    study(inbox, "Miller Anna")
    options = ClassifyOptions(salt=SALT, workers=1, pseudonymous=True)
    Watched(bundle, inbox, tmp_path / "out", (30, nothing), (1, nothing), options=options)
    for path in (tmp_path / "out").rglob("*"):
        assert b"Miller" not in path.read_bytes()
    with Ledger(tmp_path / "out") as ledger:
        assert len(json.loads(ledger.noted(service.DONE) or "{}")) == 1
