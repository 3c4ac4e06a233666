"""A pair around the tiny classifier and the tiny U-Net, written as `bundle pair` writes one, with a made-up rule."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from lits_deploy.bundle import GOLDEN, SEGMENTER, Bundle, with_segmenter
from tiny_bundle import make_tiny_bundle, with_manifest
from tiny_unet import make_tiny_unet
from worlds import WINDOW

FUSION: dict[str, Any] = {
    "segmenter": "fp32",
    "no_liver_below": 0.05,
    "intercept": -3.0,
    "classifier": 0.5,
    "tumour": 0.8,
}


def make_tiny_pair(folder: Path, *, size: int = 64, fusion: dict[str, Any] | None = None, **changes: Any) -> Bundle:
    """Write the whole pair to `folder` and open it. changes: of the classifier, as `make_tiny_bundle` takes them."""
    unet = make_tiny_unet(folder.parent / f"{folder.name} U-Net", size=size)
    pair = make_tiny_bundle(folder, size=size, crop=size * 7 // 8, window_hu=WINDOW, **changes)
    inner, copies = with_segmenter(unet)
    for name, origin in copies.items():
        (folder / name).write_bytes((unet.folder / origin).read_bytes())
    assert SEGMENTER + GOLDEN in copies
    artifacts = tuple(dataclasses.replace(one, fusion=fusion or FUSION) for one in pair.manifest.artifacts)
    return with_manifest(pair, artifacts=artifacts, segmenter=inner)
