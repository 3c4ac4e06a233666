"""NIfTI: slices in order and upright from any affine, bounded by the header's own size, strangers excluded."""

from __future__ import annotations

import gzip
import tracemalloc
from contextlib import suppress
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from lits_deploy.contract import InputContract
from lits_deploy.errors import SliceError
from lits_deploy.scans import Frame, Reading
from lits_deploy.scans.nifti import read
from lits_deploy.scans.orient import REORIENTATIONS
from scan_files import CONTRACT, SIDE, affine, body, nifti, stack, stands

HU = stack(3)


def frames(data: bytes, contract: InputContract = CONTRACT) -> list[Frame]:
    return list(read(data, contract).frames)


def upright(data: bytes, hu: Any = HU) -> bool:
    found = frames(data)
    assert [frame.index for frame in found] == list(range(len(hu)))
    return all(stands(frame.pixels, level) for frame, level in zip(found, hu, strict=True))


def failure(data: bytes, contract: InputContract = CONTRACT) -> SliceError:
    with pytest.raises(SliceError) as caught:
        frames(data, contract)
    return caught.value


def reasons(data: bytes) -> set[str | None]:
    found = frames(data)
    assert all(frame.pixels is None for frame in found)
    return {frame.excluded for frame in found}


def test_slices_come_in_order_with_their_positions() -> None:
    scan = read(nifti(HU), CONTRACT)
    assert scan.window == "[-160, 240] HU"
    series = scan.series
    assert series is not None
    assert (series.kind, series.modality, series.geometry.rows, series.geometry.columns) == ("nifti", None, SIDE, SIDE)
    assert (
        series.geometry.spacing_mm,
        series.orientation,
        series.geometry.reorientation,
        dict(series.identifiers),
    ) == (
        (2.5, 2.5),
        "axial",
        "",
        {},
    )
    assert [frame.header.position for frame in scan.frames] == [30.0, 35.0, 40.0]
    assert upright(nifti(HU))


@pytest.mark.parametrize("name", REORIENTATIONS)
def test_however_the_slices_lie_they_end_upright(name: str) -> None:
    data = nifti(HU, reorientation=name)
    scan = read(data, CONTRACT)
    assert scan.series is not None
    assert scan.series.geometry.reorientation == name
    assert upright(data)
    assert upright(gzip.compress(data))


@pytest.mark.parametrize("order", [(1, 2, 0), (2, 0, 1), (0, 2, 1)])
@pytest.mark.parametrize("packed", [False, True])
def test_the_axial_axis_may_be_any(order: tuple[int, int, int], packed: bool) -> None:
    image = nib.Nifti1Image(np.ascontiguousarray(HU.transpose(2, 1, 0)), affine())
    moved = np.ascontiguousarray(np.asarray(image.dataobj).transpose(order))
    other = nib.Nifti1Image(moved, image.affine[:, [*order, 3]])
    other.set_sform(other.affine, code=1)
    data = bytes(other.to_bytes())
    assert upright(gzip.compress(data) if packed else data)


def test_from_head_to_feet_the_positions_fall() -> None:
    data = nifti(HU, affine(step=-5))
    assert [frame.header.position for frame in frames(data)] == [30.0, 25.0, 20.0]
    assert upright(data)


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("big_endian", [False, True])
def test_any_number_type_gives_the_same_slices(dtype: str, big_endian: bool) -> None:
    data = nifti(HU.astype(dtype), big_endian=big_endian)
    assert [f.pixels is not None and f.pixels.tobytes() for f in frames(data)] == [
        f.pixels is not None and f.pixels.tobytes() for f in frames(nifti(HU))
    ]


def test_slope_intercept_units_and_nifti_2() -> None:
    stored = ((HU.astype(int) + 1024) / 2).astype(np.uint16)
    assert upright(nifti(stored, header={"scl_slope": 2, "scl_inter": -1024}))
    matrix = affine()
    matrix[:3] /= 1000
    assert upright(nifti(HU, matrix, header={"xyzt_units": 1}))
    assert upright(nifti(HU, kind=nib.Nifti2Image))


def test_four_dimensions_are_read_if_the_fourth_is_one() -> None:
    flat = bytearray(nifti(HU))
    flat[40:42], flat[48:50] = (4).to_bytes(2, "little"), (1).to_bytes(2, "little")
    assert upright(bytes(flat))
    flat[48:50] = (2).to_bytes(2, "little")
    assert str(failure(bytes(flat))) == "4 dimensions: only volumes of three are read"


def test_not_a_number_and_infinity_are_air_and_bone() -> None:
    hu = HU.astype(np.float32)
    hu[0, :8], hu[0, 70, 60] = np.nan, np.inf
    found = frames(nifti(hu))
    clean = HU.copy()
    clean[0, :8], clean[0, 70, 60] = -1024, 3000
    assert stands(found[0].pixels, clean[0])


