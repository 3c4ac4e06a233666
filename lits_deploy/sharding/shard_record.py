"""What a shard's ledger says of how it was answered: on what, when, with what. A merge compares it between shards.

Its note `shard` holds a `ShardRecord`, its note `manifest` the bundle's manifest, by which a merge knows contract and
artifacts without the bundle.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone

from lits_deploy import nvidia
from lits_deploy.files import canonical_json
from lits_deploy.machine import processor_class
from lits_deploy.release import __version__
from lits_deploy.runtime import RuntimeInfo

SHARD, MANIFEST = "shard", "manifest"
"""Names of the notes."""

SCHEMA = 1


class OtherSchema(ValueError):  # noqa: N818 - reads better where it is raised
    """The record is of another version of lits-deploy."""


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """How a shard was answered.

    job, number, digest: which one it is, of which plan. info: of the network that answered; hardware: what decides how
    it rounds, besides: the processor's class, or the GPU and an engine's hash. finished: ISO 8601, UTC. slices: that
    its last start answered, in so many `seconds`.
    """

    job: str
    number: int
    digest: str
    info: RuntimeInfo
    hardware: Mapping[str, str | None]
    finished: str
    slices: int = 0
    seconds: float = 0.0
    lits_deploy: str = field(default=__version__)

    def to_text(self) -> str:
        """For the note."""
        return canonical_json({"schema": SCHEMA, **dataclasses.asdict(self)})

    @classmethod
    def from_text(cls, text: str) -> ShardRecord:
        """What `to_text` gave, here or by a version that wrote the same schema. Raises OtherSchema, ValueError."""
        document = json.loads(text)
        if document.pop("schema") != SCHEMA:
            raise OtherSchema("its record is of another version of lits-deploy")
        document["info"] = RuntimeInfo(**{**document["info"], "providers": tuple(document["info"]["providers"])})
        return cls(**document)


def hardware_of(info: RuntimeInfo) -> dict[str, str | None]:
    """What decides, besides runtime and artifact, how a network's sums are rounded here."""
    kind, _, index = info.device.partition(":")
    if kind == "cpu":
        return {"processor": processor_class()}
    return {"gpu": nvidia.gpu_name(int(index or 0)), "engine": info.engine}


def now() -> str:
    """UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
