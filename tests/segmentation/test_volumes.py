"""Volumes in ml, and the reasons why there is none."""

from __future__ import annotations

from itertools import pairwise
from math import pi
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lits_deploy.bundle import Bundle
from lits_deploy.segmentation.geometry import MaskGeometry
from lits_deploy.segmentation.volumes import Counted, stretches, volumes
from masked import labels_in, make_unet, segment, table
from worlds import SIZE, Series, volume

SPACING = (2.0, 0.5)


def counted(*positions: float | None, liver: int = 1000, tumour: int = 10) -> list[Counted]:
    return [Counted(position=position, liver=liver, tumour=tumour) for position in positions]


def test_pixels_times_area_times_distance() -> None:
    held = volumes(counted(10, 15, 20, 25), "dicom", SPACING)
    assert (held.liver_ml, held.tumour_ml, held.slice_mm, held.reason) == (4 * 1000 * 1.0 * 5 / 1000, 0.2, 5, None)


def test_slices_stand_for_the_way_to_their_neighbours_but_not_across_a_hole() -> None:
    assert stretches([0, 5, 10]) == (5, [5, 5, 5])
    assert stretches([0, 5, 15, 20]) == (5, [5, 7.5, 7.5, 5])  # one slice is missing: its neighbours take its place
    assert stretches([0, 5, 10, 40, 45, 50]) == (5, [5, 5, 5, 5, 5, 5])


@pytest.mark.parametrize(
    ("slices", "kind", "spacing_mm", "reason"),
    [
        ([], "dicom", SPACING, "no slice was segmented"),
        (counted(1, 2), "picture", None, "pictures do not say how large a pixel is"),
        (counted(1, 2), "dicom", None, "the header does not say how large a pixel is"),
        (counted(1, None), "dicom", SPACING, "the header does not say where the slices lie"),
        (counted(1), "dicom", SPACING, "one slice alone does not say how thick it is"),
        (counted(1, 2, 2), "dicom", SPACING, "several slices at one position"),
    ],
)
def test_without_what_it_takes_there_is_a_reason_and_no_volume(
    slices: list[Counted], kind: str, spacing_mm: tuple[float, float] | None, reason: str
) -> None:
    held = volumes(slices, kind, spacing_mm)
    assert (held.liver_ml, held.tumour_ml, held.reason) == (None, None, reason)


@pytest.mark.parametrize("reorientation", ["", "flip-rows", "transpose", "rotate-left"])
@pytest.mark.parametrize(("rows", "columns"), [(128, 128), (100, 128), (97, 60), (30, 64)])
def test_counting_is_what_the_mask_on_its_source_holds(reorientation: str, rows: int, columns: int) -> None:
    mask = np.random.default_rng(0).integers(0, 3, (64, 64), dtype=np.uint8)
    geometry = MaskGeometry(size=64, rows=rows, columns=columns, reorientation=reorientation)
    whole = geometry.onto_source(mask)
    assert whole.shape == (rows, columns)
    for label in (1, 2):
        assert geometry.count(mask, label) == int((whole >= label).sum())


def test_a_mask_of_the_sources_size_is_only_reoriented() -> None:
    mask = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    np.testing.assert_array_equal(
        MaskGeometry(size=64, rows=64, columns=64, reorientation="rotate-180").onto_source(mask), mask[::-1, ::-1]
    )
    np.testing.assert_array_equal(
        MaskGeometry(size=64, rows=128, columns=128).onto_source(mask), np.kron(mask, [[1, 1], [1, 1]])
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_unet(tmp_path_factory.mktemp("unet"))


def test_a_volume_is_that_of_the_written_mask_and_of_the_world(bundle: Bundle, tmp_path: Path) -> None:
    Series(name="fine", count=16, step=2.0).write(tmp_path / "scans")
    nib.save(volume("LAS", (SIZE, SIZE, 16), step=2.0), tmp_path / "scans" / "fine.nii")
    segment(bundle, tmp_path / "scans", tmp_path / "out", "nifti")
    rows = {row["kind"]: row for row in table(tmp_path / "out", "volumes")}
    assert rows["dicom"]["liver_ml"] == rows["nifti"]["liver_ml"]
    (path,) = (tmp_path / "out/masks/nifti").glob("series-*.nii.gz")
    image, labels = labels_in(path)
    voxel_ml = abs(np.linalg.det(image.affine[:3, :3])) / 1000
    for name, label in (("liver_ml", 1), ("tumour_ml", 2)):
        assert float(rows["dicom"][name]) == pytest.approx(voxel_ml * (labels >= label).sum(), rel=1e-4)
    # The lesion is a cylinder of radius 11 mm over 9 of 9 slices that are less than 9 mm from its middle.
    levels = [5 + (number - 7.5) * 2 for number in range(16)]
    inside = sum(abs(level - 5) < 9 for level in levels)
    assert float(rows["dicom"]["tumour_ml"]) == pytest.approx(pi * 11**2 * inside * 2 / 1000, rel=0.05)
    assert all(after - before == 2 for before, after in pairwise(levels))
    assert (rows["dicom"]["slices"], rows["dicom"]["segmented"], rows["dicom"]["slice_mm"]) == ("16", "16", "2.000000")
