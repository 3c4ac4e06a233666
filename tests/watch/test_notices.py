"""What a watch says of itself: its queue, its idling, and events without the names of entries."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from folder_runs import SIZE
from lits_deploy.bundle import Bundle
from lits_deploy.cli.watch_messages import Watching
from lits_deploy.events.metrics import METRICS
from lits_deploy.events.session import CommandSession, ReportingOptions
from lits_deploy.pipeline.options import Progress
from lits_deploy.scans.listing import Listing
from lits_deploy.watch.service import Queue
from lits_deploy.watch.studies import StudyLine
from lits_deploy.watch.systemd import Systemd
from pictures import encoded, grey_pixels
from tiny_bundle import make_tiny_bundle
from watching import Watched, nothing


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"), size=SIZE, crop=56)


class Signs(Systemd):
    """Keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__({})
        self.said: list[str] = []

    def ready(self) -> None:
        self.said.append("ready")

    def idle(self, status: str) -> None:
        self.said.append(status)

    def busy(self, status: str) -> None:
        self.said.append(status)


def put(inbox: Path, name: str) -> None:
    (inbox / name).mkdir()
    (inbox / name / "1.png").write_bytes(encoded(grey_pixels(SIZE)))


def test_the_service_says_when_it_is_ready_idle_and_at_work(bundle: Bundle, tmp_path: Path) -> None:
    inbox, calls = tmp_path / "inbox", list[Any]()
    inbox.mkdir()

    def progress(progress: Progress) -> None:
        calls.append((progress.done, progress.files))

    notices = {
        "ready": lambda: calls.append("ready"),
        "idle": lambda find: calls.append(find()),
        "run": lambda entries: calls.append(entries),
    }
    steps = [(1.0, lambda: put(inbox, "Miller")), (40.0, nothing), (1.0, nothing)]
    watched = Watched(bundle, inbox, tmp_path / "out", *steps, notices=notices, on_progress=progress)
    assert len(watched.lines) == 1
    seen = list(dict.fromkeys(calls))
    assert seen[0] == "ready"
    assert seen[1:4] == [
        Queue(all=0, to_do=0, set_aside=0, failures=0),
        Queue(all=1, to_do=1, set_aside=0, failures=0),
        1,
    ]
    assert [one for one in seen[4:] if one != (0, 1)] == [(1, 1), Queue(all=1, to_do=0, set_aside=0, failures=0)]


def test_a_failed_run_and_an_entry_that_is_set_aside_are_counted(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lits_deploy.watch import service

    inbox, queues = tmp_path / "inbox", list[Queue]()
    inbox.mkdir()
    put(inbox, "Miller")
    ran = service.run_folder

    def breaks(bundle: Bundle, listing: Listing, *arguments: Any, **more: Any) -> Any:
        if listing.only and len(queues) < 4:
            raise OSError(28, "No space left on device")
        if listing.only:
            raise ValueError("Miller")
        return ran(bundle, listing, *arguments, **more)

    monkeypatch.setattr(service, "run_folder", breaks)
    steps = [(2000.0, nothing) for _ in range(12)]
    watched = Watched(bundle, inbox, tmp_path / "out", *steps, notices={"idle": lambda find: queues.append(find())})
    assert max(queue.failures for queue in queues) >= 1
    assert queues[-1] == Queue(all=1, to_do=1, set_aside=1, failures=queues[-1].failures)
    assert [note for note in watched.notes if note.startswith("Entry Miller broke its run: ValueError at ")]


def test_events_of_a_watch_have_no_entry_and_heartbeats_its_queue(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, signs, now = list[str](), Signs(), [0.0]
    watching = Watching(signs, clock=lambda: now[0])
    notices = watching.notices()
    idle = Queue(all=2, to_do=1, set_aside=0, failures=3)
    asked = ReportingOptions(log_format="json", verbose=True, metrics=tmp_path / "m")
    with CommandSession("watch", asked, show=lines.append) as session:
        session.follow(watching.figures)
        session.beat()
        watching.on_progress(Progress(files=0, done=0, failed=0, slices=0, seconds=0.0))
        notices.ready()
        notices.idle(lambda: idle)
        notices.idle(lambda: 1 / 0)  # type: ignore[arg-type,return-value] # not counted again within seconds
        session.beat()
        notices.run(1)
        watching.on_progress(Progress(files=4, done=1, failed=1, slices=6, seconds=2.0, note="short"))
        session.beat()
        notices.study(StudyLine(entry="Miller", study="0a1b", slices=3, rank=1, ranked=2, suspicion=0.5))
        notices.broke("Smith", "ValueError at x.py:1, which is a bug.")
        now[0] += 1
        notices.idle(lambda: Queue(all=2, to_do=0, set_aside=0, failures=0))
        now[0] += 4.9
        notices.idle(lambda: 1 / 0)  # type: ignore[arg-type,return-value]
        now[0] += 0.2
        notices.idle(lambda: idle)
        session.beat()
    assert "Miller" in capsys.readouterr().out
    events = [json.loads(line) for line in lines]
    assert "Miller" not in "".join(lines)
    assert "Smith" not in "".join(lines)
    beats = [event for event in events if event["event"] == "heartbeat"]
    assert [beat["what"] for beat in beats] == ["idle", "idle", "run", "idle"]
    assert [beat.get("inbox_to_do") for beat in beats] == [None, 1, 1, 1]
    assert (beats[2]["done"], beats[2]["total"], beats[2]["per_second"], beats[2]["note"]) == (1, 4, 3.0, "short")
    (study,) = (event for event in events if event["event"] == "study")
    assert (study["study"], study["slices"], study["suspicion"]) == ("0a1b", 3, 0.5)
    (broke,) = (event for event in events if event["event"] == "entry_broke")
    assert broke["message"] == "An entry broke its run: ValueError at x.py:1, which is a bug."
    assert [event["to_do"] for event in events if event["event"] == "queue"] == [1, 0, 1]
    assert signs.said == [
        "ready",
        "Watching: 2 entries, 1 to do",
        "Watching: 2 entries, 1 to do",
        "Classifying 1 entry",
        "Classifying 1 entry: 1 of 4 files",
        "Watching: 2 entries, 0 to do",
        "Watching: 2 entries, 0 to do",
        "Watching: 2 entries, 1 to do",
    ]
    text = (tmp_path / "m").read_text()
    assert 'lits_deploy_inbox_entries{command="watch",state="to_do"} 1' in text
    assert 'lits_deploy_inbox_failures{command="watch"} 3' in text
    assert "last_study_timestamp_seconds" in METRICS
    assert "lits_deploy_last_study_timestamp_seconds" in text


def test_a_broken_entry_is_named_to_the_person_who_watches(caplog: pytest.LogCaptureFixture) -> None:
    lines: list[str] = []
    with CommandSession("watch", ReportingOptions(), show=lines.append):
        Watching(Signs()).notices().broke("Miller", "why.")
        logging.getLogger("lits_deploy").debug("more")
    assert lines == ["Entry Miller broke its run: why."]
