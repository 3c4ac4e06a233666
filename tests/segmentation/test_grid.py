"""Slices in space: one regular grid, or the reason why there is none."""

from __future__ import annotations

import numpy as np
import pytest

from lits_deploy.segmentation.grid import Plane, VolumeGrid, grid_of, to_ras
from worlds import SERIES, Series


def planes(
    series: Series, *, without: tuple[int, ...] = (), moved: dict[int, tuple[float, float, float]] | None = None
) -> list[Plane]:
    across, down = series.axes
    return [
        Plane(
            position=tuple(series.corner(number) + np.array((moved or {}).get(number, (0, 0, 0)))),
            along_columns=tuple(across),
            along_rows=tuple(down),
            spacing=(series.spacing, series.spacing),
            thickness=series.step,
        )
        for number in range(series.count)
        if number not in without
    ]


def grid(series: Series, **changes: object) -> VolumeGrid:
    found = grid_of(planes(series, **changes))  # type: ignore[arg-type]
    assert isinstance(found, VolumeGrid), found
    return found


@pytest.mark.parametrize("series", SERIES, ids=lambda series: series.name)
def test_the_affine_leads_from_index_to_position(series: Series) -> None:
    found = grid(series)
    assert found.indices == tuple(range(series.count))
    for number in range(series.count):
        for row, column in ((0, 0), (series.rows - 1, 3), (7, series.columns - 1)):
            position = found.affine @ (column, row, number, 1)
            np.testing.assert_allclose(position[:3], series.positions(number)[row, column], atol=1e-9)
    assert found.leans == bool(series.shift)


def test_the_order_of_files_does_not_matter() -> None:
    series = SERIES[5]
    order = [3, 0, 5, 1, 4, 2]
    shuffled = grid_of([planes(series)[number] for number in order])
    assert isinstance(shuffled, VolumeGrid)
    assert shuffled.indices == tuple(order)
    np.testing.assert_allclose(shuffled.affine, grid(series).affine)


def test_a_missing_slice_leaves_its_index_empty() -> None:
    found = grid(SERIES[0], without=(2, 3))
    assert (found.indices, found.count, found.empty) == ((0, 1, 4, 5), 6, [2, 3])
    np.testing.assert_allclose(found.affine, grid(SERIES[0]).affine)


def test_rounded_positions_of_a_long_series_still_fit() -> None:
    series = Series(name="long", count=500, step=0.8)
    moved = {number: (0.0, 0.0, 0.004 * (-1) ** number) for number in range(500)}
    assert grid(series, moved=moved).indices == tuple(range(500))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"moved": {2: (0, 0, 1.3)}}, "the slices do not lie at even distances"),
        ({"moved": {2: (3, 0, 0)}}, "the slices do not lie at even distances"),
        ({"moved": {2: (0, 0, 4)}}, "several slices at one position"),
        ({"moved": {5: (0, 0, 400)}}, "too many slices are missing between those that are there"),
    ],
)
def test_what_forms_no_grid_has_a_reason(changes: dict[str, object], reason: str) -> None:
    assert grid_of(planes(SERIES[0], **changes)) == reason  # type: ignore[arg-type]


def test_one_slice_needs_a_thickness() -> None:
    (one,) = planes(Series(name="one", count=1))
    found = grid_of([one])
    assert isinstance(found, VolumeGrid)
    np.testing.assert_allclose(found.affine[:3, 2], (0, 0, 4))
    assert grid_of([Plane(**{**vars(one), "thickness": None})]) == "one slice whose header does not say how thick it is"


def test_directions_that_are_none_are_reported() -> None:
    (one,) = planes(Series(name="one", count=1))
    assert grid_of([Plane(**{**vars(one), "along_rows": (1, 0, 0)})]) == "the header does not say how the slices lie"


def test_nifti_looks_the_other_way() -> None:
    np.testing.assert_array_equal(to_ras(np.eye(4)), np.diag([-1, -1, 1, 1]))
