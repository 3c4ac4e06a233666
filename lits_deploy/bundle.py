"""The bundle: a read-only folder that a stranger can trust.

    bundle/
      manifest.json      everything below, with the SHA-256 of every other file
      manifest.sha256    hash of manifest.json (a place for a signature later)
      model.onnx …       one file per artifact, weights inside
      golden.npz         `slices` uint8 [N,C,S,S] of a phantom and the original's FP32 outputs on them
      README.md          model card

`Bundle.open` checks the manifest against its own hash and knows each artifact; a file is handed out only after its hash
matched (`path_of`). This module knows nothing about runtimes: `lits_deploy.verify` runs the goldens.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lits_deploy.contract import InputContract, Task
from lits_deploy.errors import BundleError
from lits_deploy.files import sha256_file, write_json, write_text

SCHEMA = 2
MANIFEST = "manifest.json"
MANIFEST_HASH = "manifest.sha256"
GOLDEN = "golden.npz"
CARD = "README.md"


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One model file of a bundle.

    name: what users type (`fp32`, `fp16`, `int8-cpu`, `int8-trt`); precision: `fp32`, `fp16` or `int8`.
    outputs: names of the graph's outputs; tolerance: largest |Δp| against the goldens that passes on any runtime.
    parity: verdict of the parity gate at export (see `export.parity`).
    temperature: divides the logits on the host before the softmax; abstain_below: a slice whose highest calibrated
    probability lies under it is answered `abstain` (None: never). calibration: how both were fitted, and what they
    changed, on which slices (see `export.calibrate`); empty where they were not, and then they are neutral.
    runtimes, devices: names of the runtimes and kinds of device (`cpu`, `cuda`) the file is placed for; empty: any.
    gate: limits, figures and verdict of its
    comparison with the original on validation patients (see `export.gate`); empty for the original's own precision.
    quantisation: how the file was made from the FP32 one.
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
    runtimes: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    gate: dict[str, Any] = field(default_factory=dict)
    quantisation: dict[str, Any] = field(default_factory=dict)

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
    sizes and gates of the files that failed and are not here, by artifact name.
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
    schema: int = SCHEMA

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary for JSON; carries the contract's hash beside the contract."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        values["contract"] = self.contract.to_json()
        values["contract_sha256"] = self.contract.sha256
        values["artifacts"] = [dataclasses.asdict(artifact) for artifact in self.artifacts]
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Manifest:
        """Read back what `to_json` wrote; BundleError where it is not such a record."""
        try:
            json.dumps(values, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:  # half a character: no table or ledger could hold it
            raise BundleError("The manifest holds text that is not Unicode.", fix="export again") from error
        data = dict(values)
        if data.get("schema") != SCHEMA:
            raise BundleError(
                f"The manifest has schema {data.get('schema')!r}; this version reads {SCHEMA}.",
                fix="export again, or install the lits-deploy that made it",
            )
        try:
            contract_hash = data.pop("contract_sha256")
            data["contract"] = InputContract.from_json(data["contract"])
            data["artifacts"] = tuple(
                Artifact(
                    **{
                        **artifact,
                        "outputs": tuple(artifact["outputs"]),
                        "runtimes": tuple(artifact.get("runtimes", ())),
                        "devices": tuple(artifact.get("devices", ())),
                    }
                )
                for artifact in data["artifacts"]
            )
            manifest = cls(**data)
        except (KeyError, TypeError) as error:
            raise BundleError(f"The manifest is not one of ours ({error}).", fix="export again") from error
        if manifest.contract.sha256 != contract_hash:
            raise BundleError("The contract does not match its hash.", fix="export again")
        return manifest


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its folder, manifest and the manifest's hash, which is the bundle's identity."""

    folder: Path
    manifest: Manifest
    sha256: str

    @classmethod
    def open(cls, folder: Path) -> Bundle:
        """Read the manifest of a bundle and check it against manifest.sha256.

        Raises BundleError, naming what to do, for anything that is not a bundle or was altered.
        """
        path = folder / MANIFEST
        if not path.is_file():
            what = "is not a bundle (it has no manifest.json)" if folder.exists() else "does not exist"
            raise BundleError(f"{folder} {what}.", fix=f"make one with `lits-deploy export RUN --out {folder}`")
        actual = sha256_file(path)
        try:
            recorded = (folder / MANIFEST_HASH).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise BundleError(f"{folder / MANIFEST_HASH} cannot be read.", fix="copy the bundle again") from error
        if recorded != _hash_line(actual):
            raise BundleError(f"{path} was altered: it does not match {MANIFEST_HASH}.", fix="copy the bundle again")
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise BundleError(f"{path} is not JSON ({error}).", fix="copy the bundle again") from error
        return cls(folder=folder, manifest=Manifest.from_json(values), sha256=actual)

    def artifact(self, name: str | None = None) -> Artifact:
        """The artifact of that name, or the first one; BundleError names those there are."""
        if name is None:
            return self.manifest.artifacts[0]
        for artifact in self.manifest.artifacts:
            if artifact.name == name:
                return artifact
        names = ", ".join(artifact.name for artifact in self.manifest.artifacts)
        raise BundleError(f"{self.folder} has no artifact `{name}`.", fix=f"choose one of: {names}")

    def path_of(self, artifact: Artifact) -> Path:
        """Path of an artifact's file whose hash was just checked; BundleError if it was altered."""
        path = self.folder / artifact.file
        self._check(path, artifact.sha256)
        return path

    def golden(self) -> Path:
        """Path of golden.npz, its hash checked."""
        path = self.folder / GOLDEN
        self._check(path, self.manifest.files.get(GOLDEN, ""))
        return path

    def problems(self) -> list[str]:
        """One line for every file that is missing, altered or foreign. Empty for a whole bundle."""
        expected = {MANIFEST: self.sha256, **self.manifest.files}
        expected.update({artifact.file: artifact.sha256 for artifact in self.manifest.artifacts})
        found = []
        for name, digest in sorted(expected.items()):
            try:
                self._check(self.folder / name, digest)
            except BundleError as error:
                found.append(error.message)
        present = {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()}
        found += [f"{name} is not in the manifest." for name in sorted(present - set(expected) - {MANIFEST_HASH})]
        return found

    def _check(self, path: Path, digest: str) -> None:
        if path.resolve().parent != self.folder.resolve():
            raise BundleError(f"{path.name} lies outside the bundle.", fix="copy the bundle again")
        if not path.is_file():
            raise BundleError(f"{path.name} is missing from {self.folder}.", fix="copy the bundle again")
        if sha256_file(path) != digest:
            raise BundleError(f"{path.name} was altered: its hash differs.", fix="copy the bundle again")


def write_manifest(folder: Path, manifest: Manifest) -> Bundle:
    """Write manifest.json and manifest.sha256 into a folder that holds all other files, and open it."""
    write_json(folder / MANIFEST, manifest.to_json())
    write_text(folder / MANIFEST_HASH, _hash_line(sha256_file(folder / MANIFEST)))
    return Bundle.open(folder)


def _hash_line(digest: str) -> str:
    return f"{digest}  {MANIFEST}\n"  # the form that `sha256sum --check` reads
