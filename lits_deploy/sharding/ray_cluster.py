"""A Ray cluster as a crew: one worker a device of every node (`crew.Crew`).

Ray is driven by a process of its own (`ray_driver`): it prints to whatever terminal it finds, takes signals over, and
ends its process when its cluster is lost. Here none of that reaches the user's program, which hears JSON lines alone.
"""

from __future__ import annotations

import importlib.util
import re
import selectors
from collections.abc import Iterator, Sequence
from typing import Any

from lits_deploy.decode.wakeup import Wakeup
from lits_deploy.errors import DeviceError, MachineError, MissingExtra, UserError
from lits_deploy.sharding.child import Child, command
from lits_deploy.sharding.crew import Event, Joined, Left, Noted
from lits_deploy.sharding.devices import event_of
from lits_deploy.sharding.messages import Start
from lits_deploy.sharding.targets import MOST

END_S = 20.0
"""How long Ray may take to end: its own processes, and what it has written to this machine, go with it."""


def address_of(on: str) -> str | None:
    """The address in `--on ray://ADDRESS`; None for `ray`, which is a Ray of our own on this machine.

    Raises UserError for anything else, MissingExtra where Ray is not installed.
    """
    match = re.fullmatch(r"ray(?:://(auto|[\w.:\[\]-]+:\d+))?", on)
    if match is None:
        raise UserError(
            f"`{on}` is nothing to run on.",
            fix="--on ray, or on a cluster --on ray://HOST:10001 (its Ray Client port), or on a node --on ray://auto",
        )
    if importlib.util.find_spec("ray") is None:
        raise MissingExtra("Ray", "ray")
    return match[1]


def per_node(devices: str | None) -> int:
    """`--devices` of every node of a cluster: how many workers on its CPU, or 0: one a GPU, without one on its CPU.

    Raises DeviceError: which GPUs a worker gets is Ray's decision.
    """
    if devices in (None, "all"):
        return 0
    match = re.fullmatch(r"cpu(?::(\d+))?", devices or "")
    if match is None or not 1 <= int(match[1] or 1) <= MOST:
        raise DeviceError(
            f"`{devices}` does not say what every node is to use.", fix="with --on: --devices all, or cpu:2"
        )
    return int(match[1] or 1)


class RayCluster:
    """A crew on a Ray cluster. Use as a context manager."""

    def __init__(
        self, start: Start, address: str | None, cpu_workers: int = 0, *, command: Sequence[str] | None = None
    ) -> None:
        """start: what all of them work on; address: as `address_of` gives it; cpu_workers: as `per_node` does.

        command: starts the process that drives Ray, in place of ours.
        """
        self._setup = {"start": start.to_json(), "address": address, "cpu_workers": cpu_workers}
        self._command = command
        self._busy: set[str] = set()
        self._wakeup = Wakeup()
        self._driver: Child | None = None

    def __enter__(self) -> RayCluster:
        self._driver = Child(self._setup, self._command or command("lits_deploy.sharding.ray_driver"))
        return self

    def __exit__(self, *_: object) -> None:
        if self._driver is not None:
            self._driver.close(kill=False, leave_s=END_S)
        self._wakeup.close()

    @property
    def expected(self) -> bool:
        """Whether there is a cluster: lost nodes may come back, or others."""
        return self._driver is not None

    def again(self, worker: str) -> None:
        """Have a worker's process started once more on its node."""
        self._send({"again": worker})

    def give(self, worker: str, shard: int) -> None:
        """Have a worker do a shard."""
        self._busy.add(worker)
        self._send({"give": worker, "shard": shard})

    def stop(self) -> None:
        """Ask all of them to stop in good order."""
        self._send({"stop": True})

    def wake(self) -> None:
        """Have `wait` return."""
        self._wakeup.wake()

    def wait(self, seconds: float) -> list[Event]:
        """What workers have said since. Raises UserError where the cluster cannot be used, or is lost."""
        driver = self._driver
        assert driver is not None
        with selectors.DefaultSelector() as waited:
            for stream in (self._wakeup, driver.out, driver.err):
                if stream is not None:
                    waited.register(stream, selectors.EVENT_READ)
            ready = {key.fd for key, _ in waited.select(seconds)}
        if self._wakeup.fileno() in ready:
            self._wakeup.drain()
        if driver.err in ready:
            driver.read_err()
        if driver.out not in ready:
            return []
        events = [event for message in driver.receive() for event in self._event(message)]
        self._check(driver)
        return events

    def _check(self, driver: Child) -> None:
        if driver.out is None:
            self._driver = None
            why = driver.ended()
            driver.close(kill=True)
            raise MachineError(f"The Ray cluster was lost ({why}).", fix="the same command goes on once it is back")

    def _event(self, message: dict[str, Any]) -> Iterator[Event]:
        if "broken" in message:
            raise UserError(message["broken"], fix=message["fix"])
        worker = message.get("worker", "")
        if "left" in message:
            self._busy.discard(worker)
            yield Left(worker, message["left"], lost=message["lost"], returns=not message["lost"])
        elif "joined" in message:
            yield Joined(worker, message["joined"], machine=message["machine"])
        elif "note" in message:
            yield Noted(message["note"])
        elif worker in self._busy:
            yield event_of(worker, message)
            if {"published", "refused", "stopped"} & set(message):
                self._busy.remove(worker)

    def _send(self, message: dict[str, Any]) -> None:
        if self._driver is not None:
            self._driver.send(message)
