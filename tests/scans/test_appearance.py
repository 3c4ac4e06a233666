"""How a slice looks: numbers of known pictures, in greys and HU; one slice in four, always the same."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from lits_deploy.contract import InputContract, window_to_uint8
from lits_deploy.decode.checksum import checksum
from lits_deploy.decode.decoding import Decoding
from lits_deploy.decode.job import DecodeJob
from lits_deploy.decode.settings import DecodeSettings
from lits_deploy.pipeline.stop import Stop
from lits_deploy.scans import READERS
from lits_deploy.scans.appearance import GREY, HU, ONE_IN, chosen, is_look, look, of_grey, of_hu, packed, unpacked
from lits_deploy.scans.dicom import read
from lits_deploy.scans.hounsfield import Rescale
from worlds import Series

Pixels = npt.NDArray[np.uint8]


def disc(side: int = 256, *, grey: int = 120, noise: float = 0.0, rows: float = 0.3, columns: float = 0.4) -> Pixels:
    """An ellipse of one grey, its half axes as shares of the side."""
    at = (np.arange(side) + 0.5) / side - 0.5
    inside = (at[:, None] / rows) ** 2 + (at / columns) ** 2 < 1
    made = inside * grey + np.random.default_rng(0).normal(0, noise, (side, side)) * inside
    return np.clip(made, 0, 255).round().astype(np.uint8)


def numbers(picture: Pixels) -> dict[str, int]:
    return dict(zip(GREY, of_grey(picture), strict=True))


@pytest.mark.parametrize("side", [64, 128, 256, 300])
def test_an_ellipse_is_as_large_and_as_bright_as_it_is(side: int) -> None:
    seen = numbers(disc(side))
    assert seen["tissue"] == pytest.approx(1000 * np.pi * 0.3 * 0.4, abs=20)
    assert (seen["low"], seen["middle"], seen["high"], seen["mean"]) == (120, 120, 120, 1200)
    assert seen["height"] == pytest.approx(1000 * 0.3 / 2, abs=8)
    assert seen["width"] == pytest.approx(1000 * 0.4 / 2, abs=8)
    assert (seen["light"], seen["noise"]) == (0, 0)


@pytest.mark.parametrize("sigma", [4.0, 12.0])
def test_noise_is_that_of_the_pixels_and_not_of_edges_or_slopes(sigma: float) -> None:
    """Of whole greys, so to a tenth of a deviation or so."""
    picture = disc(noise=sigma)
    assert numbers(picture)["noise"] == pytest.approx(10 * sigma, rel=0.2)
    slope = np.where(picture > 0, picture + np.linspace(-30, 30, 256), 0)
    assert numbers(slope.astype(np.uint8))["noise"] == pytest.approx(10 * sigma, rel=0.2)


def test_what_is_dark_on_the_right_is_told_from_what_is_dark_on_the_left() -> None:
    picture = disc()
    picture[110:150, 170:220] = 0
    assert numbers(picture)["hollow"] > numbers(picture[:, ::-1])["hollow"] + 200


def test_bone_is_light() -> None:
    picture = disc()
    picture[118:138, 118:138] = 255
    assert numbers(picture)["light"] == pytest.approx(1000 * 400 / 65536, abs=5)
    assert numbers(picture)["high"] == 120


@pytest.mark.parametrize("picture", [np.zeros((256, 256), np.uint8), disc(rows=0.05, columns=0.05)])
def test_of_next_to_nothing_nothing_is_said(picture: Pixels) -> None:
    assert look(picture) == ()
    assert look(picture, lambda: pytest.fail("asked")) == ()


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<f4", "<i4"])
def test_hu_are_those_of_the_file(dtype: str) -> None:
    body = disc(512).astype(bool)
    fat = disc(512, rows=0.25, columns=0.35).astype(bool)
    hu = np.where(body, -100, -1000) + 160 * fat
    hu = hu + np.random.default_rng(0).normal(0, 10, hu.shape) * fat
    stored = (hu + 1024).round().astype(dtype)
    seen = dict(zip(HU, of_hu(stored, Rescale(intercept=-1024.0).hu), strict=True))
    assert seen["body"] == pytest.approx(1000 * body.mean(), abs=20)
    assert seen["fat"] == pytest.approx(1000 * (1 - fat.sum() / body.sum()), abs=30)
    assert seen["hu_middle"] == pytest.approx(58, abs=4)
    assert seen["hu_low"] == -100
    assert seen["hu_noise"] == pytest.approx(100, rel=0.15)
    assert of_hu(np.full((512, 512), -1000, "<i2"), Rescale().hu) == ()


def test_values_beyond_16_bits_are_cut_off() -> None:
    stored = np.full((64, 64), 40_000, "<i4")
    assert max(of_hu(stored, Rescale().hu)) == 32_767


def test_one_in_four_is_looked_at_whatever_else_there_is() -> None:
    rng = np.random.default_rng(1)
    share = np.mean([chosen(checksum(rng.integers(0, 255, (64, 64), dtype=np.uint8))) for _ in range(2000)])
    assert share == pytest.approx(1 / ONE_IN, abs=0.04)


@pytest.mark.parametrize("count", [len(GREY), len(GREY) + len(HU)])
def test_what_is_packed_comes_back(count: int) -> None:
    said = tuple(range(-3, count - 3))
    assert unpacked(packed(said)) == said
    assert is_look(list(said))


def test_what_is_no_look_is_reported() -> None:
    with pytest.raises(ValueError, match="3 bytes"):
        unpacked(b"abc")
    for nonsense in (None, 3, [1], [0.5] * len(GREY), [True] * len(GREY), [40_000] * len(GREY), "x" * len(GREY)):
        assert not is_look(nonsense)
    assert is_look([])


def test_a_worker_says_how_its_slices_look(tmp_path: Path) -> None:
    """As computed here from the same file, whichever way its slices have to be turned."""
    paths = Series(name="ct", count=24, step=2.0).write(tmp_path)
    contract = InputContract(window_hu=(-40.0, 160.0), size=64, crop=56)
    jobs = [DecodeJob(n, str(path), READERS["dicom"]) for n, path in enumerate(sorted(tmp_path.rglob("IM*")))]
    assert jobs, paths
    looked = 0
    with Decoding(DecodeSettings(contract=contract, workers=1), Stop()) as decoding:
        for end, (frame,) in decoding.files(jobs, pixels=True):
            assert end.reason is None
            assert frame.checksum is not None
            assert bool(frame.look) == chosen(frame.checksum)
            (own,) = read(Path(end.job.path).read_bytes(), contract).frames
            assert own.pixels is not None
            if frame.look:
                looked += 1
                assert frame.look == look(own.pixels[0], own.in_hu)
                assert len(frame.look) == len(GREY) + len(HU)
    assert 0 < looked < len(jobs)


def test_hu_do_not_depend_on_the_window() -> None:
    stored = (disc(512).astype("<i2") * 2) - 100
    whole = of_hu(stored, Rescale().hu)
    narrow, wide = (window_to_uint8(Rescale().hu(stored), window) for window in ((-40.0, 160.0), (-160.0, 240.0)))
    seen = [look(np.ascontiguousarray(one[::2, ::2]), partial(of_hu, stored, Rescale().hu)) for one in (narrow, wide)]
    assert seen[0][len(GREY) :] == seen[1][len(GREY) :] == whole
    assert seen[0][: len(GREY)] != seen[1][: len(GREY)]
