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

import dataclasses
import difflib
import errno
import functools
import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lits_deploy.contract import SHARED, InputContract, Task
from lits_deploy.errors import BundleError
from lits_deploy.files import read_regular, regular_blocks, sha256_bytes, write_json, write_text
from lits_deploy.manifest_check import check_fields, parse_manifest
from lits_deploy.manifest_history import SCHEMA, todays
from lits_deploy.model_file import MOST_MODEL, ModelFile
from lits_deploy.operating_point import ARGMAX
from lits_deploy.parity import FP16_TOLERANCE
from lits_deploy.printable import printable

MANIFEST = "manifest.json"
MANIFEST_HASH = "manifest.sha256"
GOLDEN = "golden.npz"
CARD = "README.md"
SEEN = "seen.bin"
TF32 = "tf32"
SEGMENTER = "segmenter-"
"""What the names of a pair's files begin with that are its U-Net's."""

MOST_MANIFEST = 4 << 20
"""Bytes of manifest.json: one of 300 patients has 20 kB."""

MOST_MANIFEST_HASH = 1024
"""Bytes of manifest.sha256, which has 80."""

MOST_OTHER = 512 << 20
"""Bytes of a file whose size the manifest does not tell: the largest, goldens of a U-Net, are 3 MB."""

MOST_GOLDEN = 64 << 20
"""Bytes of golden.npz, twenty times what a U-Net's take."""

MOST_SEEN = 64 << 20
"""Bytes of seen.bin: eight a slice, so eight million slices. LiTS takes 0.5 MB."""

