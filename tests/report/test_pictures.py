"""Small pictures and contours: where they lie, what they hold, what they do not."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from lits_deploy.report.pictures import (
    HALF,
    MapGrid,
    from_json,
    heat_contours,
    label_contours,
    thumbnail,
    to_json,
)

GRID = MapGrid(size=256, crop=224, first=4.0, step=32.0)


def points(line: list[int]) -> np.ndarray:  # type: ignore[type-arg]
    return np.array(line).reshape(-1, 2) / HALF


@pytest.mark.parametrize(("row", "column"), [(3, 2), (1, 5)])
def test_a_hot_cell_is_ringed_where_it_lies(row: int, column: int) -> None:
    cam = np.full((7, 7), -1.0, np.float32)
    cam[row, column] = 8.0
    contours = heat_contours(cam, GRID)
    assert set(contours) == {"heat", "peak"}
    for lines in contours.values():
        (line,) = lines
        ring = points(line)
        assert ring[0].tolist() == ring[-1].tolist(), "closed"
        assert ring.mean(axis=0) == pytest.approx([16 + 4.5 + 32 * column, 16 + 4.5 + 32 * row], abs=1.5)
    heat, peak = (np.ptp(points(contours[name][0])[:, 0]) for name in ("heat", "peak"))
    assert 10 < peak < heat < 64


def test_contours_close_beyond_the_last_cell_and_stay_in_the_slice() -> None:
    cam = np.ones((7, 7), np.float32)
    (line,) = heat_contours(cam, GRID)["heat"]
    ring = points(line)
    assert ring[0].tolist() == ring[-1].tolist()
    assert ring.min() >= 0
    assert ring.max() <= 256
    assert (ring.min(axis=0) <= 20).all()
    assert (ring.max(axis=0) >= 212).all()


def test_a_map_that_speaks_for_nothing_has_no_contours() -> None:
    assert heat_contours(np.full((7, 7), -0.5, np.float32), GRID) == {}
    assert heat_contours(np.full((7, 7), np.nan, np.float32), GRID) == {}


def test_labels_are_outlined_on_their_edges() -> None:
    labels = np.zeros((256, 256), np.uint8)
    labels[40:80, 100:160] = 1
    labels[50:60, 0:10] = 2  # at the edge of the slice, and outside the liver
    contours = label_contours(labels)
    liver = [points(line) for line in contours["liver"]]
    assert sorted((line.min(axis=0).tolist(), line.max(axis=0).tolist()) for line in liver) == [
        ([0.0, 50.0], [10.0, 60.0]),
        ([100.0, 40.0], [160.0, 80.0]),
    ]
    assert len(contours["lesion"]) == 1
    assert len(contours["lesion"][0]) < 24, "straight edges take few points"
    assert label_contours(np.zeros((256, 256), np.uint8)) == {}


def test_thumbnails_are_small_grey_and_say_nothing_else() -> None:
    rng = np.random.default_rng(0)
    for side, kept in ((64, 64), (256, 256), (512, 256)):
        jpeg, shown = thumbnail(rng.integers(0, 256, (1, side, side)).astype(np.uint8))
        with Image.open(io.BytesIO(jpeg)) as image:
            assert (image.mode, image.size, shown) == ("L", (kept, kept), kept)
            assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
            assert not image.getexif()
    smooth = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    assert abs(np.asarray(Image.open(io.BytesIO(thumbnail(smooth[None])[0]))).astype(int) - smooth).max() < 8


def test_contours_come_back_as_numbers_only() -> None:
    contours = {"heat": [[1, 2, 3, 4, 5, 6]], "peak": []}
    assert from_json(to_json(contours)) == contours
    with pytest.raises(ValueError, match="invalid literal"):
        from_json('{"heat": [["<script>"]]}')