@pytest.mark.parametrize(
    ("matrix", "code"),
    [pytest.param(np.eye(4), 1, id="unit matrix"), pytest.param(affine(), 0, id="no form")],
)
def test_slices_that_lie_nobody_knows_how_are_excluded(matrix: np.ndarray[Any, Any], code: int) -> None:
    data = nifti(HU, matrix, code=code)
    assert reasons(data) == {"the header does not say how the slices lie"}
    scan = read(data, CONTRACT, headers_only=True)
    assert scan.series is not None
    assert scan.series.orientation == "unknown"
    assert {frame.header.position for frame in scan.frames} == {None}


def test_masks_and_magnetic_resonance_are_excluded() -> None:
    assert reasons(nifti((HU > 0).astype(np.uint8))) == {
        "only a few different values and no air: a mask or label map, not a CT slice"
    }
    mr = np.clip(HU.astype(int) + 1000, 0, None).astype(np.int16)
    assert reasons(nifti(mr)) == {"no air around the body: cut out, or the values are not HU"}
    assert reasons(nifti(np.full_like(HU, -1000))) == {"no body in the slice: nothing but air"}
    assert reasons(nifti(HU, affine(spacing=0.5))) == {"a field of view of 64 mm: not 200 to 700 mm"}
    assert reasons(nifti(HU, affine(step=30))) == {"slices of 30 mm are thicker than 15 mm"}


def test_two_volumes_are_two_series_and_one_volume_is_one() -> None:
    def key(data: bytes) -> str:
        series = read(data, CONTRACT).series
        assert series is not None
        return series.series

    other = HU.copy()
    other[1, 3, 3] = 5
    assert key(nifti(HU)) == key(nifti(HU))
    assert len({key(nifti(HU)), key(nifti(other)), key(gzip.compress(nifti(HU), mtime=0))}) == 3


def dims(*sides: int) -> dict[str, Any]:
    return {"dim": [3, *sides, 1, 1, 1, 1]}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "truncated", id="empty"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1\n" * 9, "not a NIfTI file", id="LFS pointer"),
        pytest.param(nifti(HU)[:300], "truncated", id="cut header"),
        pytest.param(nifti(HU)[:-5], "truncated", id="cut voxels"),
        pytest.param(nifti(HU, header=dims(30000, 30000, 30000)), "no CT volume", id="huge"),
        pytest.param(nifti(HU, header=dims(5000, 5000, 1)), "more than any slice has", id="wide"),
        pytest.param(nifti(HU, header=dims(512, 512, 5000)), "truncated", id="long"),
        pytest.param(nifti(HU, header=dims(-5, 128, 3)), "no CT volume", id="negative"),
        pytest.param(nifti(HU, header={"dim": [2, 128, 384, 1, 1, 1, 1, 1]}), "2 dimensions", id="flat"),
        pytest.param(nifti(HU, header={"dim": [99, 1, 1, 1, 1, 1, 1, 1]}), "not a NIfTI file", id="dimensions"),
        pytest.param(nifti(HU, header={"datatype": 128, "bitpix": 24}), "of a type that no CT has", id="colour"),
        pytest.param(nifti(HU, header={"datatype": 32, "bitpix": 64}), "of a type that no CT has", id="complex"),
        pytest.param(nifti(HU, header={"datatype": 999}), "the NIfTI header is damaged", id="no such type"),
        pytest.param(nifti(HU, header={"vox_offset": 3e9}), "its voxels start nowhere", id="offset"),
        pytest.param(nifti(HU, header={"vox_offset": float("nan")}), "header is damaged", id="no offset"),
        pytest.param(nifti(HU, header={"magic": b"ni1"}), "its voxels lie in another", id="pair"),
        pytest.param(gzip.compress(nifti(HU))[:-3000], "truncated", id="cut gzip"),
        pytest.param(gzip.compress(nifti(HU))[:200], "truncated", id="cut gzip header"),
        pytest.param(gzip.compress(b"nothing here"), "not a NIfTI file", id="gzip of text"),
    ],
)
def test_what_is_broken_fails_with_a_reason(data: bytes, reason: str) -> None:
    text = str(failure(data))
    assert reason in text or (reason == "not a NIfTI file" and "damaged" in text)


def test_a_failure_after_the_header_knows_its_series() -> None:
    assert failure(nifti(HU)[:-5]).series is not None
    damaged = bytearray(gzip.compress(nifti(HU)))
    damaged[-6] ^= 1
    assert str(failure(bytes(damaged))) == "the gzip file is damaged"
    assert failure(bytes(damaged)).series is not None


def test_a_bomb_ends_where_the_header_does() -> None:
    bomb = gzip.compress(nifti(HU) + bytes(200 << 20))
    tracemalloc.start()
    assert str(failure(bomb)) == "more data than the NIfTI header says"
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    claim = gzip.compress(nifti(HU, header=dims(4000, 4000, 4000)))
    assert "truncated" in str(failure(claim))


