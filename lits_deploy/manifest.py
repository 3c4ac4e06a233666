"""What a bundle says of itself: manifest.json as records, read and checked; knows no folder and no zip.

`bundle` opens what holds it.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lits_deploy.contract import InputContract, Task, unshared
from lits_deploy.errors import BundleError
from lits_deploy.files import sha256_bytes
from lits_deploy.manifest_check import check_fields, parse_manifest
from lits_deploy.manifest_history import SCHEMA, todays
from lits_deploy.operating_point import ARGMAX
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
    probability lies under it is abstained (None: never). calibration: how both were fitted, and what they
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


def read_manifest(where: str, data: bytes, recorded: bytes) -> tuple[Manifest, str, int]:
    """Manifest, its hash and the schema that it is written in, of the bytes of manifest.json and manifest.sha256.

    where: the manifest's name in messages. Raises UserError.
    """
    digest = sha256_bytes(data)
    if recorded != hash_line(digest).encode():
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
    if (manifest.task, inner.task, inner.segmenter) != ("classify", "segment", None) or unshared(ours, theirs):
        raise BundleError("The manifest's two networks do not make a pair.", fix="make the pair again")
    names = [*manifest.all_files, *{one.file for one in artifacts}, *{one.file for one in inner.artifacts}]
    if len({name.casefold() for name in names}) < len(names):
        raise BundleError("The manifest names a file of both networks.", fix="make the pair again")
    known = {artifact.name for artifact in inner.artifacts}
    if any(artifact.fusion.get("segmenter") not in known for artifact in artifacts):
        raise BundleError("The manifest names no U-Net for one of its artifacts.", fix="make the pair again")


def _without_empty(values: dict[str, Any], name: str) -> dict[str, Any]:
    return values if values[name] else {key: value for key, value in values.items() if key != name}


def is_litter(name: str) -> bool:
    """True for a file or folder that file managers leave anywhere; a bundle's own files never have such names."""
    return name in LITTER or name.startswith("._")


@functools.cache  # however often a command opens the bundle
def warn_of_litter(bundle: Path, names: frozenset[str]) -> None:
    """Log, once, what is ignored in it."""
    what = ", ".join(printable(name) for name in sorted(names))
    logging.getLogger(__name__).warning("note: %s in %s is ignored: it is not the bundle's", what, bundle)


def hash_line(digest: str) -> str:
    """What manifest.sha256 holds."""
    return f"{digest}  {MANIFEST}\n"  # the form that `sha256sum --check` reads


def digests_of(manifest: Manifest, sha256: str) -> dict[str, str]:
    """SHA-256 that a manifest of that hash, or the format, asks of each file of its bundle."""
    models = {artifact.file: artifact.sha256 for artifact in manifest.all_artifacts}
    found = {**manifest.all_files, **models}
    return {**found, MANIFEST: sha256, MANIFEST_HASH: sha256_bytes(hash_line(sha256).encode())}
