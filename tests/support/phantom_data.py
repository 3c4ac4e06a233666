"""A small training data set of phantoms, clean by every rule of `data check`, for tests to spoil."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from lits_deploy.contract import window_to_uint8
from train.phantom import Phantom, make_phantom

SEED, SLICES = 6, 12  # every patient has slices of all classes
WINDOW = (-40.0, 160.0)
SPLITS = ("train", "validate", "test")


@cache
def body(patient: int) -> Phantom:
    """A phantom of few slices, made once."""
    return make_phantom(SEED, patient, slices=SLICES)


def save_slice(folder: Path, stem: str, pixels: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]) -> None:
    """Write one slice and its mask below a split's folder."""
    for kind, array in (("images", pixels), ("masks", labels)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(folder / kind / f"{stem}.png", compress_level=1)


def make_phantom_data(
    root: Path,
    *,
    made_with: tuple[float, float] = WINDOW,
    declared: tuple[float, float] | None = WINDOW,
    patients: Sequence[int] = (0, 1, 2),
) -> Path:
    """One patient a split, windowed with `made_with`; dataset.json declares `declared`."""
    for split, patient in zip(SPLITS, patients, strict=True):
        phantom = body(patient)
        for level, (hu, labels) in enumerate(zip(phantom.hu, phantom.labels, strict=True)):
            save_slice(root / split, f"volume-{patient:03d}_{level:04d}", window_to_uint8(hu, made_with), labels)
    if declared is not None:
        (root / "dataset.json").write_text(json.dumps({"source": "phantom", "window_hu": list(declared)}))
    return root
