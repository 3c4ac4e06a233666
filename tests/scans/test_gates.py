"""Gates: what is no slice of a body is named, and no phantom and no real slice is excluded."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lits_deploy.contract import InputContract, window_to_uint8
from lits_deploy.scans.gates import geometry_doubt, grey_doubt, hu_doubt, sample
from lits_deploy.scans.image import read
from lits_deploy.scans.orient import orientation_of
from pictures import encoded, grey_pixels
from scan_files import CONTRACT, SIDE, WINDOW, body, expected

AXIAL = orientation_of((1, 0, 0), (0, 1, 0))


def seen(hu: np.ndarray[Any, Any]) -> str | None:
    return hu_doubt(sample(hu).astype(np.float32))


def test_the_sample_covers_the_slice_evenly() -> None:
    assert sample(np.zeros((512, 512))).shape == (128, 128)
    assert sample(np.zeros((100, 300))).shape == (100, 150)
    assert sample(np.zeros((1, 1))).shape == (1, 1)


def test_a_body_in_hu_passes_and_its_caricatures_do_not() -> None:
    assert seen(body()) is None
    assert "nothing but air" in (seen(np.where(np.arange(SIDE) < 3, body(), -1000)) or "")
    assert "no air around" in (seen(body()[50:78, 50:78].repeat(4, 0).repeat(4, 1)) or "")
    assert "few different values" in (seen(np.where(body() > 0, 40, -1000)) or "")
    assert "not HU" in (seen(body().astype(int) * 10) or "")


def test_a_phantom_passes_through_any_window() -> None:
    from train.phantom import make_phantom

    for hu in make_phantom(5, 0, slices=8).hu:
        assert seen(hu) is None
        for window in ((-40.0, 160.0), (-160.0, 240.0), (-1000.0, 1000.0)):
            assert grey_doubt(window_to_uint8(hu, window)) is None


def mask(grey: int) -> np.ndarray[Any, Any]:
    return ((body() > 90) * grey).astype(np.uint8)


@pytest.mark.parametrize(
    ("grey", "says"),
    [
        pytest.param(np.zeros((64, 64), np.uint8), "no body in the picture", id="black"),
        pytest.param(np.full((64, 64), 255, np.uint8), "mostly white", id="white"),
        pytest.param(np.where(body() > 0, 0, 255).astype(np.uint8), "mostly white", id="a drawing"),
        pytest.param(mask(1), "no body in the picture", id="labels"),
        pytest.param(mask(255), "no body in the picture", id="a mask"),
        pytest.param(mask(127), "shades of grey", id="a grey mask"),
        pytest.param(np.full((64, 64), 90, np.uint8), "shades of grey", id="flat grey"),
    ],
)
def test_empty_pictures_and_masks_are_excluded(grey: np.ndarray[Any, Any], says: str) -> None:
    assert says in (grey_doubt(grey) or "")
    (frame,) = (
        read(encoded(grey), CONTRACT).frames if len(grey) == 64 else read(encoded(grey[::2, ::2]), CONTRACT).frames
    )
    assert frame.pixels is None
    assert says in (frame.excluded or "")


def test_greys_are_counted_in_all_rows_and_limits_are_those_of_the_whole() -> None:
    counting = np.arange(64 * 64, dtype=np.uint64).reshape(64, 64).astype(np.uint8)
    striped = counting.copy()
    striped[::8] = 90  # the rows that are looked at first
    assert grey_doubt(striped) is None
    few = (20 + counting % 84).astype(np.uint8)
    assert "only 84 shades" in (grey_doubt(few) or "")
    few[63, 63] = 200
    assert grey_doubt(few) is None
    for dark, light in ((16, 17), (240, 239)):  # no grey of a body, and the last that may be one
        grey = np.where(np.arange(100 * 100).reshape(100, 100) < 400, light, dark).astype(np.uint8)
        assert "no body" not in (grey_doubt(grey) or "")
        grey[0, 0] = dark
        assert "no body" in (grey_doubt(grey) or "")


def test_a_mask_that_went_through_jpeg_is_still_a_mask() -> None:
    big = mask(82).repeat(4, 0).repeat(4, 1)
    buffer = io.BytesIO()
    Image.fromarray(big).save(buffer, "JPEG", quality=75)
    (frame,) = read(buffer.getvalue(), InputContract(window_hu=None)).frames
    assert "shades of grey" in (frame.excluded or "")


def test_a_slice_as_a_picture_passes_and_headers_decode_nothing() -> None:
    grey = np.rint(expected(body())).astype(np.uint8)
    (frame,) = read(encoded(grey), CONTRACT).frames
    assert frame.excluded is None
    assert frame.pixels is not None
    np.testing.assert_array_equal(frame.pixels[0], grey)
    scan = read(encoded(grey), CONTRACT, headers_only=True)
    (frame,) = scan.frames
    assert (scan.series, scan.window, frame.pixels, frame.excluded) == (None, "unverified", None, None)
    assert grey_doubt(grey_pixels(64)) is None


def geometry(rows: int = 512, spacing: tuple[float, float] | None = (0.8, 0.8), thickness: float | None = 5) -> str:
    return geometry_doubt(rows, 512, spacing, thickness, AXIAL, InputContract(window_hu=WINDOW)) or ""


def test_geometry() -> None:
    assert geometry() == ""
    assert geometry(rows=400) == ""
    assert geometry(thickness=None) == ""
    assert geometry(spacing=(0.8, 0.8005)) == ""
    assert geometry(spacing=(0.3906, 0.3906)) == "", "200 mm, as some exporters write it"
    assert geometry(spacing=(0.3, 0.3)) == "a field of view of 154 mm: not 200 to 700 mm"
    assert geometry(spacing=(1.5, 1.5)) == "a field of view of 768 mm: not 200 to 700 mm"
    assert "not square" in geometry(spacing=(0.8, 0.9))
    assert "how large" in geometry(spacing=None)


@pytest.mark.slow
def test_no_real_slice_is_excluded(shared_data: Path) -> None:
    paths = sorted((shared_data / "lits").rglob("images/*.jpg"))
    assert len(paths) == 4471
    contract = InputContract(window_hu=(-40.0, 160.0))
    assert [p.name for p in paths if next(read(p.read_bytes(), contract).frames).excluded] == []


def test_no_real_mask_passes(shared_data: Path) -> None:
    contract = InputContract(window_hu=None)
    masks = sorted((shared_data / "lits/test/masks").glob("*.png"))[::20]
    masks += sorted((shared_data / "scans/jpg_chaos_liver/masks").iterdir())
    masks += sorted((shared_data / "scans/lits_jpg512_original/train_masks").iterdir())[::4]
    assert len(masks) > 60
    assert all(next(read(p.read_bytes(), contract).frames).excluded for p in masks)


def test_real_slices_of_other_sources_pass(shared_data: Path) -> None:
    contract = InputContract(window_hu=None)
    pictures = sorted((shared_data / "scans/jpg_chaos_liver/images").iterdir())
    pictures += sorted((shared_data / "scans/png_ircad_liver/images").iterdir())
    pictures += sorted((shared_data / "lits/test/images").glob("*.jpg"))[::40]
    assert len(pictures) > 50
    assert not any(next(read(p.read_bytes(), contract).frames).excluded for p in pictures)
