"""The bundle: a read-only folder that a stranger can trust.

    bundle/
      manifest.json      everything below, with the SHA-256 of every other file
      manifest.sha256    hash of manifest.json (a place for a signature later)
      model.onnx …       one file per artifact, weights inside
      golden.npz         `slices` uint8 [N,C,S,S] of a phantom and the original's FP32 outputs on them
      seen.bin           optional: hashes of the slices that it was trained on (`train.data.seen`)
      README.md          model card
      segmenter-…        of a pair: the files of its U-Net's bundle, whose manifest lies in this one

`Bundle.open` checks the manifest against its own hash and knows each artifact. Files are handed out as bytes, read
once, whose hash matched (`read`, `golden`): nobody opens them again by a path, where another file may lie meanwhile.
This module knows nothing about runtimes: `lits_deploy.verify` runs the goldens.
"""

from __future__ import annotations

import difflib
import errno
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path

from lits_deploy.bundle_zip import BundleZip, read_packed
from lits_deploy.errors import BundleError
from lits_deploy.files import read_regular, regular_blocks, sha256_bytes, write_json, write_text
from lits_deploy.manifest import (
    CARD,
    GOLDEN,
    MANIFEST,
    MANIFEST_HASH,
    MOST_GOLDEN,
    MOST_MANIFEST,
    MOST_MANIFEST_HASH,
    MOST_SEEN,
    SEEN,
    SEGMENTER,
    TF32,
    Artifact,
    Manifest,
    digests_of,
    hash_line,
    is_litter,
    read_manifest,
    warn_of_litter,
)
from lits_deploy.manifest_history import SCHEMA
from lits_deploy.model_file import MOST_MODEL, ModelFile
from lits_deploy.parity import FP16_TOLERANCE
from lits_deploy.printable import printable

