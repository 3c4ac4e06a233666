"""The way to a Ray cluster, or a Ray of our own on this machine; every failure in one line that names the fix.

Ray's usage statistics are off, and so is all that it would print. A Ray of our own lies in a folder of this user alone
(Ray opens its own to everybody), under a password of its own, and leaves nothing behind.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from lits_deploy import exits, machine
from lits_deploy.errors import MissingExtra, UserError
from lits_deploy.machine import import_path
from lits_deploy.release import __version__
from lits_deploy.sharding.pipes import ParentLink
from lits_deploy.sharding.ray_slots import Slot

REACH_S, JOIN_S, ANSWER_S, LEAVE_S = 5.0, 60.0, 60.0, 15.0
"""For a connection to be taken; for Ray to have joined; for a node to say what it is; for Ray to let go."""

_LONGEST = 40
"""Of a folder for Ray's sockets, whose whole names must not have more than 107 bytes."""

_MOST_TEXT = 300


class RayConnection:
    """A connection to Ray, and the folder of a Ray of our own."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._ray: Any = None
        self._ending = threading.Lock()

    def connect(self, address: str | None, link: ParentLink) -> Any:
        """The module `ray`, connected. address: `auto`, HOST:PORT of a Ray Client server, or None for a Ray of our own.

        Raises UserError, MissingExtra.
        """
        os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_DISABLE_IMPORT_WARNING="1")
        if address is not None and address != "auto":
            _reach(address)
        if address is None:
            self._prepare_own()
        try:
            import ray
        except ImportError as error:
            raise MissingExtra("Ray", "ray") from error
        self._ray = ray
        late = threading.Timer(JOIN_S, _give_up, [link, address])
        late.daemon = True
        late.start()
        try:
            self._init(ray, address)
        except Exception as error:  # Ray raises ConnectionError, RuntimeError, ValueError and more, in paragraphs
            raise _user_error(error, address) from error
        finally:
            late.cancel()
        return ray

    def end(self) -> None:
        """Let go of the cluster; a Ray of our own ends, and its folder goes. Twice is harmless.

        Ray may wait for a cluster that is gone: the process ends without it then.
        """
        late = threading.Timer(LEAVE_S, os._exit, [exits.DONE])
        late.daemon = True
        late.start()
        with self._ending:
            if self._ray is not None:
                with suppress(Exception):
                    self._ray.shutdown()
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)

    def _init(self, ray: Any, address: str | None) -> None:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address is None:
            assert self._folder is not None
            ray.init(
                address="local",
                num_cpus=machine.cores(),
                include_dashboard=False,
                _temp_dir=str(self._folder / "ray"),
                **quiet,
            )
        else:
            ray.init(address=address if address == "auto" else f"ray://{address}", **quiet)

    def _prepare_own(self) -> None:
        folder = tempfile.gettempdir()
        self._folder = Path(tempfile.mkdtemp(prefix="lits-", dir=folder if len(folder) < _LONGEST else "/tmp"))
        os.environ.update(
            RAY_AUTH_MODE="token",
            RAY_AUTH_TOKEN=secrets.token_hex(32),
            RAY_worker_niceness="0",  # the work is the user's own, as it would be without Ray
            PYTHONPATH=os.pathsep.join(import_path()),  # its workers import what this process can
        )


def _reach(address: str) -> None:
    """Raise UserError where nothing takes a connection: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_S).close()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(
            f"The Ray cluster at {address} cannot be reached ({why}).",
            fix="the host and Ray Client port (10001) of its head, and a firewall between; `ray status` there",
        ) from error


def _give_up(link: ParentLink, address: str | None) -> None:
    where = "on this machine" if address is None else f"at {address}"
    link.send(broken=f"Ray {where} did not answer in {JOIN_S:.0f} s.", fix="`ray status` on its head")
    os._exit(exits.USER_ERROR)


def _user_error(error: Exception, address: str | None) -> UserError:
    text = " ".join(f"{error} {error.__cause__ or ''}".split())
    where = "on this machine" if address in (None, "auto") else f"at {address}"
    if "authentication" in text.lower() or "RAY_AUTH" in text:
        return UserError(
            f"The Ray cluster {where} wants its token.",
            fix="export RAY_AUTH_MODE=token, with the token in RAY_AUTH_TOKEN or ~/.ray/auth_token",
        )
    if "ersion mismatch" in text or "versions differ" in text:
        return UserError(
            f"Ray or Python here differ from the cluster's ({text[:_MOST_TEXT]}).",
            fix="install the cluster's versions of both here",
        )
    if "could not find any running ray" in text.lower():
        return UserError(
            "This machine is a node of no Ray cluster.", fix="`ray start --address=HEAD:6379`, or --on ray"
        )
    if "client connection timeout" in text:
        return UserError(
            f"No Ray Client server answers {where}.",
            fix="its port (10001), and export RAY_AUTH_MODE=token where the cluster wants one; on a node --on ray://auto",
        )
    return UserError(f"Ray {where} cannot be used ({text[:_MOST_TEXT]}).", fix="`ray status` on its head")


def actor_on(ray: Any, kind: type, slot: Slot) -> Any:
    """An actor on that slot of its node and on no other. Whatever happens to it, Ray starts and retries nothing."""
    return (
        ray.remote(kind)
        .options(
            num_cpus=slot.cpus,
            num_gpus=slot.gpus,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=4,
            scheduling_strategy=_there(slot.node),
        )
        .remote()
    )


def look_at(ray: Any, node: str, machine: str) -> dict[str, str]:
    """A node's class of `processor`; or why it cannot do shards, as `broken` and `fix`.

    node: its id; machine: its name for people.
    """

    def about() -> tuple[str, str] | None:  # sent as it is: the node may not have this module
        try:
            from lits_deploy import __version__ as there
        except ImportError:
            return None
        try:
            from lits_deploy.machine import processor_class
        except ImportError:
            return there, ""
        return there, processor_class()

    asked = ray.remote(about).options(num_cpus=0, max_retries=0, scheduling_strategy=_there(node)).remote()
    try:
        there, processor = ray.get(asked, timeout=ANSWER_S) or (None, "")
    except ray.exceptions.RayError as error:
        return {"broken": f"The node {machine} does not answer ({type(error).__name__}).", "fix": "`ray status`"}
    if there == __version__:
        return {"processor": processor}
    what = f"lits-deploy {there}" if there else "no lits-deploy"
    return {
        "broken": f"The node {machine} has {what}; here it is {__version__}.",
        "fix": f"pip install 'lits-deploy[cpu,ray]=={__version__}' on every node (or [gpu,ray])",
    }


def _there(node: str) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)
