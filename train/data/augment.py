"""Augmentation of whole batches on the device they are trained on: the thesis's (Section 5.2), and others beside it.

The thesis names flips with p = 0.5, colour jitter and a random crop. Slices stay uint8, so that training sees the
rounding of a picture file. Flips and crops alone move pixels and change none; turns, zooms, shifts and elastic
displacements are one bilinear resampling, so that a slice is interpolated once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from train.device import sent

_MOVES = ("flip_x", "flip_y", "crop_x", "crop_y", "rotation", "zoom", "shift_x", "shift_y")
_COLUMNS = (*_MOVES, "brightness", "contrast", "level", "gamma")
_GRID = 5
"""Control points of the elastic displacement along each side."""

_LATER = ("noise", "noise_x", "noise_y", "blur")
_MIXED = 0.3
"""Of the slices, how many get noise, and how many are blurred."""

DRAWS = len(_COLUMNS) + 2 * _GRID**2 + len(_LATER)
"""Random numbers that a slice takes, whatever is switched on: switching one thing on moves nothing else."""

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Augment:
    """What is done to a slice, each in a range around nothing.

    crop: side in pixels, None for U-Net (whole slices). jitter: relative range of brightness and contrast; the thesis
    gives none, ±0.2 is our choice (hue and saturation do nothing to grey). flips: off, left stays left, which tells
    a short training the liver from the spleen. rotation: largest, in degrees; zoom: largest relative change of
    size; shift: largest displacement in pixels; elastic: largest displacement of a control point in pixels; level:
    largest shift of the window in grey levels of 255; gamma: largest change of log2 of the exponent. noise:
    largest standard deviation of added Gaussian noise in grey levels; blur: largest share of the mean of 3×3 pixels;
    each in three slices of ten. All 0 in the thesis. Neighbours in the channels are treated alike, but for their noise.
    """

    crop: int | None
    jitter: float = 0.2
    flips: bool = True
    rotation: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    elastic: float = 0.0
    level: float = 0.0
    gamma: float = 0.0
    noise: float = 0.0
    blur: float = 0.0

    def __call__(self, images: Tensor, masks: Tensor | None, numbers: Numbers) -> tuple[Tensor, Tensor | None]:
        """Transform uint8 [N, C, S, S] and label maps uint8 [N, S, S] together, on the device they are on.

        numbers: uniform [N, DRAWS] (`train.data.draws`). Same numbers, same result, whatever else is in the batch.
        """
        values = sent(torch.from_numpy(numbers.astype(np.float32)), images.device)
        column = dict(zip(_COLUMNS, values.T, strict=False))
        column |= dict(zip(_LATER, values[:, -len(_LATER) :].T, strict=True))
        if self.rotation or self.zoom or self.shift or self.elastic:
            grid = self._grid(column, values[:, len(_COLUMNS) : -len(_LATER)], images.shape[-1])
            moved = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
            if masks is not None:
                labels = F.grid_sample(masks[:, None].float(), grid, mode="nearest", align_corners=False)
                masks = labels[:, 0].to(torch.uint8)
            return self._intensities(moved, column), masks
        if self.crop is not None or self.flips:
            rows, columns = self._sources(column, images.shape[-1])
            index = torch.arange(len(images), device=images.device)[:, None, None]
            images = images.movedim(1, -1)[index, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)
            if masks is not None:
                masks = masks[index, rows[:, :, None], columns[:, None, :]]
        return self._intensities(images, column), masks

    def _sources(self, column: dict[str, Tensor], size: int) -> list[Tensor]:
        """Source rows and columns of every output pixel, int64 [N, side] each."""
        side = self.crop or size
        found = []
        for axis in ("y", "x"):
            start = (column[f"crop_{axis}"] * (size - side + 1)).long()
            lines = start[:, None] + torch.arange(side, device=start.device)
            if self.flips:  # of the slice, before the crop
                lines = torch.where(column[f"flip_{axis}"][:, None] < 0.5, size - 1 - lines, lines)
            found.append(lines)
        return found

    def _grid(self, column: dict[str, Tensor], control: Tensor, size: int) -> Tensor:
        """Where each output pixel is read, float32 [N, side, side, 2] as (x, y), −1…1 over the slice's edges."""
        side = self.crop or size
        angle = torch.deg2rad(self.rotation * _around(column["rotation"]))
        scale = 1.0 / (1.0 + self.zoom * _around(column["zoom"]))
        cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
        line = torch.arange(side, device=angle.device) - (side - 1) / 2
        y, x = line[None, :, None], line[None, None, :]
        read_at = []
        for name, across, along in (("x", cosine, -sine), ("y", sine, cosine)):
            source = across[:, None, None] * x + along[:, None, None] * y
            if self.crop is not None:
                source = source + ((size - side) * (column[f"crop_{name}"] - 0.5))[:, None, None]
            source = source + (self.shift * _around(column[f"shift_{name}"]))[:, None, None]
            if self.flips:
                source = torch.where(column[f"flip_{name}"][:, None, None] < 0.5, -source, source)
            read_at.append(source)
        grid = torch.stack(read_at, dim=1)
        if self.elastic:
            control = self.elastic * _around(control).reshape(-1, 2, _GRID, _GRID)
            basis = _basis(side, grid.device)
            grid = grid + basis @ control @ basis.T
        return grid.movedim(1, -1) * (2.0 / size)

    def _intensities(self, images: Tensor, column: dict[str, Tensor]) -> Tensor:
        """Brightness, contrast, window level, gamma, noise and blur, then back to uint8 [N, C, H, W]."""
        if not (self.jitter or self.level or self.gamma or self.noise or self.blur):
            return images if images.dtype == torch.uint8 else images.round_().to(torch.uint8)

        def of(name: str, amount: float) -> Tensor:
            return (amount * _around(column[name]))[:, None, None, None]

        x = images.float()
        if self.level:
            x = (x + of("level", self.level)).clamp_(0.0, 255.0)
        if self.gamma:
            x = 255.0 * (x / 255.0).pow_(torch.exp2(of("gamma", self.gamma)))
        if self.jitter:
            x = (x * (1.0 + of("brightness", self.jitter))).clamp_(0.0, 255.0)
            mean = x.mean(dim=(1, 2, 3), keepdim=True)
            x = torch.lerp(mean, x, 1.0 + of("contrast", self.jitter)).clamp_(0.0, 255.0)
        if self.noise:
            x = x + _some(column["noise"], self.noise) * _noise_at(column, x)
        if self.blur:
            blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
            x = torch.lerp(x, blurred, _some(column["blur"], self.blur))
        x = x.clamp_(0.0, 255.0)
        return x.round_().to(torch.uint8)


