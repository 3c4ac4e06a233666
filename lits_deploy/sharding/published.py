"""Shards that are done, as a merge finds them: how each was answered, and whether their answers belong together.

Answers belong together where bundle, artifact, precision, contract, runtime, kind of device, an engine's profile and
what decides how sums are rounded (`shard_record.hardware_of`) are equal. Versions of libraries do not count, as they do
not in a run that survives an update; the ledger knows who was answered with which.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lits_deploy.bundle import Bundle
from lits_deploy.decode.decoding import Stopping
from lits_deploy.errors import OutputError
from lits_deploy.files import canonical_json
from lits_deploy.ledger import FAILED, PICTURES, RAN, check
from lits_deploy.ledger.absorb import LedgerDamage, notes_of
from lits_deploy.pipeline.identity import MIXED
from lits_deploy.runtime import RuntimeInfo
from lits_deploy.sharding.job_folder import JobFolder
from lits_deploy.sharding.record import JobRecord, ShardEntry
from lits_deploy.sharding.shard_record import MANIFEST, SHARD, OtherSchema, ShardRecord

IDENTITY = "identity"
_FETCHERS = 8
_NOTES = (IDENTITY, SHARD, RAN, PICTURES)
_SHOWN = 8
_LABELS = {"processor": "class of processor", "gpu": "GPU", "engine": "TensorRT engine", "device": "kind of device"}


@dataclass(frozen=True)
class PublishedShard:
    """A shard's ledger on this machine. identity: of its run; ran: when and where (`pipeline.about.ran`); pictures: the
    note of what is drawn over them, or None where there are none."""

    entry: ShardEntry
    path: Path
    identity: Mapping[str, Any]
    record: ShardRecord
    ran: Mapping[str, Any]
    pictures: str | None

    @cached_property
    def answered_by(self) -> dict[str, Any]:
        """What has to be equal."""
        return {**self.identity, **self.record.hardware}


@dataclass(frozen=True, kw_only=True)
class ShardConsensus:
    """Shards that are merged. first: the first of those that answered as most did; odd: number of a shard that did not
    → what differs; mixed: all that differs anywhere."""

    first: PublishedShard
    odd: Mapping[int, tuple[str, ...]]

    @property
    def mixed(self) -> tuple[str, ...]:
        """In an order that does not depend on the shards'."""
        return tuple(sorted({name for names in self.odd.values() for name in names}))

    @property
    def identity(self) -> dict[str, Any]:
        """Of the merged run: that of every shard, or one that no single machine's run has."""
        return {**self.first.identity, **({MIXED: list(self.mixed)} if self.odd else {})}

    @property
    def info(self) -> RuntimeInfo:
        """What answered; `mixed` where that differs."""
        info, mixed = self.first.record.info, self.mixed
        return replace(
            info,
            name=MIXED if "runtime" in mixed else info.name,
            device=MIXED if "device" in mixed else info.device,
            precision=MIXED if "precision" in mixed else info.precision,
        )


def read_all(
    job: JobFolder, record: JobRecord, entries: Sequence[ShardEntry], folder: Path, stop: Stopping
) -> dict[int, PublishedShard]:
    """Shards that are done, by number; ledgers that do not lie on this machine are fetched into `folder`, several at
    once.

    Raises OutputError for a damaged one, or one that is not of this job; KeyboardInterrupt when asked to stop.
    """
    found: dict[int, PublishedShard] = {}
    with ThreadPoolExecutor(_FETCHERS) as fetchers:
        try:
            for entry, path in zip(entries, fetchers.map(lambda one: at_hand(job, one, folder), entries), strict=True):
                if stop.requested:
                    raise KeyboardInterrupt
                found[entry.number] = read(job, record, entry, path)
        except BaseException:
            fetchers.shutdown(cancel_futures=True)
            raise
    return found


