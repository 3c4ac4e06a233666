"""A slice as a small JPEG, and what is drawn over it as contours: a class-activation map, or a U-Net's labels.

A contour is a list of lines, each `[x0, y0, x1, y1, …]` in half pixels of the slice from its upper left corner, so that
whole numbers are fine enough. They are kept apart from the picture: a reader can take them off.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import contourpy
import numpy as np
import numpy.typing as npt
from PIL import Image

Line = list[int]
Contours = dict[str, list[Line]]
"""By name: `heat`, `peak` of a map; `liver`, `lesion` of labels."""

MOST_SIDE, QUALITY = 256, 80
"""Largest side of a picture in pixels, and JPEG quality: a slice of 256×256 takes about 10 kB."""

LEVELS = {"heat": 0.5, "peak": 0.8}
"""Where a map's contours run, as a share of its highest value."""

HALF = 2
"""Contour units in a pixel."""

_EVERY = 2
"""Pixels between the points that a map is interpolated at."""


@dataclass(frozen=True, kw_only=True)
class MapGrid:
    """Where the cells of a class-activation map lie in a slice.

    size, crop: of the slice, and of its centre that the network sees, in pixels. first, step: cell i is centred on
    pixel first + step · i of the crop (`manifest.model["cam"]`, see `export.cam`).
    """

    size: int
    crop: int
    first: float
    step: float

    @classmethod
    def of(cls, model: Mapping[str, Any], *, size: int, crop: int | None) -> MapGrid | None:
        """The grid that a bundle's `manifest.model` tells of; None where it tells of none."""
        grid = model.get("cam")
        if not grid:
            return None
        return cls(size=size, crop=crop or size, first=float(grid["first"]), step=float(grid["step"]))


def thumbnail(pixels: npt.NDArray[np.uint8]) -> tuple[bytes, int]:
    """(JPEG without metadata, its side) of a slice uint8 [C, S, S], its middle channel; smaller where S > MOST_SIDE."""
    image = Image.fromarray(pixels[len(pixels) // 2])
    if image.width > MOST_SIDE:
        image = image.resize((MOST_SIDE, MOST_SIDE), Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return buffer.getvalue(), image.width


def heat_contours(cam: npt.NDArray[np.float32], grid: MapGrid) -> Contours:
    """Contours at LEVELS of a class-activation map float32 [h, w], smoothed.

    Beyond its outermost cells it falls off, so that lines close. None at all where no place speaks for the class (no
    value above zero, or values that are not finite).
    """
    if not np.isfinite(cam).all() or cam.max() <= 0:
        return {}
    offset = (grid.size - grid.crop) // 2
    axes, smooth = [], cam.astype(np.float64)
    for axis, cells in enumerate(cam.shape):
        last = grid.first + grid.step * (cells - 1)
        low, high = max(0.0, grid.first - grid.step / 2), min(grid.crop - 1.0, last + grid.step / 2)
        at = np.linspace(low, high, round((high - low) / _EVERY) + 1)
        beyond = np.maximum(grid.first - at, at - last).clip(0)
        weights = _cubic((at - grid.first) / grid.step, cells) * (1 - beyond / grid.step)[:, np.newaxis]
        smooth = np.moveaxis(weights @ np.moveaxis(smooth, axis, 0), 0, axis)
        axes.append(np.concatenate([[low - 1e-3], at, [high + 1e-3]]) + offset)
    closed = np.pad(smooth, 1, constant_values=min(0.0, float(smooth.min())))
    generator = contourpy.contour_generator(axes[1], axes[0], closed)
    return {name: _lines(generator, share * float(smooth.max())) for name, share in LEVELS.items()}


def label_contours(labels: npt.NDArray[np.uint8]) -> Contours:
    """Outlines of the liver, lesions included, and of lesions in uint8 [S, S] (0 background, 1 liver, 2 lesion)."""
    outside = np.pad(labels, 1)
    axis = np.arange(-1, len(labels) + 1)
    found = {}
    for name, least in (("liver", 1), ("lesion", 2)):
        if (labels >= least).any():
            generator = contourpy.contour_generator(axis, axis, (outside >= least).astype(np.float64))
            found[name] = _lines(generator, 0.5)
    return found


def to_json(contours: Contours) -> str:
    """As the ledger keeps them."""
    return json.dumps(contours, sort_keys=True, separators=(",", ":"))


def from_json(text: str) -> Contours:
    """What `to_json` wrote, every number made whole: it goes into a page."""
    return {name: [[int(at) for at in line] for line in lines] for name, lines in json.loads(text).items()}


def _cubic(at: npt.NDArray[np.float64], cells: int) -> npt.NDArray[np.float64]:
    """Weights [len(at), cells] of cubic convolution (Keys, 1981, a = −½) at fractional cells, ends repeated."""
    weights = np.zeros((len(at), cells))
    base = np.floor(at).astype(int)
    for tap in range(-1, 3):
        t = np.abs(at - (base + tap))
        weight = np.where(t <= 1, 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2)
        np.add.at(weights, (np.arange(len(at)), np.clip(base + tap, 0, cells - 1)), weight)
    return weights


def _lines(generator: Any, level: float) -> list[Line]:
    """The generator's lines at a level; pixel centres lie half a pixel in. Points on a straight line are left out."""
    lines = []
    for points in generator.lines(level):
        grid = np.rint((points + 0.5) * HALF).astype(int)
        line: list[tuple[int, int]] = []
        for point in map(tuple, grid.tolist()):
            if line and point == line[-1]:
                continue
            if len(line) > 1 and _straight(line[-2], line[-1], point):
                line.pop()
            line.append(point)
        if len(line) > 2:
            lines.append([at for point in line for at in point])
    return lines


def _straight(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> bool:
    """True where b lies between a and c."""
    (ax, ay), (bx, by), (cx, cy) = a, b, c
    cross = (bx - ax) * (cy - by) - (by - ay) * (cx - bx)
    return cross == 0 and (bx - ax) * (cx - bx) + (by - ay) * (cy - by) > 0
