"""Objects fetched ahead: shared, bounded, given back; nobody waits for ever, nothing is written to another's file."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from lits_deploy.decode import spool
from lits_deploy.decode.job import DecodeJob, NeighbourSource
from lits_deploy.decode.spool import Fetched, Spool
from lits_deploy.errors import SliceError

READER = "lits_deploy.scans.image"


class Store:
    """In place of a real one: name → bytes, an error, or a function that is called for bytes on their way."""

    def __init__(self, **objects: bytes | BaseException | Callable[[], bytes]) -> None:
        self.objects, self.asked = objects, list[str]()

    def open(self, url: str, member: int | None, version: int | None) -> tuple[int, Iterator[bytes]]:
        name = url.rpartition("/")[2]
        self.asked.append(name)
        found = self.objects[name]
        if callable(found):
            late = found
            return 4, (late() for _ in range(1))
        if isinstance(found, BaseException):
            raise found
        return len(found), iter([found[: len(found) // 2], found[len(found) // 2 :]])


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Store], Spool]]:
    made: list[Spool] = []

    def new(store: Store) -> Spool:
        monkeypatch.setattr(spool, "Fetch", lambda: store)
        made.append(Spool(lambda: None))
        return made[-1]

    yield new
    for one in made:
        one.close()


def job(name: str, *names: str | None) -> DecodeJob:
    neighbours = tuple(None if one is None else NeighbourSource(f"s3://b/{one}", None, 7) for one in names)
    return DecodeJob(1, f"s3://b/{name}", READER, name=name, mtime_ns=7, neighbours=neighbours)


def taken(of: Spool, count: int) -> list[Fetched]:
    """So many jobs, waited for."""
    found: list[Fetched] = []
    deadline = time.monotonic() + 20
    while len(found) < count:
        assert time.monotonic() < deadline
        found += of.take(count - len(found))
        time.sleep(0.001)
    return found


def content(path: str) -> bytes:
    with open(path, "rb") as stream:  # noqa: PTH123 - a descriptor's path
        return stream.read()


def test_a_job_is_sent_as_a_file_that_holds_its_object(make: Callable[[Store], Spool]) -> None:
    of = make(Store(a=b"first", b=b"second"))
    of.begin(iter([job("a"), job("b")]))
    first, second = sorted(taken(of, 2), key=lambda one: one.job.name)
    assert [content(one.sent.path) for one in (first, second)] == [b"first", b"second"]
    assert (first.sent.member, first.sent.file, first.job.path) == (None, 1, "s3://b/a")
    assert of.take(1) == []
    assert of.ended


def test_neighbours_are_fetched_once_and_told_apart_from_what_lay_there(make: Callable[[Store], Spool]) -> None:
    store = Store(a=b"a", b=b"b", c=b"c", d=SliceError("broken"))
    of = make(store)
    of.begin(iter([job("a", None, None, "b"), job("b", "a", None, "c"), job("c", "b", None, "d")]))
    one, two, three = taken(of, 3)
    assert [other and content(other.path) for other in one.sent.neighbours] == [None, None, b"b"]
    assert [other and content(other.path) for other in two.sent.neighbours] == [b"a", None, b"c"]
    assert [other and content(other.path) for other in three.sent.neighbours] == [b"b", None, None]
    assert one.sent.neighbours[2] == NeighbourSource(two.sent.path, None, two.sent.mtime_ns)
    assert sorted(store.asked) == ["a", "b", "c", "d"]
    assert three.reason is None
    serials = {one.sent.mtime_ns, two.sent.mtime_ns, three.sent.mtime_ns}
    for done in (one, two, three):
        of.release(done)
    of.begin(iter([job("a")]))
    assert taken(of, 1)[0].sent.mtime_ns not in serials


def test_what_cannot_be_had_is_the_file_s_reason(make: Callable[[Store], Spool]) -> None:
    of = make(Store(a=SliceError("access denied")))
    of.begin(iter([job("a")]))
    assert taken(of, 1)[0].reason == "access denied"


def test_a_lack_of_memory_ends_the_run(make: Callable[[Store], Spool]) -> None:
    of = make(Store(a=MemoryError()))
    of.begin(iter([job("a")]))
    with pytest.raises(MemoryError):
        taken(of, 1)


def test_objects_are_bounded_in_number_and_come_when_others_go(make: Callable[[Store], Spool]) -> None:
    names = [f"o{n}" for n in range(spool.OBJECTS + 50)]
    store = Store(**{name: name.encode() for name in names})
    of = make(store)
    of.begin(job(name) for name in names)
    first = taken(of, spool.OBJECTS)
    assert of.take(1) == []
    assert not of.ended
    assert of.starving
    assert len(store.asked) == spool.OBJECTS
    for one in first:
        of.release(one)
    rest = taken(of, 50)
    assert sorted(content(one.sent.path).decode() for one in rest) == sorted({*names} - {one.job.name for one in first})
    assert len({one.sent.path for one in rest}) == 50


def test_jobs_that_hold_all_room_and_wait_for_each_other_go_on(
    make: Callable[[Store], Spool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "BYTES", 1000)
    names = [f"o{n}" for n in range(40)]
    of = make(Store(**{name: bytes(400) for name in names}))
    of.begin(job(names[i], names[max(0, i - 1)], None, names[min(39, i + 1)]) for i in range(40))
    for _ in range(40):
        (one,) = taken(of, 1)
        assert of._bytes <= 400 * 8  # of 40: some jobs that were begun already
        of.release(one)
    assert of._bytes == 0


def test_what_comes_after_the_end_is_written_to_no_file(make: Callable[[Store], Spool]) -> None:
    go, begun = threading.Event(), threading.Event()

    def slow() -> bytes:
        begun.set()
        go.wait(20)
        return b"late"

    names = [f"o{number}" for number in range(3 * spool.OBJECTS)]
    of = make(Store(late=slow, **{name: name.encode() for name in names}))
    of.begin(iter([job("late")]))
    assert of.take(1) == []
    begun.wait(20)
    of.end()
    of.begin(map(job, names))
    for _ in names:
        (one,) = taken(of, 1)
        assert content(one.sent.path).decode() == one.job.name
        go.set()
        of.release(one)
    deadline = time.monotonic() + 20
    while len(of._free) < spool.OBJECTS:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert sorted(of._free) == sorted(of.descriptors)
    assert all(os.fstat(descriptor).st_size == 0 for descriptor in of.descriptors)


def test_closed_while_objects_come_touches_no_file_that_is_opened_then(make: Callable[[Store], Spool]) -> None:
    go, begun = threading.Event(), threading.Event()

    def slow() -> bytes:
        begun.set()
        go.wait(20)
        return b"a patient"

    of = make(Store(late=slow))
    of.begin(iter([job("late")]))
    of.take(1)
    begun.wait(20)
    of.close()
    others = [os.memfd_create("another") for _ in range(spool.OBJECTS)]
    go.set()
    of._threads.shutdown(wait=True)
    assert all(os.fstat(other).st_size == 0 for other in others)
    for other in others:
        os.close(other)
