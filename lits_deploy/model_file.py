"""An ONNX file in memory: what was hashed is what is loaded, and it holds the whole network.

Every runtime takes this and none takes a file's path, so no file can change, or be another one, between the check and
the load. Knows nothing about bundles.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from mmap import mmap
from pathlib import Path

from lits_deploy.errors import BundleError
from lits_deploy.files import regular_blocks
from lits_deploy.onnx_scan import check_self_contained
from lits_deploy.sealed import Sealed, sealed, sha256

MOST_MODEL = (1 << 31) - 1
"""Bytes of an ONNX file: protobuf parses no more."""


@dataclass(frozen=True)
class ModelFile:
    """name: of the file, for messages; content: what is in it. BundleError where it needs another file, or is no ONNX.

    Close it, as a context manager or not, when the network is loaded: a sealed content is memory that counts to nobody.
    """

    name: str
    content: Sealed | bytes = field(repr=False)

    def __post_init__(self) -> None:
        check_self_contained(self.view, self.name)
        if isinstance(self.content, Sealed):
            self.content.give_back()

    @classmethod
    def of(cls, name: str, pieces: Iterable[bytes], digest: str | None = None) -> ModelFile:
        """What is read once in pieces. digest: SHA-256 that it must have; None: any. Raises BundleError."""
        content = sealed(name, pieces)
        # Hashed after it was sealed: what anyone wrote into it before that counts, too.
        if digest is not None and sha256(content) != digest:
            raise BundleError(f"{name} was altered: its hash differs.", fix="copy the bundle again")
        return cls(name, content)

    @classmethod
    def read(cls, path: Path, digest: str | None = None) -> ModelFile:
        """Read a file once. digest: SHA-256 that it must have; None: any. Raises BundleError."""
        try:
            return cls.of(path.name, regular_blocks(path, MOST_MODEL), digest)
        except OSError as error:
            raise BundleError(f"{path} cannot be read ({error.strerror}).", fix="name an ONNX file") from error

    @property
    def size(self) -> int:
        """Bytes."""
        return self.content.size if isinstance(self.content, Sealed) else len(self.content)

    @property
    def view(self) -> bytes | mmap:
        """The content for what reads a buffer."""
        return self.content.view if isinstance(self.content, Sealed) else self.content

    @property
    def source(self) -> bytes | str:
        """The content for a library that takes bytes or a path: the path where there is one, for bytes it copies."""
        return self.content.path if isinstance(self.content, Sealed) else self.content

    @property
    def data(self) -> bytes:
        """The content as bytes, a copy."""
        return bytes(self.view)

    def close(self) -> None:
        """Forget the content; `source` is none any more."""
        if isinstance(self.content, Sealed):
            self.content.close()

    def __enter__(self) -> ModelFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
