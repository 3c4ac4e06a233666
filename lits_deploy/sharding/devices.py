"""Several devices of this machine as a crew: one child process for each (`crew.Crew`).

Knows nothing of plans and merges (`spread`).
"""

from __future__ import annotations

import selectors
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from lits_deploy.decode.wakeup import Wakeup
from lits_deploy.errors import UserError
from lits_deploy.pipeline.options import Progress
from lits_deploy.sharding.child import Child, command
from lits_deploy.sharding.crew import Event, Joined, Left, Noted, Refused, Reported, ShardDone, Stopped
from lits_deploy.sharding.messages import Start
from lits_deploy.sharding.targets import Target


class Devices:
    """A crew of child processes. Use as a context manager."""

    def __init__(self, start: Start, targets: Iterable[Target], *, command: Sequence[str] | None = None) -> None:
        """start: what all of them work on. command: starts a child, in place of ours."""
        self._start, self._targets = start, {target.name: target for target in targets}
        self._command = command
        self._children: dict[str, Child] = {}
        self._stopping = False
        self._wakeup = Wakeup()

    def __enter__(self) -> Devices:
        for name in self._targets:
            self.again(name)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for child in self._children.values():
            child.close(kill=kind is not None or self._stopping)
        self._wakeup.close()

    @property
    def expected(self) -> bool:
        """Whether there is a child."""
        return bool(self._children)

    def again(self, worker: str) -> None:
        """Start a child."""
        target = self._targets[worker]
        start = replace(self._start, options=target.options(self._start.options), cores=target.cores)
        self._children[worker] = Child(start.to_json(), self._command or command())

    def give(self, worker: str, shard: int) -> None:
        """Have a child do a shard."""
        self._children[worker].send({"shard": shard})

    def stop(self) -> None:
        """Ask all of them to stop in good order."""
        self._stopping = True
        for child in self._children.values():
            child.send({"stop": True})

    def wake(self) -> None:
        """Have `wait` return."""
        self._wakeup.wake()

    def wait(self, seconds: float) -> list[Event]:
        """What children have said since. Raises UserError where one cannot work at all, as what it was given is wrong
        for all of them."""
        with selectors.DefaultSelector() as waited:
            waited.register(self._wakeup, selectors.EVENT_READ)
            for name, child in self._children.items():
                for stream in (child.out, child.err):
                    if stream is not None:
                        waited.register(stream, selectors.EVENT_READ, name)
            ready = waited.select(seconds)
        events: list[Event] = []
        for key, _ in ready:
            if key.data is None:
                self._wakeup.drain()
            elif (one := self._children.get(key.data)) is None:
                continue  # its last words have been read
            elif key.fd == one.err:
                one.read_err()
            else:
                events += self._heard(key.data, one)
        return events

    def _heard(self, name: str, child: Child) -> Iterator[Event]:
        for message in child.receive():
            if "broken" in message:
                raise UserError(message["broken"], fix=message["fix"])
            yield event_of(name, message)
        if child.out is None:
            del self._children[name]
            why = child.ended()
            child.close(kill=True)
            yield Left(name, why)


def event_of(worker: str, message: dict[str, Any]) -> Event:
    """What a worker said (`sharding.worker`)."""
    if "joined" in message:
        return Joined(worker, message["joined"])
    if "progress" in message:
        return Reported(worker, Progress(**message["progress"]))
    if "published" in message:
        return ShardDone(worker, message["published"], message["failed"], tuple(message["warnings"]))
    if "refused" in message:
        return Refused(worker, message["refused"])
    if "stopped" in message:
        return Stopped(worker)
    return Noted(message["note"])