__all__ = [
    "CARD",
    "GOLDEN",
    "MANIFEST",
    "MANIFEST_HASH",
    "SEEN",
    "SEGMENTER",
    "TF32",
    "Artifact",
    "Bundle",
    "Manifest",
    "with_segmenter",
    "write_manifest",
]


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its folder, manifest and the manifest's hash, which is the bundle's identity.

    schema: that of manifest.json; `manifest` is in today's. prefix: of its files' names. packed: of a bundle that stays
    in its zip file, `folder`, which is open as long as this is.
    """

    folder: Path
    manifest: Manifest
    sha256: str
    schema: int = field(default=SCHEMA, kw_only=True)
    prefix: str = field(default="", kw_only=True)
    packed: BundleZip | None = field(default=None, kw_only=True, repr=False, compare=False)

    @property
    def segmenter(self) -> Bundle | None:
        """The U-Net of a pair as a bundle of its own, in the same folder; None where this is no pair."""
        inner = self.manifest.segmenter
        return None if inner is None else replace(self, manifest=inner, prefix=SEGMENTER)

    def networks(self, artifact: Artifact) -> tuple[tuple[Bundle, Artifact], ...]:
        """The one or two networks that an artifact's answers come from, each with the bundle that has its goldens."""
        own = (self, artifact)
        if self.segmenter is None or not artifact.fusion:
            return (own,)
        return own, (self.segmenter, self.segmenter_artifact(artifact))

    def segmenter_artifact(self, artifact: Artifact) -> Artifact:
        """The U-Net's artifact that stands beside one of a pair's; in TF32 where that is."""
        assert self.segmenter is not None
        name = artifact.fusion["segmenter"]
        return self.segmenter.artifact(TF32 if artifact.precision == TF32 and name == "fp32" else name)

    @classmethod
    def open(cls, path: str | PathLike[str]) -> Bundle:
        """The bundle in a folder or in a zip file, its manifest checked against manifest.sha256.

        Raises BundleError, naming what to do, for anything that is not a bundle, was altered, or holds a file that the
        manifest does not name. What file managers leave (`manifest.LITTER`) is ignored, and logged as a warning.
        """
        there = Path(path)
        return cls.open_zip(there) if there.is_file() else cls._open_folder(there)

    @classmethod
    def open_zip(cls, path: Path) -> Bundle:
        """The bundle in a zip file, and no other. Raises BundleError as `packed.read_packed` does."""
        packed = read_packed(path)
        return cls(path, packed.manifest, packed.sha256, schema=packed.schema, packed=packed)

    @classmethod
    def _open_folder(cls, folder: Path) -> Bundle:
        path = folder / MANIFEST
        if not path.is_symlink() and not path.exists():
            raise _no_bundle(folder)
        data, recorded = _content(folder, MANIFEST, MOST_MANIFEST), _content(folder, MANIFEST_HASH, MOST_MANIFEST_HASH)
        manifest, digest, schema = read_manifest(str(path), data, recorded)
        opened = cls(folder, manifest, digest, schema=schema)
        opened._check_listing()
        return opened

    @classmethod
    def of_manifest(cls, where: Path, data: bytes, sha256: str) -> Bundle:
        """A bundle of which only manifest.json is here, with that hash; its files are missing from `where`.

        Raises BundleError for other bytes.
        """
        manifest, digest, schema = read_manifest(f"The manifest in {where}", data, hash_line(sha256).encode())
        return cls(where, manifest, digest, schema=schema)

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """All that can be run: the manifest's, and `tf32`, the FP32 file on a GPU that may multiply in TF32."""
        own = self.manifest.artifacts
        fp32 = next((one for one in own if one.precision == "fp32"), None)
        if fp32 is None:
            return own
        tolerance = max((one.tolerance for one in own if one.precision == "fp16"), default=FP16_TOLERANCE)
        fp32 = replace(fp32, runtimes=("onnxruntime", "tensorrt"), devices=("cuda",))
        return (*own, replace(fp32, name=TF32, precision=TF32, tolerance=tolerance))

    def artifact(self, name: str | None = None) -> Artifact:
        """The artifact of that name, or the first one; BundleError names those there are."""
        if name is None:
            return self.manifest.artifacts[0]
        for artifact in self.artifacts:
            if artifact.name == name:
                return artifact
        names = ", ".join(artifact.name for artifact in self.manifest.artifacts)
        raise BundleError(f"{self.folder} has no artifact `{name}`.", fix=f"choose one of: {names}")

    def read(self, artifact: Artifact) -> ModelFile:
        """An artifact's file, read once, its hash checked. BundleError if it was altered or needs another file."""
        return ModelFile.of(artifact.file, self._pieces(artifact.file), artifact.sha256)

    def golden(self) -> bytes:
        """The bytes of golden.npz, read once, their hash checked."""
        name = self.prefix + GOLDEN
        return self._read(name, self.manifest.files.get(name, ""), MOST_GOLDEN)

    def seen(self) -> bytes | None:
        """The bytes of seen.bin, read once, their hash checked; None for a bundle without."""
        name = self.prefix + SEEN
        return self._read(name, self.manifest.files[name], MOST_SEEN) if name in self.manifest.files else None

    def digests(self) -> dict[str, str]:
        """SHA-256 that the manifest, or the format, asks of each file."""
        return digests_of(self.manifest, self.sha256)

    def blocks(self, name: str) -> Iterator[bytes]:
        """A file in pieces, to write it elsewhere; BundleError at its end where its hash differs."""
        digest = hashlib.sha256()
        for block in self._pieces(name):
            digest.update(block)
            yield block
        if digest.hexdigest() != self.digests()[name]:
            raise _altered(name)

    def problems(self) -> list[str]:
        """One line for every file that is missing, altered or no whole network. Empty for a good bundle."""
        artifacts = {artifact.file: artifact for artifact in self.manifest.all_artifacts}
        found = []
        for name in sorted(self.digests()):
            try:
                if name in artifacts:
                    self.read(artifacts[name]).close()
                else:
                    for _ in self.blocks(name):
                        pass
            except BundleError as error:
                found.append(error.message)
        return found

    def _check_listing(self) -> None:
        """BundleError where a file lies in the folder that the manifest does not name: a library might find it."""
        try:
            present = {path.name for path in self.folder.iterdir()}
        except OSError as error:
            raise BundleError(
                f"{self.folder} cannot be listed ({error.strerror}).", fix=f"chmod +rx {self.folder}"
            ) from error
        foreign = present - set(self.digests())
        litter = {name for name in foreign if is_litter(name)}
        if litter:
            warn_of_litter(self.folder, frozenset(litter))
        if refused := sorted(foreign - litter):
            more = f", nor are {len(refused) - 1} more" if len(refused) > 1 else ""
            raise BundleError(
                f"{printable(refused[0])} in {self.folder} is not in the manifest{more}.",
                fix="take it out of the folder, or copy the bundle again",
            )

    def _read(self, name: str, digest: str, most: int) -> bytes:
        data = self._content(name, most)
        if sha256_bytes(data) != digest:
            raise _altered(name)
        return data

    def _content(self, name: str, most: int) -> bytes:
        """A file of at most that many bytes, its hash not checked."""
        if self.packed is not None:
            return b"".join(self.packed.blocks(name, most))
        return _content(self.folder, name, most)

    def _pieces(self, name: str) -> Iterator[bytes]:
        """A file in pieces, its hash not checked."""
        if self.packed is not None:
            yield from self.packed.blocks(name, MOST_MODEL)
            return
        try:
            yield from regular_blocks(self.folder / name, MOST_MODEL)
        except OSError as error:
            raise _unreadable(self.folder, name, error) from error