def read(job: JobFolder, record: JobRecord, entry: ShardEntry, path: Path) -> PublishedShard:
    """A shard that is done. path: of its ledger here. Raises OutputError as `read_all`."""
    try:
        notes = notes_of(path, _NOTES)
        identity, shard_record = dict(json.loads(notes[IDENTITY])), ShardRecord.from_text(notes[SHARD])
        ran = json.loads(notes[RAN])
        _ = identity["artifact"], ran["machine"], ran["first"], ran["last"]
    except OtherSchema as error:
        raise damaged(job, entry, "of another version of lits-deploy") from error
    except (LedgerDamage, ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(job, entry, str(error) if isinstance(error, LedgerDamage) else "without its notes") from error
    own = {"bundle": record.bundle, "contract": record.contract, "artifact": record.artifact or identity["artifact"]}
    differs = next((name for name, value in own.items() if identity.get(name) != value), None)
    if differs is None and (shard_record.job, shard_record.digest) != (record.id, entry.digest):
        differs = "plan"
    if differs is not None:
        raise OutputError(
            f"Shard {entry.number} in {job.location} was answered for another {differs}.",
            fix=f"remove {entry.ledger} from it, and do the shard again",
        )
    return PublishedShard(entry, path, identity, shard_record, ran, notes.get(PICTURES))


def hardware_there(job: JobFolder, entry: ShardEntry) -> Mapping[str, str | None] | None:
    """What a shard that is done and lies on this machine was answered on, so that the rest can be answered alike; None
    where that is not known."""
    path = job.here(entry)
    try:
        return None if path is None else ShardRecord.from_text(notes_of(path, [SHARD])[SHARD]).hardware
    except (LedgerDamage, ValueError, KeyError, TypeError):
        return None  # the merge says more


def differs(one: Mapping[str, str | None], other: Mapping[str, str | None]) -> str:
    """In what, in words."""
    return _labels(_differing(one, other))


def has_failed(path: Path) -> bool:
    """Whether a shard's ledger has files that failed; one that cannot be read has none that are known."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(check.at_rest(path), uri=True)) as db:
        return db.execute("SELECT 1 FROM file WHERE status = ? LIMIT 1", (FAILED,)).fetchone() is not None
    return False


def at_hand(job: JobFolder, entry: ShardEntry, folder: Path) -> Path:
    """A shard's ledger as a file here: where it lies, or in `folder`, fetched once.

    Raises OutputError, StorageError for one that may not be read: it is not damaged, and not to be removed.
    """
    path = job.here(entry)
    if path is not None:
        job.look(entry)
    else:
        path = folder / Path(entry.ledger).name
        if not path.exists():
            try:
                job.fetch(entry, path)
            except OSError as error:
                raise OutputError(
                    f"Shard {entry.number} of {job.location} cannot be fetched ({error.strerror or error}).",
                    fix="run the same command again; TMPDIR needs room for it",
                ) from error
    return path


def manifest_of(published: PublishedShard, record: JobRecord, where: str) -> Bundle:
    """The job's bundle, of which the manifest alone is known. Raises OutputError, BundleError for a damaged ledger."""
    try:
        text = notes_of(published.path, [MANIFEST])[MANIFEST]
    except (LedgerDamage, KeyError) as error:
        raise OutputError(f"Shard {published.entry.number} in {where} lacks the manifest of its bundle.") from error
    return Bundle.of_manifest(Path(where), text.encode(), record.bundle)


def damaged(job: JobFolder, entry: ShardEntry, what: str) -> OutputError:
    """The error for a ledger that is not as it was written. what: it is instead."""
    return OutputError(
        f"Shard {entry.number} in {job.location} is {what}.",
        fix=f"remove {entry.ledger} from it, and do the shard again",
    )


def agree(found: Sequence[PublishedShard], where: str, *, allow_mixed: bool = False) -> ShardConsensus:
    """Whether these belong together. Raises OutputError where they do not, unless a mixture is allowed."""
    kinds = [canonical_json(one.answered_by) for one in found]
    most = max(Counter(kinds).items(), key=lambda item: item[1])[0]  # the first of equals
    first = found[kinds.index(most)]
    odd = {
        one.entry.number: _differing(first.answered_by, one.answered_by)
        for one, kind in zip(found, kinds, strict=True)
        if kind != most
    }
    if odd and not allow_mixed:
        numbers, (names, *_) = list(odd), list(odd.values())
        shown = ", ".join(map(str, numbers[:_SHOWN])) + (" …" if len(numbers) > _SHOWN else "")
        raise OutputError(
            f"{len(odd):,} of the {len(found):,} shards in {where} were answered on another {_labels(names)} than the"
            f" others ({shown}).",
            fix="remove their files from its folder shards and do them again like the others; or --allow-mixed",
        )
    return ShardConsensus(first=first, odd=odd)


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in sorted({*one, *other}) if one.get(name) != other.get(name))


def _labels(names: Sequence[str]) -> str:
    return ", ".join(_LABELS.get(name, name) for name in names)
