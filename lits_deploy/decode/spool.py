"""Objects of jobs, fetched ahead of the decode workers by threads, and put where a worker can read them as a file.

That is memory of this process which workers have inherited (`memfd`): it has no name, lies on no disk and is gone with
the last process that has it, however that ends. How much is fetched ahead is bounded, in objects and in bytes; what
neighbouring slices share is fetched once. An object that cannot be had is its file's reason.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count

from lits_deploy.decode.job import DecodeJob, NeighbourSource
from lits_deploy.errors import SliceError
from lits_deploy.scans.fetch import Fetch, is_object

OBJECTS = 96
"""At once, in the workers' queues and ahead of them; also descriptors that each worker has inherited."""

BYTES = 256 << 20
"""Together; a larger object is fetched when there is no other. Where jobs of several objects hold all of it and wait
for the rest of theirs, the first of them gets a little more."""

THREADS = 32
"""Each waits some tens of ms for each answer."""

_LOOK_S = 0.2

MOST = 800 << 20
"""Bytes of the largest file that any reader takes; of a larger one the reader gets nothing but its size."""


@dataclass(eq=False)
class _Object:
    """What is fetched. users: jobs that want it; reserved: of BYTES; begun, done: by its thread."""

    source: NeighbourSource
    descriptor: int
    serial: int
    users: int = 0
    reserved: int = 0
    begun: bool = False
    done: bool = False
    reason: str | None = None
    error: BaseException | None = None

    @property
    def there(self) -> NeighbourSource:
        """Where a worker reads it. The serial tells it from what lay there before."""
        return NeighbourSource(f"/proc/self/fd/{self.descriptor}", None, self.serial)


@dataclass(eq=False)
class Fetched:
    """A job and its objects, there or on their way. own: the job's; neighbours: theirs (`DecodeJob.neighbours`)."""

    job: DecodeJob
    objects: list[_Object] = field(default_factory=list)
    own: _Object | None = None
    neighbours: tuple[_Object | None, ...] = ()

    @property
    def is_ready(self) -> bool:
        """Whether all of it is there."""
        return all(one.done for one in self.objects)

    @property
    def reason(self) -> str | None:
        """Why it cannot be decoded; a neighbour that cannot be had is none to be used."""
        return None if self.own is None else self.own.reason

    @property
    def sent(self) -> DecodeJob:
        """The same job as a worker gets it."""
        if self.own is None:
            return self.job
        path, member, serial = self.own.there
        usable = (None if one is None or one.reason else one.there for one in self.neighbours)
        return replace(self.job, path=path, member=member, mtime_ns=serial, neighbours=tuple(usable))


