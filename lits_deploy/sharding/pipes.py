"""The pipes of a process of ours to its parent: JSON, one line a message; and how it lives and dies with it."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import IO, Any

from lits_deploy import exits, private
from lits_deploy.pipeline.stop import Stop

_PR_SET_PDEATHSIG = 1


class ParentLink:
    """Messages to the parent and from it; a thread listens, so that a request to stop arrives while work is done."""

    def __init__(self, stream: IO[bytes], *, at_end: Callable[[], None] = lambda: os._exit(exits.DONE)) -> None:
        """stream: of the parent's messages. at_end: called in the thread when the parent has gone or wants no more."""
        self._out = os.fdopen(os.dup(1), "wb")  # a private copy, so that no library's print can disturb the messages
        os.dup2(2, 1)
        self._in, self._at_end = stream, at_end
        self._sending = threading.Lock()
        self._inbox: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self.stop = Stop()
        threading.Thread(target=self._listen, name="lits-deploy-link", daemon=True).start()

    def send(self, **message: Any) -> None:
        """One message to the parent."""
        with self._sending:
            self._out.write(json.dumps(message).encode() + b"\n")
            self._out.flush()

    def receive(self) -> dict[str, Any]:
        """The next message; waits for it."""
        return self._inbox.get()

    def messages(self, seconds: float) -> Iterator[dict[str, Any]]:
        """Those that have come; waits so long for the first."""
        with suppress(Empty):
            yield self._inbox.get(timeout=seconds) if seconds else self._inbox.get_nowait()
            while True:
                yield self._inbox.get_nowait()

    def _listen(self) -> None:
        with suppress(OSError, ValueError):
            for line in self._in:
                message = json.loads(line)
                if message.get("stop"):
                    self.stop.request()
                else:
                    self._inbox.put(message)
        self._at_end()


def live_with(parent: int) -> None:
    """Take no Ctrl-C, dump no core, and end if the parent, of that number, has gone already."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    private.no_core_dumps()
    if os.getppid() != parent:
        os._exit(exits.DONE)


def die_with_parent() -> None:
    """Have the system kill this process when its parent ends, however busy it is."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
