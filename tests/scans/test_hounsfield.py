"""HU → grey: the table gives what arithmetic gives, whatever the stored type, and air is air."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lits_deploy.contract import InputContract, window_to_uint8
from lits_deploy.scans.hounsfield import Rescale, finish, window_text, windowed
from lits_deploy.spreadsheet import harmless
from scan_files import CONTRACT, body

WINDOW = (-40.0, 160.0)


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<u2", ">u2", "u1", "i1"])
@given(st.floats(-3, 3).filter(bool), st.floats(-2000, 2000), st.none() | st.integers(-100, 100))
def test_the_table_is_exact(dtype: str, slope: float, intercept: float, pad: int | None) -> None:
    info = np.iinfo(dtype)
    stored = np.linspace(info.min, info.max, 1000).astype(dtype).reshape(20, 50)
    rescale = Rescale(slope=slope, intercept=intercept, padding=None if pad is None else (pad, pad + 5))
    np.testing.assert_array_equal(windowed(stored, rescale, WINDOW), window_to_uint8(rescale.hu(stored), WINDOW))


@pytest.mark.parametrize("dtype", ["<i4", ">f4", "f8", "i8"])
def test_other_types_are_computed(dtype: str) -> None:
    stored = body().astype(dtype)
    np.testing.assert_array_equal(windowed(stored, Rescale(), WINDOW), windowed(body(), Rescale(), WINDOW))


def test_a_view_that_is_not_contiguous_is_read_right() -> None:
    stored = body()
    np.testing.assert_array_equal(
        windowed(stored[::-1, ::2], Rescale(), WINDOW), windowed(stored, Rescale(), WINDOW)[::-1, ::2]
    )


def test_what_is_no_number_is_air() -> None:
    hu = Rescale().hu(np.array([[np.nan, np.inf, -np.inf, 5]], np.float32))
    assert hu.tolist() == [[-1024, 1e6, -1e6, 5]]


def test_margins_are_air_through_any_window() -> None:
    wide = InputContract(window_hu=(-2000.0, 0.0), size=64, crop=None)
    pixels, doubt = finish(body()[20:-20], Rescale(), "", wide)
    assert doubt is None
    assert pixels is not None
    assert pixels[0, 0, 0] == round(976 / 2000 * 255)


def test_words_for_the_window() -> None:
    text = window_text(InputContract(window_hu=(-40.0, 160.5)))
    assert text == harmless(text) == "[-40, 160.5] HU"  # no apostrophe in a CSV
    assert window_text(InputContract(window_hu=None)) == "unknown"


def test_channels_are_one() -> None:
    many = InputContract(window_hu=WINDOW, channels=3, size=64, crop=None)
    with pytest.raises(ValueError, match="one channel, not 3"):
        finish(body(), Rescale(), "", many)
    assert finish(body(), Rescale(), "", CONTRACT)[0] is not None
