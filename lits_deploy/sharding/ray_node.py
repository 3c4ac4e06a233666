"""What runs on the nodes of a Ray cluster: an actor around one worker process (`sharding.worker`).

The same process as on one machine, so a network that dies takes neither the actor nor Ray's own process along. Bundles
come through Ray's object store, once a node, and are kept there by their hash.
"""

from __future__ import annotations

import fcntl
import os
import resource
import select
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from time import time
from typing import Any

from lits_deploy import private
from lits_deploy.errors import BundleError, OutputError, UserError
from lits_deploy.files import sha256_bytes, sha256_file, write_bytes
from lits_deploy.locks import open_lock
from lits_deploy.resource_errors import as_user_error
from lits_deploy.sharding.child import Child, command
from lits_deploy.sharding.scratch import own_root

BUNDLES = "bundles"
KEPT_DAYS = 7
"""Bundles that nobody has used for so long leave a node."""

_WAIT_S = 0.5


class NodeWorker:
    """An actor: its methods are called from the driver, `do` in one thread and the others beside it."""

    def __init__(self) -> None:
        os.umask(0o077)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        self._child: Child | None = None
        self._progress: dict[str, Any] | None = None

    def prepare(self, start: Mapping[str, Any], bundles: Sequence[tuple[str, str, Any]]) -> list[dict[str, Any]]:
        """Start the worker process, or another one; what it says until it has joined, is broken or dead.

        start: a `messages.Start` as JSON, less its bundles; those are given by the name of their field, their zip's
        SHA-256 and a reference to the zip's bytes.
        """
        import ray

        self.end()
        paths: dict[str, str] = {}
        try:
            with private.private():
                for name, sha256, reference in bundles:
                    paths[name] = str(kept_bundle(sha256, partial(ray.get, reference[0])))
        except (OSError, UserError) as error:
            known = as_user_error(error) or OutputError(
                f"The bundle cannot be written ({error}).", fix="set TMPDIR there"
            )
            return [{"broken": known.message, "fix": known.fix}]
        self._child = Child({**start, **paths}, command())
        return list(self._said({"joined", "broken"}))

    def do(self, shard: int, entry: Mapping[str, Any], rows: bytes) -> tuple[list[dict[str, Any]], bytes | None]:
        """Do a shard, of which these are the entry and the rows as Parquet: what the worker said, and its ledger."""
        if self._child is None:
            return [{"left": "its process had ended"}], None
        with tempfile.TemporaryDirectory(prefix="lits-deploy-") as folder:  # mode 0700
            plan, ledger = Path(folder, "rows.parquet"), Path(folder, "ledger.sqlite")
            plan.write_bytes(rows)
            self._child.send({"shard": shard, "entry": entry, "rows": str(plan), "ledger": str(ledger)})
            said = list(self._said({"published", "refused", "stopped"}))
            self._progress = None
            return said, ledger.read_bytes() if "published" in said[-1] else None

    def progress(self) -> dict[str, Any] | None:
        """Where the worker is with its shard."""
        return self._progress

    def stop(self) -> None:
        """Ask the worker to stop in good order."""
        if self._child is not None:
            self._child.send({"stop": True})

    def end(self) -> None:
        """End the worker process."""
        if self._child is not None:
            self._child.close(kill=True)
            self._child = None

    def _said(self, last: set[str]) -> Iterator[dict[str, Any]]:
        """Notes, and then the message with one of these keys; or how the process ended."""
        child = self._child
        assert child is not None
        while child.out is not None:
            streams = [stream for stream in (child.out, child.err) if stream is not None]
            ready = select.select(streams, [], [], _WAIT_S)[0]
            if child.err in ready:
                child.read_err()
            if child.out not in ready:
                continue
            for message in child.receive():
                if "progress" in message:
                    self._progress = message["progress"]
                    continue
                yield message
                if last & set(message):
                    return
        self._child = None
        why = child.ended()
        child.close(kill=True)
        yield {"left": why}


def kept_bundle(sha256: str, fetch: Callable[[], bytes], root: Path | None = None) -> Path:
    """A zip of that hash on this node's disk, fetched if it is not there, once however many ask.

    Raises BundleError where what came has another hash, OSError.
    """
    folder = (root or own_root()) / BUNDLES
    private.make_folder(folder)
    path = folder / f"{sha256}.zip"
    with _alone(folder / f"{sha256}.lock"):
        if not path.exists() or sha256_file(path) != sha256:
            data = fetch()
            if sha256_bytes(data) != sha256:
                raise BundleError("The bundle was altered on its way to the node.", fix="run the command again")
            write_bytes(path, data)
            _forget_old(folder)
        os.utime(path)
    return path


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    descriptor = open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _forget_old(folder: Path) -> None:
    for path in folder.glob("*.zip"):
        with suppress(OSError):
            if path.stat().st_mtime < time() - KEPT_DAYS * 86400:
                path.unlink()
