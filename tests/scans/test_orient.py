"""The eight turns and the square: exact, invertible, and right for directions in the patient."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lits_deploy.scans.orient import (
    REORIENTATIONS,
    Orientation,
    margins,
    orientation_of,
    reoriented,
    restored,
    squared,
    unsquared,
)

LEFT, BACK, HEAD = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def minus(direction: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(-value for value in direction)


def oriented(across: tuple[float, ...], down: tuple[float, ...]) -> Orientation:
    found = orientation_of(across, down)
    assert found is not None
    return found


shapes = st.tuples(st.integers(1, 9), st.integers(1, 9))


@given(shapes, st.sampled_from(sorted(REORIENTATIONS)))
def test_every_reorientation_comes_back(shape: tuple[int, int], name: str) -> None:
    pixels = np.arange(2 * math.prod(shape)).reshape(2, *shape)
    np.testing.assert_array_equal(restored(reoriented(pixels, name), name), pixels)


def test_the_eight_reorientations_are_eight_and_named_for_what_they_do() -> None:
    pixels = np.arange(6).reshape(2, 3)
    assert (
        len({reoriented(pixels, name).tobytes() + bytes(reoriented(pixels, name).shape) for name in REORIENTATIONS})
        == 8
    )
    np.testing.assert_array_equal(reoriented(pixels, "rotate-left"), np.rot90(pixels))
    np.testing.assert_array_equal(reoriented(pixels, "rotate-right"), np.rot90(pixels, 3))
    np.testing.assert_array_equal(reoriented(pixels, "rotate-180"), np.rot90(pixels, 2))
    np.testing.assert_array_equal(reoriented(pixels, "transpose"), pixels.T)
    np.testing.assert_array_equal(reoriented(pixels, "flip-rows"), pixels[::-1])
    np.testing.assert_array_equal(reoriented(pixels, "flip-columns"), pixels[:, ::-1])


@given(shapes, st.integers(-5, 5))
def test_a_square_holds_the_picture_in_its_middle(shape: tuple[int, int], fill: int) -> None:
    pixels = np.arange(math.prod(shape)).reshape(shape) + 100
    square = squared(pixels, fill)
    assert square.shape == (max(shape), max(shape))
    np.testing.assert_array_equal(unsquared(square, *shape), pixels)
    assert (square == fill).sum() == square.size - pixels.size
    top, bottom, left, right = margins(*shape)
    assert abs(top - bottom) <= 1
    assert abs(left - right) <= 1


AXES = [
    (across, down)
    for a, b in ((LEFT, BACK), (BACK, LEFT))
    for across, down in itertools.product((a, minus(a)), (b, minus(b)))
]


@pytest.mark.parametrize(("across", "down"), AXES)
def test_any_axial_slice_ends_with_left_on_the_right_and_the_back_below(
    across: tuple[float, ...], down: tuple[float, ...]
) -> None:
    found = oriented(across, down)
    assert found.axial
    assert found.text == "axial"
    np.testing.assert_allclose(found.normal, HEAD, atol=1e-12)
    rows, columns = np.mgrid[0:5, 0:7]
    position = np.multiply.outer(np.array(across), columns) + np.multiply.outer(np.array(down), rows)
    x, y, _ = reoriented(position, found.reorientation)
    assert (np.diff(x, axis=1) == 1).all()
    assert (np.diff(y, axis=0) == 1).all()
    assert (np.diff(x, axis=0) == 0).all()


def test_the_series_of_this_project_that_runs_from_back_to_front_is_flipped() -> None:
    assert oriented(LEFT, minus(BACK)).reorientation == "flip-rows"  # ../shared/data/scans/dicom_lits_volume0
    assert oriented(LEFT, BACK).reorientation == ""
    assert oriented(minus(LEFT), minus(BACK)).reorientation == "rotate-180"


def tilted(degrees: float) -> tuple[float, float, float]:
    angle = math.radians(degrees)
    return (0.0, math.cos(angle), -math.sin(angle))


@pytest.mark.parametrize(
    ("degrees", "text"), [(0.4, "axial"), (12, "axial, tilted 12°"), (20, "axial, tilted 20°"), (-20, None)]
)
def test_a_tilted_gantry_is_axial(degrees: float, text: str | None) -> None:
    found = oriented(LEFT, tilted(degrees))
    assert found.axial
    assert found.reorientation == ""
    assert found.text == (text or "axial, tilted 20°")
    assert found.normal[2] > 0.9


def test_others_are_named_and_not_reoriented() -> None:
    assert (oriented(LEFT, tilted(25)).axial, oriented(LEFT, tilted(25)).text) == (False, "oblique")
    assert oriented(LEFT, minus(HEAD)).text == "coronal"
    assert oriented(BACK, minus(HEAD)).text == "sagittal"
    half = (math.sqrt(0.5), math.sqrt(0.5), 0.0)
    in_plane = oriented(half, (-half[0], half[1], 0.0))
    assert (in_plane.axial, in_plane.reorientation, in_plane.text) == (False, "", "axial, turned in its plane")
    assert oriented(LEFT, minus(HEAD)).reorientation == ""


@pytest.mark.parametrize(
    ("across", "down"),
    [
        (LEFT, LEFT),
        (LEFT, (0.1, 1.0, 0.0)),
        ((0.0, 0.0, 0.0), BACK),
        (LEFT, (math.nan, 1.0, 0.0)),
        (LEFT, (0.0, 1.0)),
        ((math.inf, 0.0, 0.0), BACK),
    ],
)
def test_what_are_no_two_directions_gives_none(across: tuple[float, ...], down: tuple[float, ...]) -> None:
    assert orientation_of(across, down) is None


def test_directions_need_no_unit_length() -> None:
    assert oriented((3.0, 0.0, 0.0), (0.0, -0.5, 0.0)).reorientation == "flip-rows"
