"""Everything that an engine depends on. Two engines of one key compute the same; nothing else may stand in for it."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

from lits_deploy.contract import Task
from lits_deploy.errors import UserError
from lits_deploy.files import canonical_json, sha256_bytes

MAX_BATCH, OPT_BATCH = 64, 32
"""Slices that an engine takes at most, and that it is tuned for, unless asked otherwise or short of memory."""

SLICE_BYTES: dict[Task, int] = {"classify": 16_000_000, "segment": 370_000_000}
"""What a slice takes on the device in FP32 at the worst: the tensors that live at once, and its widest convolution
unrolled, which is what a tactic may ask for as workspace. From the exported graphs, with the shapes that ONNX infers:
9.0 + 6.7 MB in ResNet50 and ResNet152 (ResNet18 and ResNet34: 3.8 + 6.7; VGG19, which may have to try smaller: 26 +
116), and 67 + 302 MB in the U-Net, where a map of 64 channels at 256² is 17 MB (1.07 GB for 64 slices) and the room of
four is taken where two of them are concatenated."""

SHARE = 12
"""A slice's bytes times the batch may be this part of the device's memory. The rest is for weights, CUDA, what the
builder holds beside them and, on a Jetson, the system and the decoders: 8 GB are 1 slice of a U-Net, 24 GB are 4."""


@dataclass(frozen=True, kw_only=True)
class OptimisationProfile:
    """The one optimisation profile: batches of 1 to `most` slices, tuned for `best`."""

    best: int = OPT_BATCH
    most: int = MAX_BATCH

    def __post_init__(self) -> None:
        if not 1 <= self.best <= self.most:
            raise UserError(f"A batch of {self.best} does not lie in 1…{self.most}.", fix="--opt-batch ≤ --max-batch")

    @classmethod
    def up_to(cls, most: int) -> OptimisationProfile:
        """For batches of up to `most`."""
        return cls(best=min(most, OPT_BATCH), most=most)

    @classmethod
    def for_gpu(cls, task: Task, memory_bytes: int) -> OptimisationProfile:
        """The default on a device of so much memory, in all: one engine serves every command.

        The largest power of two, of up to MAX_BATCH, for which memory_bytes / SHARE holds SLICE_BYTES a slice; else 1.
        """
        fit = max(1, memory_bytes // SHARE // SLICE_BYTES[task])
        return cls.up_to(min(MAX_BATCH, 1 << (fit.bit_length() - 1)))

    def smaller(self) -> OptimisationProfile | None:
        """A quarter of it, where this one does not fit; None where it is for one slice."""
        return OptimisationProfile.up_to(max(1, self.most // 4)) if self.most > 1 else None

    def __str__(self) -> str:
        return f"1/{self.best}/{self.most}"


@dataclass(frozen=True, kw_only=True)
class EngineKey:
    """What must be the same for an engine to be used.

    bundle: hash of its manifest; flavour, version: of TensorRT; platform: system and processor. gpu,
    compute_capability, driver: None for an engine that was built for `targets` (like `sm86`) wherever: such a one
    must be proven where it is used.
    """

    bundle: str
    artifact: str
    artifact_sha256: str
    precision: str
    flavour: str
    version: str
    platform: str
    gpu: str | None
    compute_capability: str | None
    driver: str | None
    targets: tuple[str, ...] = ()
    best_batch: int = OPT_BATCH
    max_batch: int = MAX_BATCH

    @property
    def digest(self) -> str:
        """Names the files: 32 hex digits of the hash of the canonical JSON."""
        return sha256_bytes(canonical_json(self.to_json()).encode())[:32]

    @property
    def profile(self) -> OptimisationProfile:
        """As a profile."""
        return OptimisationProfile(best=self.best_batch, most=self.max_batch)

    def to_json(self) -> dict[str, Any]:
        """For the record."""
        return {**dataclasses.asdict(self), "targets": list(self.targets)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> EngineKey:
        """Read back; TypeError, KeyError for anything else."""
        return cls(**{**values, "targets": tuple(str(target) for target in values["targets"])})

    def serves(self, wanted: EngineKey) -> bool:
        """True where an engine of this key may be used for `wanted`.

        The same in everything, but it may take larger batches; or one built for this compute capability elsewhere.
        """
        if self.max_batch < wanted.max_batch:
            return False
        mine = dataclasses.replace(self, best_batch=wanted.best_batch, max_batch=wanted.max_batch)
        if mine == wanted:
            return True
        if not self.targets or wanted.compute_capability is None:
            return False
        here = {name: getattr(wanted, name) for name in ("gpu", "compute_capability", "driver", "targets")}
        sm = "sm" + wanted.compute_capability.replace(".", "")
        return sm in self.targets and dataclasses.replace(mine, **here) == wanted

    def differences(self, wanted: EngineKey) -> list[str]:
        """What differs, in words, most telling first: `driver 580.95.05 → 581.10`."""
        titles = {
            "artifact_sha256": "the artifact's file",
            "bundle": "the bundle",
            "version": "TensorRT",
            "gpu": "GPU",
            "compute_capability": "compute capability",
            "driver": "driver",
            "platform": "platform",
            "precision": "precision",
            "targets": "compute capabilities",
        }
        found = []
        for name, word in titles.items():
            old, new = getattr(self, name), getattr(wanted, name)
            if old != new:
                hashes = name in ("bundle", "artifact_sha256")
                found.append(f"{word} changed" if hashes else f"{word} {_text(old)} → {_text(new)}")
        if self.max_batch < wanted.max_batch:
            found.append(f"batches up to {self.max_batch} → {wanted.max_batch}")
        return found


def parse_targets(text: str | None) -> tuple[str, ...]:
    """`sm86,sm89` (or 8.6, 86, SM86) → (`sm86`, `sm89`), each once, in order. UserError for anything else."""
    found: list[str] = []
    for part in (text or "").split(","):
        name = part.strip().lower()
        if not name:
            continue
        if not (match := re.fullmatch(r"(?:sm_?)?(\d{1,2})\.?(\d)", name)):
            raise UserError(f"`{part.strip()}` is not a compute capability.", fix="write them like sm86,sm89")
        found.append(f"sm{match[1]}{match[2]}")
    return tuple(dict.fromkeys(found))


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return "+".join(value) or "of this machine"
    return "none" if value is None else str(value)
