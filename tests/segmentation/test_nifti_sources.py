"""A mask of a NIfTI file has its shape, its affine and its axes, and nothing of its prose."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lits_deploy.bundle import Bundle
from masked import labels_in, make_unet, masks, png, segment
from worlds import SIZE, labels_of, volume


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_unet(tmp_path_factory.mktemp("unet"))


SHAPES = {
    "RAS": (SIZE, SIZE, 5),
    "LPS": (SIZE, SIZE - 14, 5),
    "LAI": (SIZE - 9, SIZE, 5),
    "SRA": (5, SIZE, SIZE),
    "PSL": (SIZE, 5, SIZE),
    "ARS": (SIZE, SIZE - 14, 5),
}


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    for axes, shape in SHAPES.items():
        nib.save(volume(axes, shape), folder / f"{axes}.nii.gz")
    nib.save(volume("RAS", SHAPES["RAS"], kind=nib.Nifti2Image), folder / "two.nii")
    swapped = volume("LPS", SHAPES["LPS"])
    big = nib.Nifti1Image(np.asanyarray(swapped.dataobj), swapped.affine, swapped.header.as_byteswapped(">"))
    (folder / "big.nii").write_bytes(big.to_bytes())
    four = volume("RAS", SHAPES["RAS"])
    nib.save(nib.Nifti1Image(np.asanyarray(four.dataobj)[..., np.newaxis], four.affine), folder / "four.nii.gz")
    metres = volume("RAS", SHAPES["RAS"])
    small = nib.Nifti1Image(np.asanyarray(metres.dataobj), np.diag([0.001, 0.001, 0.001, 1]) @ metres.affine)
    small.header.set_xyzt_units("meter")
    nib.save(small, folder / "metres.nii.gz")
    return folder


@pytest.fixture(scope="module")
def out(bundle: Bundle, scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    summary = segment(bundle, scans, folder, "png", "nifti")
    count = len(list(scans.iterdir()))
    assert (summary.run.slices, summary.run.failed, summary.run.excluded) == (5 * count, 0, 0)
    assert summary.masks == {"png": 5 * count, "nifti": count}
    return folder


@pytest.mark.parametrize(
    "name", [*(f"{axes}.nii.gz" for axes in SHAPES), "two.nii", "big.nii", "four.nii.gz", "metres.nii.gz"]
)
def test_the_mask_coincides_with_the_source_voxel_by_voxel(scans: Path, out: Path, name: str) -> None:
    source = nib.load(scans / name)
    (mask,) = {row["mask"] for (path, _), row in masks(out, "nifti").items() if path == name}
    assert mask == f"masks/nifti/{name.removesuffix('.gz').removesuffix('.nii')}.mask.nii.gz"
    image, labels = labels_in(out / mask)
    assert image.shape == source.shape
    np.testing.assert_array_equal(labels, labels_of(np.asanyarray(source.dataobj)))
    np.testing.assert_array_equal(image.affine, source.affine)
    assert type(image) is type(source)
    for field in ("qform_code", "sform_code", "xyzt_units", "pixdim"):
        np.testing.assert_array_equal(image.header[field], source.header[field])
    assert b"Secret" not in gzip.decompress((out / mask).read_bytes())


def test_pictures_of_a_volume_are_its_slices_as_stored(scans: Path, out: Path) -> None:
    stored = np.asanyarray(nib.load(scans / "SRA.nii.gz").dataobj)
    for (path, index), row in masks(out, "png").items():
        if path == "SRA.nii.gz":
            assert row["mask"] == f"masks/png/SRA.nii.gz.{index:04d}.png"
            np.testing.assert_array_equal(png(out / row["mask"]), labels_of(stored[index]).T)


def test_two_runs_write_the_same_bytes(bundle: Bundle, scans: Path, out: Path, tmp_path: Path) -> None:
    segment(bundle, scans, tmp_path / "again", "nifti")
    for path in (tmp_path / "again" / "masks").rglob("*.nii.gz"):
        assert path.read_bytes() == (out / path.relative_to(tmp_path / "again")).read_bytes()
