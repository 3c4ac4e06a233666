"""Signs of life for whoever started the watch: real datagrams, at a socket in a folder and at one without a path."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lits_deploy.watch.systemd import RUN_S, Systemd


@contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + address[1:] if address.startswith("@") else address)
        receiver.setblocking(False)
        yield receiver


def messages(receiver: socket.socket) -> list[list[str]]:
    """The lines of every datagram that has come."""
    found = []
    while True:
        try:
            found.append(receiver.recv(4096).decode().split("\n"))
        except BlockingIOError:
            return found


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("abstract", [False, True])
def test_ready_idle_busy_and_the_end(tmp_path: Path, abstract: bool) -> None:
    address = f"@lits-deploy-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    clock = Clock()
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "120000000", "WATCHDOG_PID": str(os.getpid())}
    with listening(address) as receiver:
        systemd = Systemd(environment, clock)
        systemd.ready()
        systemd.idle("Watching: é")
        assert messages(receiver) == [["READY=1"], ["STATUS=Watching: é", "WATCHDOG=1"]]
        systemd.idle("Watching: é")
        clock.now += 39.9
        systemd.idle("Watching: 2")
        assert messages(receiver) == [], "a third of the watchdog's time"
        clock.now += 0.2
        systemd.idle("Watching: 2")
        assert messages(receiver) == [["STATUS=Watching: 2", "WATCHDOG=1"]]
        systemd.busy("Classifying")
        assert messages(receiver) == [["STATUS=Classifying", f"WATCHDOG_USEC={RUN_S * 1e6:.0f}", "WATCHDOG=1"]]
        systemd.busy("Classifying")
        clock.now += 41
        systemd.busy("Classifying")
        assert messages(receiver) == [["WATCHDOG=1"]]
        systemd.idle("Watching: 2")
        assert messages(receiver) == [["STATUS=Watching: 2", "WATCHDOG_USEC=120000000", "WATCHDOG=1"]], "at once"
        systemd.stopping()
        assert messages(receiver) == [["STOPPING=1"]]


@pytest.mark.parametrize(
    "watchdog",
    [{}, {"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "0"}],
)
def test_without_a_watchdog_of_ours_there_is_a_status_alone(tmp_path: Path, watchdog: dict[str, str]) -> None:
    address, clock = str(tmp_path / "notify"), Clock()
    with listening(address) as receiver:
        systemd = Systemd({"NOTIFY_SOCKET": address, **watchdog}, clock)
        systemd.idle("one")
        clock.now += 3
        systemd.idle("one")
        systemd.busy("two")
        assert messages(receiver) == [["STATUS=one"], ["STATUS=two"]]


def test_nobody_at_the_other_end_ends_nothing(tmp_path: Path) -> None:
    for address in ("", str(tmp_path / "none"), "@nobody-listens-here", "vsock:2:1"):
        systemd = Systemd({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000"})
        systemd.ready()
        systemd.idle("x")
