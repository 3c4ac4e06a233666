"""Slices in memory in the size a network takes, as files get it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from lits_deploy.contract import InputContract
from lits_deploy.scans.image import fit_picture, load_slice


def test_a_slice_in_memory_is_resized_as_its_file_is(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (256, 256), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "slice.png")
    for contract in (InputContract(window_hu=None), InputContract(window_hu=None, size=128, crop=112)):
        fitted = fit_picture(picture, contract)
        assert fitted.shape == contract.shape
        assert np.array_equal(fitted, load_slice(tmp_path / "slice.png", contract))
