"""An ONNX file in memory: what was hashed is what is loaded, and it holds the whole network.

Every runtime takes this and none takes a path, so no file can change, or be another one, between the check and the
load. Knows nothing about bundles.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lits_deploy.errors import BundleError
from lits_deploy.files import read_regular, sha256_bytes
from lits_deploy.onnx_scan import check_self_contained

MOST_MODEL = (1 << 31) - 1
"""Bytes of an ONNX file: protobuf parses no more."""


@dataclass(frozen=True)
class ModelFile:
    """name: of the file, for messages; data: its bytes. BundleError where they need another file, or are no ONNX."""

    name: str
    data: bytes = field(repr=False)

    def __post_init__(self) -> None:
        check_self_contained(self.data, self.name)

    @classmethod
    def read(cls, path: Path, sha256: str | None = None) -> ModelFile:
        """Read a file once. sha256: what it must hash to; None: anything. Raises BundleError."""
        try:
            data = read_regular(path, MOST_MODEL)
        except OSError as error:
            raise BundleError(f"{path} cannot be read ({error.strerror}).", fix="name an ONNX file") from error
        if sha256 is not None and sha256_bytes(data) != sha256:
            raise BundleError(f"{path.name} was altered: its hash differs.", fix="copy the bundle again")
        return cls(path.name, data)