def write_manifest(folder: Path, manifest: Manifest) -> Bundle:
    """Write manifest.json and manifest.sha256 into a folder that holds all other files, and open it."""
    write_json(folder / MANIFEST, manifest.to_json())
    write_text(folder / MANIFEST_HASH, hash_line(sha256_bytes((folder / MANIFEST).read_bytes())))
    return Bundle.open(folder)


def with_segmenter(unet: Bundle) -> tuple[Manifest, dict[str, str]]:
    """The manifest of a U-Net as a pair has it, and which of its files goes by which name there: new name → old."""
    named = {SEGMENTER + name: name for name in unet.manifest.files}
    artifacts = tuple(replace(one, file=SEGMENTER + one.file) for one in unet.manifest.artifacts)
    files = {new: unet.manifest.files[old] for new, old in named.items()}
    models = {SEGMENTER + one.file: one.file for one in unet.manifest.artifacts}
    return replace(unet.manifest, artifacts=artifacts, files=files), {**named, **models}


def _content(folder: Path, name: str, most: int) -> bytes:
    try:
        return read_regular(folder / name, most)
    except OSError as error:
        raise _unreadable(folder, name, error) from error


def _unreadable(folder: Path, name: str, error: OSError) -> BundleError:
    why = {
        errno.ENOENT: f"is missing from {folder}",
        errno.ELOOP: "is a link, not a file of the bundle",
    }.get(error.errno or 0, f"cannot be read ({error.strerror})")
    return BundleError(f"{name} {why}.", fix="copy the bundle again")


def _altered(name: str) -> BundleError:
    return BundleError(f"{name} was altered: its hash differs.", fix="copy the bundle again")


def _no_bundle(folder: Path) -> BundleError:
    """The error for a path that is none, with the likeliest mend."""
    if folder.is_dir():
        run = (folder / "config.json").is_file()  # of `lits-deploy train`
        fix = f"lits-deploy export {folder}" if run else "name a folder that `lits-deploy export` made, or its zip file"
        what = "a training run, not a bundle" if run else f"not a bundle (it has no {MANIFEST})"
        return BundleError(f"{folder} is {what}.", fix=fix)
    try:
        there = [path.name for path in folder.parent.iterdir() if (path / MANIFEST).is_file() or path.suffix == ".zip"]
    except OSError:
        there = []
    close = difflib.get_close_matches(folder.name, there, n=1) or (there if len(there) == 1 else [])
    fix = f"is it {folder.parent / close[0]}?" if close else "check the path of the bundle"
    return BundleError(f"There is no {folder}.", fix=fix)