@cache
def _basis(side: int, device: torch.device) -> Tensor:
    """Bicubic interpolation from the control points to a line of pixels, float32 [side, _GRID].

    The interpolation is separable: two small products for a slice in place of sixteen reads for each of its pixels.
    """
    points = torch.eye(_GRID)[None, None]
    size = (side, _GRID)
    return F.interpolate(points, size=size, mode="bicubic", align_corners=True)[0, 0].to(device)


@cache
def _noise(channels: int, side: int, device: torch.device) -> Tensor:
    """Standard normal noise, float32 [C, 2·side, 2·side]; each slice reads a window of it: no state is drawn from."""
    values = np.random.default_rng(0).standard_normal((channels, 2 * side, 2 * side), dtype=np.float32)
    return torch.from_numpy(values).to(device)


def _noise_at(column: dict[str, Tensor], x: Tensor) -> Tensor:
    """Noise for each slice of [N, C, H, W], of the same shape."""
    side = max(x.shape[-2:])
    field, line = _noise(x.shape[1], side, x.device), torch.arange(side, device=x.device)
    rows, columns = ((column[f"noise_{axis}"] * side).long()[:, None] + line for axis in ("y", "x"))
    return field[:, rows[:, : x.shape[-2], None], columns[:, None, : x.shape[-1]]].movedim(0, 1)


def _some(uniform: Tensor, most: float) -> Tensor:
    """[0, 1) → 0 for most slices, for a share of _MIXED uniform up to `most`; [N, 1, 1, 1]."""
    return ((uniform - (1.0 - _MIXED)).clamp(min=0.0) * (most / _MIXED))[:, None, None, None]


def _around(uniform: Tensor) -> Tensor:
    """[0, 1) → [−1, 1)."""
    return 2.0 * uniform - 1.0


def named(name: str, crop: int | None) -> Augment | None:
    """The augmentation that `--augment` names; None for `none`."""
    return {
        "thesis": Augment(crop=crop),
        "upright": Augment(crop=crop, flips=False, rotation=10.0, zoom=0.15),
        "strong": Augment(
            crop=crop,
            flips=False,
            rotation=15.0,
            zoom=0.25,
            shift=12.0,
            elastic=6.0,
            jitter=0.3,
            level=40.0,
            gamma=0.5,
            noise=10.0,
            blur=1.0,
        ),
        "crop": Augment(crop=crop, jitter=0.0, flips=False),
        "none": None,
    }[name]
