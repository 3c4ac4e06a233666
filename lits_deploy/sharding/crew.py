"""What does shards, seen from who hands them out: workers that join and leave, and what they tell.

    devices      one child process a device of this machine
    ray_cluster  one actor a device of a Ray cluster

Both speak in these events, so that one scheduler serves both (`scheduler`). A worker has a name, such as `cuda:1`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from lits_deploy.pipeline.options import Progress


@dataclass(frozen=True)
class Joined:
    """A worker has its network open and waits for a shard.

    info: of the network, as RuntimeInfo names it, and `hardware` (`shard_record.hardware_of`). machine: where it is;
    all of one name share what may be wrong there.
    """

    worker: str
    info: Mapping[str, Any] = field(default_factory=dict)
    machine: str = "here"


@dataclass(frozen=True)
class Reported:
    """Where a worker is with its shard."""

    worker: str
    progress: Progress


@dataclass(frozen=True)
class ShardDone:
    """A shard is done. slices: answered by this attempt; failed: files; warnings: what a user should know."""

    worker: str
    slices: int = 0
    failed: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refused:
    """A worker cannot do a shard, and says why in one line."""

    worker: str
    why: str


@dataclass(frozen=True)
class Stopped:
    """A worker was asked to stop, and has stopped in good order: its shard goes on from there another time."""

    worker: str


@dataclass(frozen=True)
class Left:
    """A worker is gone, and with it what it was at.

    lost: its machine is, or the way to it, so that its shard need not be the reason. returns: it may be started again.
    """

    worker: str
    why: str
    lost: bool = False
    returns: bool = True


@dataclass(frozen=True)
class Noted:
    """Something that the user should know, once."""

    line: str


Event = Joined | Reported | ShardDone | Refused | Stopped | Left | Noted


class Crew(Protocol):
    """Workers somewhere. Use as a context manager, which starts them and, at its end, ends them all."""

    def wait(self, seconds: float) -> Iterable[Event]:
        """What has happened; waits up to so long for something. Raises UserError where no worker can ever be had."""
        ...

    def give(self, worker: str, shard: int) -> None:
        """Have a worker do a shard; it has joined and has none. One that has died meanwhile leaves."""
        ...

    def again(self, worker: str) -> None:
        """Start a worker that has left once more."""
        ...

    def stop(self) -> None:
        """Ask those that are at a shard to stop in good order."""
        ...

    def wake(self) -> None:
        """Have `wait` return; safe in a signal handler and from any thread."""
        ...

    @property
    def expected(self) -> bool:
        """Whether there is a worker, or one may still join."""
        ...
