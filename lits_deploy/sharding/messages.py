"""What is said to a worker (`sharding.worker`), as JSON: what to work on, and shards to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.scans import Reading
from lits_deploy.sharding.record import JobRecord

_PLAIN = ("bundle", "job", "endpoint", "pictures", "segmenter", "goldens", "parent")


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a worker is to work on; paths are absolute.

    job: where JOB is; None: it comes without, as `record`, and each shard with its rows. options: of whoever does a
    shard, with the salt. pictures, segmenter: as in `shard.ShardWork`. goldens: hold the network against the bundle's
    first. cores: those that it may compute on; empty: all. parent: dies with it.
    """

    bundle: str
    options: ClassifyOptions
    job: str | None = None
    endpoint: str | None = None
    record: JobRecord | None = None
    pictures: bool = True
    segmenter: str | None = None
    goldens: bool = False
    cores: tuple[int, ...] = ()
    parent: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        record = None if self.record is None else self.record.to_json()
        own = {name: getattr(self, name) for name in _PLAIN}
        return {**own, "options": _plain(self.options), "record": record, "cores": list(self.cores)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Start:
        """What `to_json` gave."""
        given = {name: fields[name] for name in _PLAIN}
        record = (
            None if fields["record"] is None else JobRecord.from_bytes(json.dumps(fields["record"]).encode(), "the job")
        )
        return cls(**given, options=_options(fields["options"]), record=record, cores=tuple(fields["cores"]))


@dataclass(frozen=True, kw_only=True)
class ShardRequest:
    """A shard to do. Where JOB is not at hand: its entry, the Parquet file of its rows, and where its ledger goes."""

    shard: int
    entry: Mapping[str, Any] | None = None
    rows: str | None = None
    ledger: str | None = None


def _plain(options: ClassifyOptions) -> dict[str, Any]:
    document = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(options).items()}
    return {**document, "salt": {"key": options.salt.hex()} if isinstance(options.salt, bytes) else options.salt}


def _options(document: Mapping[str, Any]) -> ClassifyOptions:
    lists = {name: tuple(document[name]) for name in ("formats", "ignore")}
    salt = document["salt"]
    key = bytes.fromhex(salt["key"]) if isinstance(salt, dict) else salt
    return ClassifyOptions(**{**document, **lists, "salt": key, "reading": Reading(**document["reading"])})
