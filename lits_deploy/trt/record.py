"""What stands beside an engine: `<digest of the key>.json` beside `<digest of the key>.engine`."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lits_deploy.files import write_json
from lits_deploy.trt.bindings import GpuIdentity
from lits_deploy.trt.key import EngineKey

SCHEMA = 1

NOT_PROVEN = "not proven here: goldens run on the box that uses it"
"""What a record says of an engine that was built without the GPU it is for."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """The goldens passed through this engine, on that GPU with that driver. date: ISO 8601."""

    gpu: str
    compute_capability: str
    driver: str
    slices: int
    max_delta: float
    tolerance: float
    date: str


@dataclass(frozen=True, kw_only=True)
class EngineRecord:
    """An engine's papers.

    sha256, bytes: of the engine file; seconds: the build took; cuda: that the driver spoke, None without a GPU.
    as_built: precision and fusions (see `layers.as_built`); proof: None until the goldens have passed.
    """

    key: EngineKey
    sha256: str
    bytes: int
    seconds: float
    cuda: str | None
    as_built: dict[str, Any]
    built_at: str
    proof: Proof | None = None
    note: str = ""
    schema: int = field(default=SCHEMA)

    def write(self, folder: Path) -> Path:
        """Write the record, atomically."""
        path = folder / f"{self.key.digest}.json"
        write_json(path, self.to_json())
        return path

    def to_json(self) -> dict[str, Any]:
        """As it stands in the file."""
        return {**dataclasses.asdict(self), "key": self.key.to_json()}

    @classmethod
    def read(cls, path: Path) -> EngineRecord | None:
        """The record in a file; None where it is none of ours, of another schema, or under another key's name."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(values, dict) or values.get("schema") != SCHEMA:
                return None
            key = EngineKey.from_json(values.pop("key"))
            proof = values.pop("proof")
            record = cls(key=key, proof=None if proof is None else Proof(**proof), **values)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return record if path.name == f"{key.digest}.json" else None

    def proven_on(self, gpu: GpuIdentity) -> bool:
        """True where the goldens have passed on this GPU with this driver."""
        there = (gpu.name, gpu.compute_capability, gpu.driver)
        return self.proof is not None and there == (self.proof.gpu, self.proof.compute_capability, self.proof.driver)
