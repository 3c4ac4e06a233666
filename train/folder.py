"""The folder of a run: one training at a time, one run, nothing of anyone else's overwritten.

A folder without `last.safetensors` holds no finished epoch: whatever command begins there may take it, so that one that
failed at once can be repeated as it should have been. Whether an epoch was trained, on which data and with which
settings, is in the checkpoint's record; config.json is for people and for `export`.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lits_deploy.errors import OutputError
from lits_deploy.files import canonical_json, sha256_bytes, write_json
from lits_deploy.locks import open_lock
from train import checkpoint
from train.config import TrainConfig
from train.data.layout import Layout, Sample

CONFIG, LAST, BEST = "config.json", "last.safetensors", "best.safetensors"
LOCK = ".lits-deploy.lock"
_HALF = re.compile(
    r"\.((config|last|best|test|every_epoch|epoch-\d+)\.(json|safetensors)|metrics\.csv|seen\.bin|(curves|confusion)\.png)\.\d+\.tmp"
)
"""What `atomic_path` leaves of a file of ours when its process is killed."""
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
"""How a file system says that it has none, as some network shares do."""

_held: set[int] = set()


@contextmanager
def opened(
    config: TrainConfig, out: Path, layout: Layout, made_with: dict[str, Any], *, resume: bool
) -> Iterator[dict[str, str]]:
    """Hold `out` for one training and write its config.json; gives the hashes of the data for the run's records.

    resume: go on with the run there, if there is one.
    Raises OutputError where another training is at it, or where it holds another run, other data or something else.
    """
    _check_ours(out)
    with held(out):
        hashes = listing(layout)
        going_on = _check(config, out, resume, hashes)
        for left in (path for path in out.iterdir() if _HALF.fullmatch(path.name)):
            left.unlink()
        described: dict[str, Any] = {"dataset": layout.describe(), "listing": hashes, "made_with": made_with}
        if going_on and (earlier := _earlier(out / CONFIG, layout)):
            described["earlier_datasets"] = earlier
        write_json(out / CONFIG, {**config.to_json(), **described})
        yield hashes


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is made where it is missing; OutputError where another training holds it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        descriptor = open_lock(out / LOCK)
    except OSError as error:
        raise OutputError(f"{out} cannot be written ({error.strerror}).", fix="give another --out") from error
    _held.add(descriptor)
    try:
        _lock(descriptor, out)
        yield
    finally:
        _held.discard(descriptor)
        os.close(descriptor)


def _check_ours(out: Path) -> None:
    """Before anything is made in it."""
    if not out.exists():
        return
    if not out.is_dir():
        raise OutputError(f"{out} is not a folder.", fix="give another --out")
    others = any(path.name != LOCK and not _HALF.fullmatch(path.name) for path in out.iterdir())
    if others and not _is_run(out / CONFIG):
        raise OutputError(f"{out} is not empty and not a run.", fix="give another --out")


def _is_run(path: Path) -> bool:
    """Whether a config.json is ours: other tools write files of that name, too."""
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")).keys() >= {"contract", "dataset", "made_with"})
    except (OSError, ValueError, AttributeError):
        return False


def _lock(descriptor: int, out: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(f"Another training writes to {out}.", fix="wait for it, or give another --out") from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise OutputError(f"{out} cannot be locked ({error.strerror}).", fix="give another --out") from error


def _check(config: TrainConfig, out: Path, resume: bool, hashes: dict[str, str]) -> bool:
    """Whether a run goes on here; OutputError where it can neither go on nor begin."""
    there = next((path for name in (LAST, BEST) if (path := out / name).is_file()), None)
    if there is None:
        return False
    if not resume:
        raise OutputError(f"{out} already holds a run.", fix="go on with --resume, or give another --out")
    record = checkpoint.read_record(there)
    if there.name == BEST and record["epoch"] > 1:  # of epoch 1 it is what a kill leaves that came between the two
        raise OutputError(f"{out} has lost {LAST}: no run goes on without it.", fix="give another --out")
    if changed := config.differences(TrainConfig.from_json(record["config"])):
        raise OutputError(
            f"{out} was trained with other settings: {', '.join(changed)}.", fix="repeat them, or give another --out"
        )
    before = record.get("listing") or hashes  # the first runs kept none
    if other := [split for split in hashes if before.get(split) != hashes[split]]:
        raise OutputError(
            f"{out} was trained on other data: {', '.join(other)} of {config.data} not the same slices.",
            fix="give the --data it was begun with, or another --out",
        )
    return True


def _earlier(path: Path, layout: Layout) -> list[dict[str, Any]]:
    """Descriptions of the data that a resumed run was trained on before, as far as they differ from today's."""
    record = json.loads(path.read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = [*record.get("earlier_datasets", ()), record["dataset"]]
    return [one for n, one in enumerate(found) if one != layout.describe() and one not in found[:n]]


def listing(layout: Layout) -> dict[str, str]:
    """Hex SHA-256 of each split's slices, by which data sets are one: file name, patient, scan, given class, bytes.

    The folder's own place does not count, so a data set may be moved or copied. Decodes no picture.
    """

    def row(sample: Sample) -> list[str | int | None]:
        mask = None if sample.mask is None else _size(sample.mask)
        return [sample.image.name, sample.patient, sample.scan, sample.target, _size(sample.image), mask]

    return {
        split: sha256_bytes(canonical_json([row(sample) for sample in samples]).encode())
        for split, samples in layout.splits.items()
    }


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:  # whoever reads it will say so
        return None


def _let_go() -> None:
    """In a forked child: a lock lasts as long as any copy of its descriptor, and a DataLoader's worker outlives us."""
    for descriptor in _held:
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)