class Spool:
    """Fetches for one run after the other. wake: called from another thread when something has come.

    descriptors: of the files, for workers to inherit.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake, self._room = wake, threading.Condition()
        self.descriptors = tuple(os.memfd_create(f"lits-deploy-{n}", os.MFD_CLOEXEC) for n in range(OBJECTS))
        self._free = deque(self.descriptors)
        self._objects: dict[NeighbourSource, _Object] = {}
        self._waiting: deque[Fetched] = deque()
        self._jobs: Iterator[DecodeJob] = iter(())
        self._next: DecodeJob | None = None
        self._serials, self._bytes = count(1), 0
        self._delivered, self._awaiting = 0, set[int]()
        self._closed = False
        self._fetch = Fetch()
        self._threads = ThreadPoolExecutor(THREADS, "fetch")
        self.ended = True
        self.starving = False

    def begin(self, jobs: Iterator[DecodeJob]) -> None:
        """Fetch for these jobs from now on."""
        self._jobs, self.ended = jobs, False

    def take(self, most: int) -> list[Fetched]:
        """Jobs whose objects have come, up to so many; `ended` once there will be no more. `starving`: fewer than that
        have come, and others are awaited. Raises what a thread could not deal with (memory)."""
        self._ask()
        ready: list[Fetched] = []
        for one in list(self._waiting):
            if len(ready) < most and one.is_ready:
                ready.append(one)
                self._waiting.remove(one)
        with self._room:
            self._delivered += sum(bool(one.objects) for one in ready)
        for error in (each.error for one in ready for each in one.objects):
            if error is not None:
                raise error
        self.ended = self._next is None and not self._waiting and self._jobs is _NOTHING
        self.starving = not self.ended and len(ready) < most
        return ready

    def release(self, fetched: Fetched) -> None:
        """A job is done with."""
        with self._room:
            self._delivered -= bool(fetched.objects)
            for one in fetched.objects:
                one.users -= 1
                if not one.users:
                    del self._objects[one.source]
                    self._put_back(one)
            fetched.objects = []

    def end(self) -> None:
        """Nothing of what was fetched is wanted any more."""
        with self._room:
            self._jobs, self._next, self.ended = _NOTHING, None, True
            self._waiting.clear()
            self._delivered = 0
            for one in self._objects.values():
                one.users = 0
                self._put_back(one)
            self._objects.clear()
            self._room.notify_all()

    def close(self) -> None:
        """Give the memory back. Threads that wait for the store end when it answers."""
        if self._closed:
            return
        self.end()
        with self._room:
            self._closed = True
            for descriptor in self.descriptors:
                os.close(descriptor)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _ask(self) -> None:
        """Begin to fetch as much as there is room for."""
        while True:
            if self._next is None:
                self._next = next(self._jobs, None)
            if self._next is None:
                self._jobs = _NOTHING
                return
            fetched = self._begun(self._next)
            if fetched is None:
                return
            self._waiting.append(fetched)
            self._next = None

    def _begun(self, job: DecodeJob) -> Fetched | None:
        """A job whose objects are on their way; None where there is no room for them."""
        if not is_object(job.path):
            return Fetched(job)
        wanted = list(dict.fromkeys([job.source, *filter(None, job.neighbours)]))
        with self._room:
            new = [source for source in wanted if source not in self._objects]
            if len(new) > len(self._free):
                return None
            for source in new:
                one = _Object(source, self._free.popleft(), next(self._serials))
                self._objects[source] = one
                self._threads.submit(self._run, one)
            objects = [self._objects[source] for source in wanted]
            for one in objects:
                one.users += 1
        neighbours = tuple(source and self._objects[source] for source in job.neighbours)
        return Fetched(job, objects, objects[0], neighbours)

    def _run(self, one: _Object) -> None:
        """In a thread: fetch an object."""
        try:
            with self._wanted(one):
                one.begun = True
            size, pieces = self._fetch.open(*one.source)
            self._reserve(one, min(size, MOST))
            at = 0
            for piece in pieces if size <= MOST else ():
                with self._wanted(one):
                    _write_all(one.descriptor, piece, at)
                at += len(piece)
            if size > MOST:
                with self._wanted(one):
                    os.ftruncate(one.descriptor, size)  # all of it a hole
        except _UnwantedError:
            pass
        except SliceError as error:
            one.reason = str(error)
        except BaseException as error:
            one.error = error
        finally:
            with self._room:
                one.done = True
                if not one.users:
                    self._put_back(one)
            self._wake()

    def _reserve(self, one: _Object, size: int) -> None:
        """Wait until there is room for so many bytes, or until nothing else would make room."""
        with self._room:
            self._awaiting.add(one.serial)
            try:
                while one.users and self._bytes and self._bytes + size > BYTES and not self._is_due(one):
                    self._room.wait(_LOOK_S)
            finally:
                self._awaiting.discard(one.serial)
            if not one.users:
                raise _UnwantedError
            one.reserved = size
            self._bytes += size

    def _is_due(self, one: _Object) -> bool:
        """Whether all wait for each other: jobs whose other objects hold the room, and this the first of those."""
        coming = any(
            each.begun and not each.done and each.serial not in self._awaiting for each in self._objects.values()
        )
        goes_on = self._delivered or coming or any(job.is_ready for job in self._waiting)
        return not goes_on and one.serial == min(self._awaiting)

    @contextmanager
    def _wanted(self, one: _Object) -> Iterator[None]:
        """To write to an object's file, unless that is somebody else's by now."""
        with self._room:
            if not one.users or self._closed:
                raise _UnwantedError
            yield

    def _put_back(self, one: _Object) -> None:
        """Free an object's file and room once its thread is done with it. To be called with the lock."""
        if one.done and not self._closed:
            self._bytes -= one.reserved
            one.reserved = 0
            with suppress(OSError):
                os.ftruncate(one.descriptor, 0)
            self._free.append(one.descriptor)
            self._room.notify_all()


class _UnwantedError(Exception):
    """Nobody waits for this object any more."""


_NOTHING: Iterator[DecodeJob] = iter(())


def _write_all(descriptor: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, at)
        view, at = view[written:], at + written