def test_memory_does_not_grow_with_the_volume() -> None:
    peaks = []
    for levels in (4, 40):
        data = gzip.compress(nifti(np.repeat(HU[:1], levels, axis=0)), 1)
        frames(data)
        tracemalloc.start()
        for _ in read(data, CONTRACT).frames:
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_an_inflated_volume_in_another_order_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from lits_deploy.scans import nifti as module

    monkeypatch.setattr(module, "MOST_WHOLE", 1000)
    image = nib.Nifti1Image(np.ascontiguousarray(HU.transpose(0, 1, 2)), affine()[:, [2, 1, 0, 3]])
    image.set_sform(image.affine, code=1)
    data = bytes(image.to_bytes())
    assert upright(data)
    assert "in another order than slice by slice" in str(failure(gzip.compress(data)))


def test_without_a_window_hu_cannot_be_read_and_headers_can() -> None:
    contract = InputContract(window_hu=None, size=64, crop=56)
    assert "--window LOW HIGH" in str(failure(nifti(HU), contract))
    assert [frame.excluded for frame in read(nifti(HU), contract, headers_only=True).frames] == [None] * 3


def test_what_a_header_says_stays_there(capfd: pytest.CaptureFixture[str]) -> None:
    data = nifti(
        HU, header={"descrip": b"PLANTED", "aux_file": b"PLANTED", "intent_name": b"PLANTED", "db_name": b"PLANTED"}
    )
    scan = read(data, CONTRACT)
    said = repr(scan.series) + scan.window + repr([frame.excluded for frame in scan.frames])
    captured = capfd.readouterr()
    assert "PLANTED" not in said + captured.out + captured.err


def test_mutated_volumes_give_rows_and_nothing_else() -> None:
    small = nifti(stack(2, 64), affine(spacing=5.0))
    sources = [small, gzip.compress(small), nifti(stack(2, 64), kind=nib.Nifti2Image)]
    rng = np.random.default_rng(11)
    for round_ in range(240):
        data = bytearray(sources[round_ % 3])
        for at in rng.integers(0, min(len(data), 400 if round_ % 2 else len(data)), rng.integers(1, 10)):
            data[at] = rng.integers(0, 256)
        with suppress(SliceError):
            for frame in read(bytes(data), CONTRACT).frames:
                assert (frame.pixels is None) != (frame.excluded is None)


def test_one_slice_is_a_volume_too() -> None:
    assert upright(nifti(HU[:1]), HU[:1])
    assert body().shape == (SIDE, SIDE)


def two_forms(change: np.ndarray[Any, Any] | None = None, **header: Any) -> bytes:
    """A volume whose sform is that of `nifti` and whose qform is that one times `change`."""
    image = nib.Nifti1Image.from_bytes(nifti(HU))
    image.set_sform(image.affine, code=1)
    image.set_qform(image.affine @ (np.eye(4) if change is None else change), code=1)
    for name, value in header.items():
        image.header[name] = value
    return bytes(image.to_bytes())


def moved(degrees: float) -> np.ndarray[Any, Any]:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cos, -sin, 0, 0], [sin, cos, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (np.diag([-1.0, 1, 1, 1]), "mirror images"),
        (np.diag([1.0, 1, 1.2, 1]), "different sizes"),
        (moved(180), "differ by 180°"),
        (moved(3), "differ by 3°"),
    ],
)
def test_two_orientations_that_disagree_exclude_unless_one_is_trusted(
    change: np.ndarray[Any, Any], reason: str
) -> None:
    data = two_forms(change)
    (found,) = reasons(data)
    assert reason in (found or "")
    assert "--trust sform" in (found or "")
    trusted = list(read(data, CONTRACT, reading=Reading(trust="sform")).frames)
    assert all(stands(frame.pixels, level) for frame, level in zip(trusted, HU, strict=True))
    other = read(data, CONTRACT, reading=Reading(trust="qform"))
    assert [frame.excluded for frame in other.frames] == [None] * 3
    if reason == "mirror images":
        assert other.series is not None
        assert other.series.geometry.reorientation != read(data, CONTRACT).series.geometry.reorientation  # type: ignore[union-attr]


def test_two_orientations_that_agree_are_read_wherever_their_origins_lie() -> None:
    shift = np.eye(4)
    shift[:3, 3] = 7, -20, 3
    assert upright(two_forms())
    assert upright(two_forms(shift))
    assert upright(two_forms(moved(0.5)))


@pytest.mark.parametrize("qfac", [0.0, 1.0, 7.0])
def test_a_qform_alone_takes_a_qfac_that_is_not_negative_for_one(qfac: float) -> None:
    data = bytearray(two_forms(sform_code=0))
    data[76:80] = np.float32(qfac).tobytes()  # pixdim[0]
    assert upright(bytes(data))
