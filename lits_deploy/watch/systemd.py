"""Whoever started the watch is told that it is ready, what it does, and that it is alive: the protocol of `sd_notify`.

One datagram of `NAME=value` lines to the socket that $NOTIFY_SOCKET names, as systemd's manual page sd_notify(3) has
it. Without that variable nothing is sent. The watchdog is answered by the thread that does the work and by no other, so
that a watch which hangs is noticed.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic

RUN_S = 1800.0
"""Seconds that a run may take between two signs of life: it opens networks, builds engines and draws pictures in one
go."""

_SEND_S = 1.0
_SHARE = 3
"""Signs of life in the time that the watchdog waits."""


class Systemd:
    """Tells it. environment: where it says how; clock: seconds of a steady clock.

    A sign of life is sent at most every third of the watchdog's time: call `idle` and `busy` as often as you like.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ, clock: Callable[[], float] = monotonic) -> None:
        self._address, self._clock = environment.get("NOTIFY_SOCKET", ""), clock
        self._usual_s = _watchdog_s(environment)
        self._now_s = self._usual_s
        self._next = 0.0
        self._status = ""

    def ready(self) -> None:
        """The start has succeeded."""
        self._send("READY=1")

    def stopping(self) -> None:
        """The end has begun; it may take a while."""
        self._send("STOPPING=1")

    def idle(self, status: str) -> None:
        """It waits; from here on it is to turn up as often as the unit says. status: a line for people."""
        self._sign(self._usual_s, status)

    def busy(self, status: str) -> None:
        """It works, and may do so for long between two signs of life."""
        self._sign(max(self._usual_s, RUN_S), status)

    def _sign(self, limit_s: float, status: str) -> None:
        changed, self._now_s = self._now_s != limit_s, limit_s
        if not changed and self._clock() < self._next:
            return
        lines = [f"STATUS={status}"] if status != self._status else []
        if self._usual_s:
            if changed:
                lines.append(f"WATCHDOG_USEC={round(limit_s * 1e6)}")
            lines.append("WATCHDOG=1")
        self._status = status
        self._next = self._clock() + (self._usual_s or 2 * _SHARE) / _SHARE
        if lines:
            self._send(*lines)

    def _send(self, *lines: str) -> None:
        if not self._address.startswith(("/", "@")):
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(_SEND_S)
            sender.sendto("\n".join(lines).encode(), address)


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """Seconds without a sign of life after which the watch is ended; 0: nobody looks."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):  # another process is meant
        return 0.0
    text = environment.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isascii() and text.isdigit() else 0.0
