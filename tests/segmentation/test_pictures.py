"""Masks of pictures: their size, their names whatever a path holds, and never one over another."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from lits_deploy.bundle import Bundle
from masked import make_unet, masks, png, segment, table
from pictures import save
from worlds import SIZE, picture, picture_labels


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_unet(tmp_path_factory.mktemp("unet"))


def test_a_mask_has_its_pictures_size(bundle: Bundle, tmp_path: Path) -> None:
    for factor in (1, 2, 4):
        save(tmp_path / "scans" / f"x{factor}.png", picture(factor, factor * SIZE))
    segment(bundle, tmp_path / "scans", tmp_path / "out", "png")
    for factor in (1, 2, 4):
        mask = png(tmp_path / "out" / masks(tmp_path / "out", "png")[f"x{factor}.png", 0]["mask"])
        np.testing.assert_array_equal(mask, picture_labels(picture(factor, factor * SIZE)))


def test_a_size_that_is_no_multiple_is_off_at_edges_only(bundle: Bundle, tmp_path: Path) -> None:
    side = 3 * SIZE // 2
    large = picture(2, 3 * SIZE)[::2, ::2]
    assert large.shape == (side, side)
    save(tmp_path / "scans" / "odd.png", large)
    segment(bundle, tmp_path / "scans", tmp_path / "out", "png")
    mask, right = png(tmp_path / "out/masks/png/odd.png.0000.png"), picture_labels(large)
    assert mask.shape == (side, side)
    around = [np.roll(right, (down, across), (0, 1)) for down in (-1, 0, 1) for across in (-1, 0, 1)]
    flat = np.logical_and.reduce([each == right for each in around])
    np.testing.assert_array_equal(mask[flat], right[flat])
    assert (mask == right).mean() > 0.97


def test_hostile_names_stay_below_the_folder_and_apart(bundle: Bundle, tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    names = [
        b"a.png",
        b"a.png.0000.png",
        b"two\nlines.png",
        b"caf\xe9.png",
        b"back\\slash.png",
        b"100%.png",
        b"%0A.png",
        "Ünïcode 患者.png".encode(),
        b"x" * 240 + b".png",
        b"x" * 239 + b"y.png",
        b'con: <>|?*".png',
        b"trailing .png",
        b"deep/" * 40 + b"end.png",
    ]
    for number, name in enumerate(names):
        path = Path(os.fsdecode(os.fsencode(scans) + b"/" + name))
        path.parent.mkdir(parents=True, exist_ok=True)
        save(tmp_path / "one.png", picture(number % 6))
        (tmp_path / "one.png").rename(path)
    summary = segment(bundle, scans, tmp_path / "out", "png")
    assert not summary.run.failed
    written = masks(tmp_path / "out", "png")
    assert len({row["mask"] for row in written.values()}) == len(names)
    for row in written.values():
        path = tmp_path / "out" / row["mask"]
        assert path.resolve().is_relative_to(tmp_path / "out" / "masks" / "png")
        assert path.is_file()
        assert row["mask"].isprintable()
    assert len(list((tmp_path / "out/masks").rglob("*.png"))) == len(names)
    assert written["a.png", 0]["mask"] == "masks/png/a.png.0000.png"


def test_what_has_no_mask_is_listed_with_its_reason(bundle: Bundle, tmp_path: Path) -> None:
    save(tmp_path / "scans" / "good.png", picture(1))
    save(tmp_path / "scans" / "white.png", np.full((SIZE, SIZE), 255, np.uint8))
    (tmp_path / "scans" / "empty.png").write_bytes(b"")
    summary = segment(bundle, tmp_path / "scans", tmp_path / "out", "png", "nifti")
    found = {path: (row["mask"], row["reason"]) for (path, _), row in masks(tmp_path / "out", "png").items()}
    assert found["good.png"] == ("masks/png/good.png.0000.png", "")
    assert found["empty.png"] == ("", "failed: the file is empty")
    assert found["white.png"][0] == ""
    assert found["white.png"][1].startswith("excluded: mostly white")
    reasons = {path: row["reason"] for (path, _), row in masks(tmp_path / "out", "nifti").items()}
    assert reasons["good.png"] == "a picture does not say where it lies: only as png"
    assert summary.without == {"nifti: a picture does not say where it lies: only as png": 1}
    (row,) = [row for row in table(tmp_path / "out", "volumes") if row["segmented"] == "1"]
    assert (row["liver_ml"], row["reason"]) == ("", "pictures do not say how large a pixel is")
