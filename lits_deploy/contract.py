"""The input contract: what a network was trained to see, frozen, hashed and enforced.

The host's order of work is HU → window → 8 bit → orient → resize → neighbours, and ends at uint8 [channels, size,
size]. Everything after it (cast, centre crop, scale, normalise) is inside the exported graph. Training uses this same
record, so there is one preprocessing. This module knows nothing about file formats (`lits_deploy.scans`) or graphs
(`export`).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lits_deploy.errors import ContractError
from lits_deploy.files import canonical_json, sha256_bytes

if TYPE_CHECKING:  # a command's help, which names the kernels, needs no numpy
    import numpy as np
    import numpy.typing as npt

CLASSES = ("no liver", "liver", "liver with lesion")
"""Classes 0, 1, 2 of the thesis's classification task (Section 3)."""

SHARED = ("window_hu", "channels", "size", "resize", "orientation", "classes")
"""Fields of the contract that two networks have to share to be given the same slice: what follows is in the graphs."""

ResizeKernel = Literal["box", "bilinear", "never"]
Task = Literal["classify", "segment"]


@dataclass(frozen=True, kw_only=True)
class InputContract:
    """What the host must hand to the graph.

    window_hu: (low, high) in HU that map to 0 and 255; None where the training data did not declare one, and then
        input in HU (DICOM, NIfTI) is refused. There is no default. A PNG or JPEG carries no HU, so its window cannot
        be checked: results call it *unverified*.
    channels: 1, or an odd number of neighbouring slices of the series with the slice itself in the middle
        (`scans.neighbours`).
    size: side of the square slice in pixels.
    crop: side of the centre crop inside the graph; None for U-Net, which sees the whole slice.
    resize: kernel for square slices of another size; "never" makes them a failed row. "box" is the area mean, which
        turns 512×512 into 256×256 as the 2×2 mean that the LiTS slices were made with.
    orientation: of the displayed slice.
    scale, mean, std: the graph computes (x · scale − mean) / std. The thesis is silent; 0…1 without centring is our
        choice, so that zero padding equals air.
    """

    window_hu: tuple[float, float] | None
    channels: int = 1
    size: int = 256
    crop: int | None = 224
    resize: ResizeKernel = "box"
    orientation: str = "anterior up, patient's right on the left"
    classes: tuple[str, ...] = CLASSES
    scale: float = 1.0 / 255.0
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        if self.window_hu is not None and not 0 < self.window_hu[1] - self.window_hu[0] < math.inf:
            raise ContractError(
                f"The window {self.window_hu} HU is empty or endless.", fix="give LOW HIGH with LOW < HIGH"
            )
        if self.channels < 1 or self.channels % 2 == 0:
            raise ContractError(f"{self.channels} channels have no slice in the middle.", fix="1, 3, 5 …")
        if self.crop is not None and not 0 < self.crop <= self.size:
            raise ContractError(f"A crop of {self.crop} does not fit a slice of {self.size}.", fix="crop ≤ size")
        if self.std <= 0:
            raise ContractError("std must be positive.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one slice as the graph takes it."""
        return (self.channels, self.size, self.size)

    @property
    def sha256(self) -> str:
        """Hex hash of the canonical JSON of this record."""
        return sha256_bytes(canonical_json(self.to_json()).encode())

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary for JSON."""
        values = dataclasses.asdict(self)
        values["window_hu"] = None if self.window_hu is None else list(self.window_hu)
        values["classes"] = list(self.classes)
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> InputContract:
        """Read back what `to_json` wrote.

        Raises ContractError on a field that this version does not know: a silently dropped field could change pixels.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ContractError(f"The contract has unknown fields: {', '.join(unknown)}.", fix="upgrade lits-deploy")
        data = dict(values)
        if data.get("window_hu") is not None:
            data["window_hu"] = tuple(float(edge) for edge in data["window_hu"])
        if "classes" in data:
            data["classes"] = tuple(data["classes"])
        return cls(**data)


def unshared(classifier: InputContract, segmenter: InputContract) -> list[str]:
    """Fields of SHARED for which a classifier and a U-Net cannot be given the same slice.

    A U-Net that sees fewer neighbouring slices than the classifier is given those in the middle.
    """
    differ = [name for name in SHARED if getattr(classifier, name) != getattr(segmenter, name)]
    return [name for name in differ if name != "channels" or segmenter.channels > classifier.channels]


def window_to_uint8(hu: npt.NDArray[Any], window_hu: tuple[float, float]) -> npt.NDArray[np.uint8]:
    """Map HU to 0…255 linearly over the window, clipped, rounded to nearest. Any shape."""
    low, high = window_hu
    scaled = (hu.astype("float32") - low) * (255.0 / (high - low))
    grey: npt.NDArray[np.uint8] = scaled.round().clip(0, 255).astype("uint8")
    return grey


def in_hu(window: tuple[float, float]) -> str:
    """A window as text that no spreadsheet takes for a formula: `[-160, 240] HU`."""
    return f"[{window[0]:g}, {window[1]:g}] HU"
