"""A training data set of a few slices, made in a millisecond: grey discs whose brightness tells the class."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image


def make_tiny_data(
    folder: Path,
    *,
    slices: int = 4,
    patients: tuple[int, int, int] = (2, 1, 1),
    window: list[float] | None = None,
    seed: int = 7,
) -> Path:
    """`slices` per patient with masks; patients per split for train, validate, test. Classes 0, 1, 2 in turn.

    Another seed makes other patients of the same numbers.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:256, :256]
    patient = 0
    for split, count in zip(("train", "validate", "test"), patients, strict=True):
        for name in ("images", "masks"):
            (folder / split / name).mkdir(parents=True)
        for _ in range(count):
            for index in range(slices):
                mask = np.zeros((256, 256), np.uint8)
                image = rng.normal(60, 12, (256, 256))
                if index % 3:
                    liver = (x - 100) ** 2 + (y - 120) ** 2 < 60**2
                    mask[liver], image[liver] = 1, image[liver] + 80
                if index % 3 == 2:
                    lesion = (x - 90) ** 2 + (y - 110) ** 2 < 18**2
                    mask[lesion], image[lesion] = 2, image[lesion] - 50
                stem = f"volume-{patient:03d}_{index:04d}"
                Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / split / "images" / f"{stem}.png")
                Image.fromarray(mask).save(folder / split / "masks" / f"{stem}.png")
            patient += 1
    if window is not None:
        (folder / "dataset.json").write_text(json.dumps({"window_hu": window, "source": "tiny"}))
    return folder
