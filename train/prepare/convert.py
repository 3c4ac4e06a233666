"""One scan from source files to prepared slices: read, find its orientation, window, reorient, shrink, write, record.

The order is that of the input contract: HU → window → 8 bit → orient → resize. A scan is whole or absent: where a
file of it cannot be used, its slices are removed again and its record holds the reason. Runs in a process of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from lits_deploy.contract import InputContract, window_to_uint8
from lits_deploy.errors import SliceError
from lits_deploy.files import sha256_file, write_json
from lits_deploy.scans.image import resized
from train.data.in_hu import InHu
from train.data.masks import class_of, largest_label
from train.data.slices import slice_name, write_slice
from train.data.spread import evenly
from train.data.technique import of_volume
from train.prepare.contents import ScanSource
from train.prepare.orientation import ORIENTATIONS, UPRIGHT, WINDOW_HU, Maps, find_orientation, reorient, shrink
from train.prepare.pictures import read_picture
from train.prepare.settings import SIZE, PrepareSettings
from train.prepare.split import split_of
from train.prepare.volume import ASSUMED_AXES, LabelledVolume

Pixels = npt.NDArray[np.uint8]
Written = list[tuple[str, str]]
"""Split and name of slices."""

MOST_COMPARED = 24
"""Slices on which orientation is decided, evenly spread over those that show much liver."""

DARK_HU = -200.0
"""A CT slice of the body always shows air, which is darker."""


@dataclass(frozen=True, kw_only=True)
class ConversionJob:
    """One scan to prepare.

    split: of all its slices, or None where each slice has its own; key: hash of what the result depends on.
    record: file that the result is written to, once all slices are.
    """

    src: Path
    out: Path
    source: ScanSource
    settings: PrepareSettings
    split: str | None
    key: str
    record: Path


def convert(job: ConversionJob, template: Maps) -> dict[str, Any]:
    """Prepare one scan; returns its record, which is also in `job.record`. template: `orientation.reference()`."""
    written: Written = []
    contract = InputContract(window_hu=job.settings.window_hu, size=SIZE)
    record: dict[str, Any] = {"key": job.key, **names_of(job.source)}
    try:
        if job.source.problem is not None:
            raise SliceError(job.source.problem)
        make = _from_volume if job.source.image is not None else _from_pictures
        record |= {"status": "prepared", **make(job, template, contract, written)}
    except (SliceError, MemoryError) as error:
        for split, name in written:
            for kind in ("images", "masks"):
                (job.out / split / kind / name).unlink(missing_ok=True)
        record |= {"status": "failed", "reason": str(error) or "not enough memory for it"}
    write_json(job.record, record)
    return record


def names_of(source: ScanSource) -> dict[str, Any]:
    """What a record says of who and which scan it is."""
    return {name: getattr(source, name) for name in ("patient", "scan", "number", "patient_number")}


def _from_volume(job: ConversionJob, template: Maps, contract: InputContract, written: Written) -> dict[str, Any]:
    assert job.source.image is not None
    assert job.source.mask is not None
    volume = LabelledVolume(job.source.image, job.source.mask, job.settings.labels)
    areas = np.array([np.count_nonzero(volume.labels(level)) for level in range(volume.count)])
    notes = _doubts(volume)
    shown = ((window_to_uint8(volume.hu(level), WINDOW_HU), volume.labels(level)) for level in _spread(areas))
    recorded, orientation = _orientation(job, template, shown, volume.axes)
    volume.not_finite = 0
    in_hu = InHu()
    slices: list[tuple[str, int, int, int]] = []
    window = contract.window_hu
    assert window is not None
    for level in range(volume.count):
        hu = volume.hu(level)
        grey = np.ascontiguousarray(reorient(window_to_uint8(hu, window), orientation))
        image = np.asarray(resized(Image.fromarray(grey), contract), dtype=np.uint8)
        in_hu.add(image, hu)
        mask = largest_label(reorient(volume.labels(level), orientation), SIZE)
        slices.append((_write(job, level, image, mask, None, written), level, volume.index(level), class_of(mask)))
    if volume.not_finite:
        notes.append(f"{volume.not_finite:,} voxels are NaN or infinite: taken as air or as densest")
    spacing = volume.spacing_mm
    if spacing is not None:
        step, row, column = spacing
        row, column = (column, row) if _swaps(orientation) else (row, column)
        spacing = (step, row * volume.side / SIZE, column * volume.side / SIZE)
    return {
        "files": [_described(job.src, path) for path in job.source.files],
        "orientation": recorded,
        "notes": [*volume.notes, *notes],
        "spacing_mm": None if spacing is None else [round(value, 4) for value in spacing],
        "source_size": volume.side,
        "hu": in_hu.numbers(),
        "technique": of_volume(job.source.image),
        "slices": _columns(slices),
    }


def _from_pictures(job: ConversionJob, template: Maps, contract: InputContract, written: Written) -> dict[str, Any]:
    greys, masks, files, sides = [], [], [], set()
    for picture in job.source.pictures:
        grey, labels, hashes = read_picture(picture, contract, job.settings.labels)
        greys.append(grey)
        masks.append(largest_label(labels, SIZE))
        files.append([picture.image.relative_to(job.src).as_posix(), *hashes])
        sides.add(len(labels))
    low, high = job.settings.window_hu or WINDOW_HU
    lookup = window_to_uint8(low + np.arange(256, dtype=np.float32) * (high - low) / 255, WINDOW_HU)
    compared = _spread(np.array([np.count_nonzero(mask) for mask in masks]))
    recorded, orientation = _orientation(job, template, ((lookup[greys[at]], masks[at]) for at in compared), "")
    slices: list[tuple[str, int, int, int]] = []
    for index, picture in enumerate(job.source.pictures):
        grey, mask = (np.ascontiguousarray(reorient(of[index], orientation)) for of in (greys, masks))
        split = _write(job, picture.number, grey, mask, picture.split, written)
        slices.append((split, picture.number, index, class_of(mask)))
    constant = sum(bool(grey.min() == grey.max()) for grey in greys)
    return {
        "files": files,
        "orientation": recorded,
        "notes": [*job.source.notes, *([f"{constant} slices are one flat grey"] if constant else [])],
        "spacing_mm": None,
        "source_size": sorted(sides)[0] if len(sides) == 1 else sorted(sides),
        "slices": _columns(slices),
    }


def _columns(slices: list[tuple[str, int, int, int]]) -> dict[str, Any]:
    """Of a record: number in the file name, index in the source, class and split of every slice."""
    splits, numbers, indices, targets = map(list, zip(*slices, strict=True))
    return {
        "number": numbers,
        "index": indices,
        "class": targets,
        "split": splits[0] if len(set(splits)) == 1 else splits,
    }


def _write(job: ConversionJob, number: int, image: Pixels, mask: Pixels, came: str | None, written: Written) -> str:
    settings = job.settings
    split = came or job.split or split_of(settings.seed, f"{job.source.patient}:{number}", settings.fractions)
    name = slice_name(job.source.number, number)
    written.append((split, name))
    write_slice(job.out, split, name, image, mask)
    return split


def _orientation(
    job: ConversionJob, template: Maps, shown: Iterable[tuple[Pixels, Pixels]], axes: str | None
) -> tuple[dict[str, Any], int]:
    """What is recorded about orientation, and from which one the slices are to be reoriented.

    shown: slices and labels to decide by. axes: of the header; None: it claims nothing; "": a picture has none.
    turned: the orientation before, or None. Where a header claims nothing, there is nothing to overrule:
    a clear verdict of the pixels is followed. Else only on request.
    """
    pairs = [(shrink(grey), shrink(labels, labels=True)) for grey, labels in shown]
    grey, labels = (np.array([pair[k] for pair in pairs], dtype=np.uint8) for k in (0, 1))
    verdict = find_orientation(grey, labels, template)
    otherwise = verdict.index is not None and verdict.index != UPRIGHT
    before = verdict.name if otherwise and (job.settings.fix_orientation or axes is None) else None
    if axes is None:
        basis = "pixels" if verdict.index is not None else f"assumed {''.join(ASSUMED_AXES)}"
    else:
        basis = f"header {axes}" if axes else "as it came"
    found = {"basis": basis, "pixels": verdict.name, "score": verdict.score, "lead": verdict.lead, "turned": before}
    return found, ORIENTATIONS.index(before or ORIENTATIONS[UPRIGHT])


def _doubts(volume: LabelledVolume) -> list[str]:
    """What makes a volume look as if it were no CT in HU; SliceError for one without any contrast."""
    low, high = float("inf"), float("-inf")
    for level in evenly(range(volume.count), MOST_COMPARED):
        hu = volume.hu(level)
        low, high = min(low, float(hu.min())), max(high, float(hu.max()))
    if low == high:
        raise SliceError(f"every voxel is {low:g}: no picture")
    if low >= 0 and high <= 255:
        return [f"intensities {low:g}…{high:g}: not HU but 8 bit?"]
    if low > DARK_HU:
        return [f"nothing is darker than {low:g} HU: not HU, or cropped?"]
    return []


def _spread(areas: npt.NDArray[Any]) -> list[int]:
    """Indices of slices that show at least a quarter of the largest liver area, MOST_JUDGED at most, evenly."""
    if areas.max(initial=0) == 0:
        return []
    full = np.flatnonzero(areas >= 0.25 * areas.max())
    return evenly(full.tolist(), MOST_COMPARED)


def _swaps(orientation: int) -> bool:
    return (orientation % 2 == 1) != (orientation >= 4)


def _described(src: Path, path: Path) -> list[str]:
    return [path.relative_to(src).as_posix(), sha256_file(path)]