LITTER = frozenset({"Thumbs.db", ".DS_Store", "desktop.ini", "__MACOSX"})
"""What file managers leave in any folder, as they do names that begin with `._`: never opened, so no harm."""


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One model file of a bundle.

    name: what users type (`fp32`, `fp16`, `int8-cpu`, `int8-trt`); precision: `fp32`, `tf32`, `fp16` or `int8`.
    outputs: names of the graph's outputs; tolerance: largest |Δp| against the goldens that passes on any runtime.
    parity: verdict of the parity gate at export (see `export.parity`).
    temperature: divides the logits on the host before the softmax; abstain_below: a slice whose highest calibrated
    probability lies under it is answered `abstain` (None: never). calibration: how both were fitted, and what they
    changed, on which slices (see `export.calibrate`); empty where they were not, and then they are neutral.
    operating_point: the rule by which class 2 is given; operating_points: the rules it has thresholds for, each with
    what it promises on new patients (`operating_point.OperatingPoint`); promise: which patients that rests on.
    runtimes, devices: names of the runtimes and kinds of device (`cpu`, `cuda`) the file is placed for; empty: any.
    gate: limits, figures and verdict of its
    comparison with the original on validation patients (see `export.gate`); empty for the original's own precision.
    quantisation: how the file was made from the FP32 one.
    fusion: of a pair's classifier, the rule by which it and an artifact of the U-Net decide together (`fusion.Fusion`);
    thresholds are then on the odds by both. Empty for others.
    """

    name: str
    file: str
    sha256: str
    bytes: int
    precision: str
    opset: int
    outputs: tuple[str, ...]
    tolerance: float
    parity: dict[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    abstain_below: float | None = None
    calibration: dict[str, Any] = field(default_factory=dict)
    operating_point: str = ARGMAX
    operating_points: tuple[dict[str, Any], ...] = ()
    promise: dict[str, Any] = field(default_factory=dict)
    runtimes: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    gate: dict[str, Any] = field(default_factory=dict)
    quantisation: dict[str, Any] = field(default_factory=dict)
    fusion: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise BundleError(f"{self.name} has the temperature {self.temperature}.", fix="export again")

    def placed_for(self, runtime: str, device: str | None = None) -> bool:
        """True where the file is made for that runtime, on that device (`cpu`, `cuda`, `cuda:1`; None: on any)."""
        here = device is None or not self.devices or device.partition(":")[0] in self.devices
        return here and (not self.runtimes or runtime in self.runtimes)

    @property
    def warning(self) -> str | None:
        """One line for whoever uses an artifact that failed its gate and was let in all the same; None for others."""
        if self.gate.get("passed", True):
            return None
        return f"{self.name} FAILED its gate at export ({'; '.join(self.gate.get('failures', ()))})."


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of manifest.json.

    model: name, parameters and options of the architecture; files: SHA-256 of every file that is not an artifact.
    calibration_set: the slices that INT8 ranges came from (data, patients, names, hash); empty without INT8. left_out:
    sizes and gates of the files that failed and are not here, by artifact name. segmenter: of a pair, what its U-Net's
    own bundle said, with the names that its files have here.
    """

    task: Task
    model: dict[str, Any]
    contract: InputContract
    artifacts: tuple[Artifact, ...]
    files: dict[str, str]
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    export: dict[str, Any] = field(default_factory=dict)
    calibration_set: dict[str, Any] = field(default_factory=dict)
    left_out: dict[str, Any] = field(default_factory=dict)
    segmenter: Manifest | None = None
    schema: int = SCHEMA

    @property
    def all_artifacts(self) -> tuple[Artifact, ...]:
        """With those of a pair's U-Net."""
        return self.artifacts + (() if self.segmenter is None else self.segmenter.artifacts)

    @property
    def all_files(self) -> dict[str, str]:
        """SHA-256 of every file that is not an artifact, those of a pair's U-Net among them."""
        return self.files if self.segmenter is None else {**self.files, **self.segmenter.files}

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary for JSON; carries the contract's hash beside the contract."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        if self.segmenter is None:  # whoever knows no pairs takes other bundles as ever
            del values["segmenter"]
        else:
            values["segmenter"] = self.segmenter.to_json()
        values["contract"] = self.contract.to_json()
        values["contract_sha256"] = self.contract.sha256
        values["artifacts"] = [_without_empty(dataclasses.asdict(artifact), "fusion") for artifact in self.artifacts]
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Manifest:
        """Read back what `to_json` wrote, now or in an older schema; BundleError where it is not such a record."""
        data = todays(values)
        check_fields(data)
        contract_hash = data.pop("contract_sha256")
        data["contract"] = InputContract.from_json(data["contract"])
        records: list[dict[str, Any]] = [
            {key: tuple(value) if isinstance(value, list) else value for key, value in artifact.items()}
            for artifact in data["artifacts"]
        ]
        data["artifacts"] = tuple(Artifact(**record) for record in records)
        if (inner := data.get("segmenter")) is not None:
            data["segmenter"] = cls.from_json(inner)
        manifest = cls(**data)
        check_pair(manifest)
        if manifest.contract.sha256 != contract_hash:
            raise BundleError("The contract does not match its hash.", fix="export again")
        return manifest


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its folder, manifest and the manifest's hash, which is the bundle's identity.

    schema: that of manifest.json; `manifest` is in today's. prefix: of its files' names.
    """

    folder: Path
    manifest: Manifest
    sha256: str
    schema: int = field(default=SCHEMA, kw_only=True)
    prefix: str = field(default="", kw_only=True)

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
    def open(cls, folder: Path) -> Bundle:
        """Read the manifest of a bundle and check it against manifest.sha256.

        Raises BundleError, naming what to do, for anything that is not a bundle, was altered, or holds a file that the
        manifest does not name. What file managers leave (LITTER) is ignored, and logged as a warning.
        """
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
        manifest, digest, schema = read_manifest(f"The manifest in {where}", data, _hash_line(sha256).encode())
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
        models = {artifact.file: artifact.sha256 for artifact in self.manifest.all_artifacts}
        found = {**self.manifest.all_files, **models}
        return {**found, MANIFEST: self.sha256, MANIFEST_HASH: sha256_bytes(_hash_line(self.sha256).encode())}

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
            tell_litter(self.folder, frozenset(litter))
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
        return _content(self.folder, name, most)

    def _pieces(self, name: str) -> Iterator[bytes]:
        """A file in pieces, its hash not checked."""
        try:
            yield from regular_blocks(self.folder / name, MOST_MODEL)
        except OSError as error:
            raise _unreadable(self.folder, name, error) from error


def write_manifest(folder: Path, manifest: Manifest) -> Bundle:
    """Write manifest.json and manifest.sha256 into a folder that holds all other files, and open it."""
    write_json(folder / MANIFEST, manifest.to_json())
    write_text(folder / MANIFEST_HASH, _hash_line(sha256_bytes((folder / MANIFEST).read_bytes())))
    return Bundle.open(folder)


def read_manifest(where: str, data: bytes, recorded: bytes) -> tuple[Manifest, str, int]:
    """Manifest, its hash and the schema that it is written in, of the bytes of manifest.json and manifest.sha256.

    where: the manifest's name in messages. Raises UserError.
    """
    digest = sha256_bytes(data)
    if recorded != _hash_line(digest).encode():
        raise BundleError(f"{where} was altered: it does not match {MANIFEST_HASH}.", fix="copy the bundle again")
    values = parse_manifest(data)
    return Manifest.from_json(values), digest, values["schema"]


def check_pair(manifest: Manifest) -> None:
    """BundleError where what makes a bundle a pair is not of one piece, or is there in a bundle that is none."""
    inner, artifacts = manifest.segmenter, manifest.artifacts
    if inner is None:
        if any(artifact.fusion for artifact in artifacts):
            raise BundleError("The manifest has a rule for two networks, and one network.", fix="make the pair again")
        return
    ours, theirs = manifest.contract, inner.contract
    if (manifest.task, inner.task, inner.segmenter) != ("classify", "segment", None) or any(
        getattr(ours, name) != getattr(theirs, name) for name in SHARED
    ):
        raise BundleError("The manifest's two networks do not make a pair.", fix="make the pair again")
    names = [*manifest.all_files, *{one.file for one in artifacts}, *{one.file for one in inner.artifacts}]
    if len({name.casefold() for name in names}) < len(names):
        raise BundleError("The manifest names a file of both networks.", fix="make the pair again")
    known = {artifact.name for artifact in inner.artifacts}
    if any(artifact.fusion.get("segmenter") not in known for artifact in artifacts):
        raise BundleError("The manifest names no U-Net for one of its artifacts.", fix="make the pair again")


def with_segmenter(unet: Bundle) -> tuple[Manifest, dict[str, str]]:
    """The manifest of a U-Net as a pair has it, and which of its files goes by which name there: new name → old."""
    named = {SEGMENTER + name: name for name in unet.manifest.files}
    artifacts = tuple(replace(one, file=SEGMENTER + one.file) for one in unet.manifest.artifacts)
    files = {new: unet.manifest.files[old] for new, old in named.items()}
    models = {SEGMENTER + one.file: one.file for one in unet.manifest.artifacts}
    return replace(unet.manifest, artifacts=artifacts, files=files), {**named, **models}


def _without_empty(values: dict[str, Any], name: str) -> dict[str, Any]:
    return values if values[name] else {key: value for key, value in values.items() if key != name}


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


def is_litter(name: str) -> bool:
    """True for a file or folder that file managers leave anywhere; a bundle's own files never have such names."""
    return name in LITTER or name.startswith("._")


@functools.cache  # however often a command opens the bundle
def tell_litter(bundle: Path, names: frozenset[str]) -> None:
    """Log, once, what is ignored in it."""
    what = ", ".join(printable(name) for name in sorted(names))
    logging.getLogger(__name__).warning("note: %s in %s is ignored: it is not the bundle's", what, bundle)


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
    near = difflib.get_close_matches(folder.name, there, n=1) or (there if len(there) == 1 else [])
    fix = f"is it {folder.parent / near[0]}?" if near else "check the path of the bundle"
    return BundleError(f"There is no {folder}.", fix=fix)


def _hash_line(digest: str) -> str:
    return f"{digest}  {MANIFEST}\n"  # the form that `sha256sum --check` reads
