"""job.json: what a plan is of, and its shards. Plain records; JSON in and out.

It names the scans' folders in clear and holds no salt, only a mark that tells salts apart.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lits_deploy.contract import Task
from lits_deploy.errors import OutputError
from lits_deploy.files import canonical_json, sha256_bytes

SCHEMA = 1

_DIGITS = 12  # of a shard's digest in the name of its ledger


@dataclass(frozen=True, kw_only=True)
class ShardEntry:
    """A shard: where its rows lie in the plan, how much it is, and whether its answers still count.

    number: from 0, never used again. plan, row_group: Parquet file and row group of its rows. files, series, slices: in
    it; slices as far as headers say. digest: hex SHA-256 of its rows (`rows.digest_of`). superseded: scans of it have
    changed or gone since; other shards hold what is left.
    """

    number: int
    plan: str
    row_group: int
    files: int
    series: int
    slices: int
    digest: str
    superseded: bool = False

    @property
    def ledger(self) -> str:
        """Name in JOB of the ledger that is published for it."""
        return f"{self._name}.sqlite"

    @property
    def failure(self) -> str:
        """Name in JOB of the line that says why it failed, when somebody last tried."""
        return f"{self._name}.failed"

    @property
    def _name(self) -> str:
        return f"shards/{self.number:05d}-{self.digest[:_DIGITS]}"


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """A plan: of which bundle, which options and which scans, and its shards.

    id: random, of the job for good; generation: how often it was planned, from 1.
    bundle, contract: SHA-256; artifact: the name of the model file, or None where `options` has a precision and the
    runtime in use decides. options: those of `ClassifyOptions` that change results, as plain values. shard_slices: most
    slices in a shard of several series. mark: of salt and naming (`Pseudonyms.mark`).
    base, roots, names: of the scans, as in `scans.listing.Listing`; roots: their real paths or URLs.
    others, own, tops, mounts, unlisted: what the listing noted besides scans.
    """

    id: str
    generation: int
    task: Task
    bundle: str
    artifact: str | None
    contract: str
    options: Mapping[str, Any]
    shard_slices: int
    mark: str
    base: str
    roots: tuple[str, ...]
    names: tuple[str, ...]
    others: Mapping[str, int] = field(default_factory=dict)
    own: int = 0
    tops: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    unlisted: Mapping[str, str] = field(default_factory=dict)
    shards: tuple[ShardEntry, ...] = ()

    @property
    def live(self) -> Iterator[ShardEntry]:
        """The shards that count, by number."""
        return (entry for entry in self.shards if not entry.superseded)

    def shard(self, number: int) -> ShardEntry:
        """A shard by its number. Raises OutputError where there is none."""
        if not 0 <= number < len(self.shards):
            last = len(self.shards) - 1
            raise OutputError(f"The plan has no shard {number}: they go from 0 to {last}.", fix=f"--shard 0 … {last}")
        return self.shards[number]

    def to_json(self) -> dict[str, Any]:
        """Plain values for job.json, with a seal: changed, it might still be a plan, and leave scans out unsaid."""
        values = {"schema": SCHEMA, **dataclasses.asdict(self)}
        return {**values, "seal": _seal(values)}

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> JobRecord:
        """What `to_json` gave, as it was written. Raises OutputError for anything else; where: for its message."""
        try:
            document = json.loads(data)
            if isinstance(schema := document["schema"], int) and schema > SCHEMA:
                raise OutputError(f"{where} was planned by a newer lits-deploy (schema {schema}).", fix="update this")
            if document.pop("seal") != _seal(document):
                raise ValueError("not as it was written")
            del document["schema"]
            shards = tuple(ShardEntry(**entry) for entry in document.pop("shards"))
            document |= {name: tuple(document[name]) for name in ("roots", "names", "tops", "mounts")}
            record = cls(**document, shards=shards)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise OutputError(f"The job.json of {where} is damaged.", fix="plan anew with --out elsewhere") from error
        if [entry.number for entry in record.shards] != list(range(len(record.shards))):
            raise OutputError(f"The job.json of {where} has lost shards.", fix="plan anew with --out elsewhere")
        return record


def _seal(values: Mapping[str, Any]) -> str:
    """Hex SHA-256 of the plain values."""
    return sha256_bytes(canonical_json(values).encode())
