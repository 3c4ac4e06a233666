"""A crew without processes: shards are done one after the other in the test's own, by the worker that children have."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from types import TracebackType

from lits_deploy.errors import LitsError
from lits_deploy.pipeline.context import RunHooks
from lits_deploy.pipeline.stop import Stop
from lits_deploy.sharding.crew import Event, Joined, Left, Refused, ShardDone, Stopped
from lits_deploy.sharding.messages import ShardRequest, Start
from lits_deploy.sharding.shard_record import hardware_of
from lits_deploy.sharding.worker import Worker


class InProcess:
    """workers: how many there seem to be. before: called with each shard that is begun; what it raises as a
    ChildProcessError is the worker's death. stop: that of the whole run. hardware: what they say that they are."""

    def __init__(
        self,
        start: Start,
        workers: int = 1,
        before: Callable[[int], None] = lambda shard: None,
        stop: Stop | None = None,
        hardware: dict[str, str | None] | None = None,
    ) -> None:
        self.hardware = hardware
        self._worker, self._before, self._stop = Worker(start), before, stop or Stop()
        self._names = [f"w{number}" for number in range(workers)]
        self._events: deque[Event] = deque()
        self._given: deque[tuple[str, int]] = deque()

    def __enter__(self) -> InProcess:
        self._worker.__enter__()
        for name in self._names:
            self.again(name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._worker.__exit__(kind, error, trace)

    @property
    def expected(self) -> bool:
        return True

    def again(self, worker: str) -> None:
        info = self._worker.describe()
        self._events.append(Joined(worker, {**asdict(info), "hardware": self.hardware or hardware_of(info)}))

    def give(self, worker: str, shard: int) -> None:
        self._given.append((worker, shard))

    def stop(self) -> None:
        self._stop.request()

    def wake(self) -> None:
        pass

    def wait(self, seconds: float) -> list[Event]:
        if self._events:
            return [self._events.popleft()]
        return [self._do(*self._given.popleft())] if self._given else []

    def _do(self, name: str, shard: int) -> Event:
        said: list[str] = []
        try:
            self._before(shard)
            done = self._worker.do(ShardRequest(shard=shard), RunHooks(stop=self._stop), said.append)
        except ChildProcessError as error:
            return Left(name, str(error))
        except KeyboardInterrupt:
            return Stopped(name)
        except LitsError as error:
            return Refused(name, str(error))
        if done.state == "stopped":
            return Stopped(name)
        run = done.run
        return ShardDone(name, run.now if run else 0, run.failed if run else 0, tuple(said))
