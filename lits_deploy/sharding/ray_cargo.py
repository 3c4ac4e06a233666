"""What goes to the nodes of a Ray cluster and comes back: bundles and rows of shards out, ledgers in."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

from lits_deploy import private
from lits_deploy.errors import OutputError
from lits_deploy.files import sha256_bytes
from lits_deploy.packing import pack
from lits_deploy.resource_errors import as_user_error
from lits_deploy.sharding.job_folder import JobFolder
from lits_deploy.sharding.record import ShardEntry
from lits_deploy.sharding.rows import PlanWriter


def shipped(ray: Any, path: Path) -> tuple[str, list[Any]]:
    """The SHA-256 of a bundle's zip, and a reference to its bytes in Ray's object store, which brings them once a node.

    The reference is in a list, or Ray would hand the bytes on in its place.
    """
    if path.is_file():
        data = path.read_bytes()
    else:
        with tempfile.TemporaryDirectory(prefix="lits-deploy-") as folder:
            data = pack(path, Path(folder) / "bundle.zip").read_bytes()
    return sha256_bytes(data), [ray.put(data)]


def rows_of(job: JobFolder, entry: ShardEntry) -> bytes:
    """A shard's rows as a Parquet file. Raises as `JobFolder.rows`."""
    buffer = io.BytesIO()
    with PlanWriter(buffer) as writer:
        writer.add(list(job.rows(entry)))
    return buffer.getvalue()


def publish(job: JobFolder, entry: ShardEntry, ledger: bytes) -> None:
    """Make this the shard's ledger. Raises OutputError."""
    try:
        with tempfile.TemporaryDirectory(prefix="lits-deploy-") as folder, private.private():  # mode 0700
            path = Path(folder) / "ledger.sqlite"
            path.write_bytes(ledger)
            job.publish(entry, path)
    except OSError as error:
        raise as_user_error(error) or OutputError(
            f"Shard {entry.number} is done but cannot be published ({error.strerror or error}).",
            fix="make room or get rights there, and run the same command again",
        ) from error
