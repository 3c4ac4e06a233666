"""One writer a format: a series' masks into the folder of masks, and a row for every slice: where, or why not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby, pairwise
from statistics import median
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lits_deploy.errors import LitsError
from lits_deploy.ledger import Ledger, SourceRow
from lits_deploy.masks import Mask, unpacked
from lits_deploy.scans.dicom.header import quiet
from lits_deploy.segmentation import dicom_seg, nifti
from lits_deploy.segmentation.dicom_seg import Algorithm
from lits_deploy.segmentation.dicom_source import dataset_of, plane_of
from lits_deploy.segmentation.folder import MaskFolder
from lits_deploy.segmentation.geometry import MaskGeometry
from lits_deploy.segmentation.grid import TWO_AT_ONE_POSITION, Plane, grid_of
from lits_deploy.segmentation.names import mask_name
from lits_deploy.segmentation.pictures import png_of
from lits_deploy.segmentation.sources import Headed, MaskSource, why_not

MOST_VOXELS = 300 << 20
"""Labels of one volume in memory: 1,200 slices of 512×512, which take highdicom to about 850 MiB (800: 550 MiB)."""

_NO_GEOMETRY = "a picture does not say where it lies: only as png"
_NO_SERIES = "nothing is known of its series"
_TOO_LARGE = f"more than {MOST_VOXELS >> 20} million labels in one volume"


class MaskRow(NamedTuple):
    """A slice's mask in one format: its file in OUT and the frame there (slice of a volume, frame of a segment), or why
    it has none; with both, the slice is empty there. A row without a path is an empty frame of a volume."""

    row: SourceRow
    mask: str | None = None
    frame: int | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Segmented:
    """A series, its masks in the ledger, and its files' headers as far as they were read. size: the network's."""

    source: MaskSource
    headers: Mapping[int, Headed | str]
    ledger: Ledger
    size: int

    def geometry(self, row: SourceRow) -> MaskGeometry | str:
        """Where a slice's mask lies on it, or why that is not known."""
        geometry = self.source.geometry
        if self.source.row is None:
            return _NO_SERIES
        if self.source.kind != "picture":
            return MaskGeometry(
                size=self.size, rows=geometry["rows"], columns=geometry["columns"], reorientation=geometry["turn"]
            )
        header = self.headers.get(row.file, "its header was not read")
        if isinstance(header, str):
            return header
        return MaskGeometry(size=self.size, rows=header.rows, columns=header.columns)

    def packed(self, row: SourceRow) -> Mask:
        """A slice's mask as the network gave it, uint8 [size, size]."""
        data = self.ledger.mask(row.file, row.idx)
        assert data is not None
        return unpacked(data, self.size)


class PngWriter:
    """One picture a slice, in the size of its source."""

    name = "png"

    def needs(self, source: MaskSource) -> bool:
        """Whether it needs the headers of this series' files: a picture's size stands in it alone."""
        return source.kind == "picture"

    def write(self, series: Segmented, folder: MaskFolder) -> Iterator[MaskRow]:
        """Write the masks; a row for every slice. Raises OutputError."""
        for row in series.source.slices:
            geometry = series.geometry(row) if row.masked else ""
            if isinstance(geometry, str):
                yield MaskRow(row, reason=why_not(row) or geometry)
                continue
            suffix = f".{row.idx:04d}.png"
            name = f"{self.name}/{mask_name(row.path, suffix)}"
            data = png_of(geometry.onto_source(series.packed(row)))
            yield MaskRow(row, mask=folder.write(name, row.path, suffix, data))


class NiftiWriter:
    """One volume a NIfTI file or DICOM series."""

    name = "nifti"

    def needs(self, source: MaskSource) -> bool:
        """The header says where voxels lie."""
        return source.kind in ("nifti", "dicom") and bool(source.segmented)

    def write(self, series: Segmented, folder: MaskFolder) -> Iterator[MaskRow]:
        """See PngWriter."""
        if not series.source.segmented or series.source.kind not in ("nifti", "dicom"):
            yield from _without(series.source.slices, _NO_GEOMETRY if series.source.row else _NO_SERIES)
        elif series.source.kind == "nifti":
            for _, rows in groupby(sorted(series.source.slices, key=lambda row: row.file), key=lambda row: row.file):
                yield from self._file(series, list(rows), folder)
        else:
            yield from self._series(series, folder)

    def _file(self, series: Segmented, rows: Sequence[SourceRow], folder: MaskFolder) -> Iterator[MaskRow]:
        header = series.headers.get(rows[0].file, "its header was not read")
        if isinstance(header, str) or not any(row.masked for row in rows):
            yield from _without(rows, header if isinstance(header, str) else "")
            return
        shape, axis = nifti.shape_of(header.data)
        if int(np.prod(shape)) > MOST_VOXELS:
            yield from _without(rows, _TOO_LARGE)
            return
        labels = np.zeros(shape, np.uint8, order="F")
        along = np.moveaxis(labels, axis, 0)
        for row in rows:
            if row.masked:
                along[row.idx] = _on_source(series, row).T
        path, suffix = rows[0].path, ".mask.nii.gz"
        stem = path[: -len(end)] if (end := _ending(path)) else path
        name = folder.write(f"nifti/{mask_name(stem, suffix)}", path, suffix, nifti.like_source(header.data, labels))
        yield from (MaskRow(row, name, row.idx, why_not(row)) for row in rows)

    def _series(self, series: Segmented, folder: MaskFolder) -> Iterator[MaskRow]:
        placed, left = _planes(series)
        yield from left
        if not any(row.masked for row, _, _ in placed):
            yield from _without([row for row, _, _ in placed], "")
            return
        grid = grid_of([plane for _, plane, _ in placed])
        geometry = series.source.geometry
        if not isinstance(grid, str) and grid.count * geometry["rows"] * geometry["columns"] > MOST_VOXELS:
            grid = _TOO_LARGE
        if isinstance(grid, str):
            yield from _without([row for row, _, _ in placed], grid)
            return
        labels = np.zeros((geometry["columns"], geometry["rows"], grid.count), np.uint8, order="F")
        for (row, _, _), number in zip(placed, grid.indices, strict=True):
            if row.masked:
                labels[..., number] = _on_source(series, row).T
        own, suffix = series.source.file_name, ".nii.gz"
        name = folder.write(f"nifti/{own}{suffix}", own, suffix, nifti.on_grid(grid, labels))
        for (row, _, _), number in zip(placed, grid.indices, strict=True):
            yield MaskRow(row, name, number, why_not(row))
        nobody = placed[0][0]._replace(path="", masked=False)
        yield from (MaskRow(nobody, name, number, "no slice lies there") for number in grid.empty)


@dataclass(kw_only=True)
class SegWriter:
    """One DICOM SEG a series; a file of many frames has its own. stamp: when a UID's object was first made."""

    algorithm: Algorithm
    stamp: Callable[[str], datetime]
    name: str = field(default="dicom-seg", init=False)

    def needs(self, source: MaskSource) -> bool:
        """A SEG repeats what its source says of patient, study and geometry."""
        return source.kind == "dicom" and bool(source.segmented)

    def write(self, series: Segmented, folder: MaskFolder) -> Iterator[MaskRow]:
        """See PngWriter."""
        if not self.needs(series.source):
            yield from _without(series.source.slices, "its source is no DICOM file")
            return
        placed, left = _planes(series)
        yield from left
        files: dict[int, list[tuple[SourceRow, Plane, Headed]]] = {}
        for entry in placed:
            files.setdefault(entry[0].file, []).append(entry)
        whole = [rows[0] for rows in files.values() if len(rows) == 1]
        parts = [whole] if whole else []
        parts += [rows for rows in files.values() if len(rows) > 1]
        for number, part in enumerate(parts):
            own = f"{series.source.file_name}{f'-{number}' if len(parts) > 1 else ''}"
            yield from self._object(series, part, own, folder)

    def _object(
        self, series: Segmented, part: list[tuple[SourceRow, Plane, Headed]], own: str, folder: MaskFolder
    ) -> Iterator[MaskRow]:
        rows = [row for row, _, _ in part]
        many = len({row.file for row in rows}) < len(rows)
        frames = [row.idx if many else number for number, row in enumerate(rows)]
        with quiet():  # pydicom's remarks quote headers, and come when a value is first looked at
            made = self._made(series, part, many, frames) if any(row.masked for row in rows) else ""
        if isinstance(made, str):
            yield from _without(rows, made)
            return
        name = folder.write(f"dicom-seg/{own}.dcm", own, ".dcm", made)
        yield from (MaskRow(row, name, frame, why_not(row)) for row, frame in zip(rows, frames, strict=True))

    def _made(
        self, series: Segmented, part: list[tuple[SourceRow, Plane, Headed]], many: bool, frames: Sequence[int]
    ) -> bytes | str:
        """The bytes of a SEG, or why there is none."""
        rows, geometry = [row for row, _, _ in part], series.source.geometry
        try:
            datasets = [dataset_of(header.data) for _, _, header in (part[:1] if many else part)]
            for dataset in datasets if len(rows) > 1 and not many else ():
                if not dataset.get("SliceThickness"):  # a SEG must say one
                    dataset.SliceThickness = f"{_distance(rows):.6g}"
            if (reason := next(filter(None, map(dicom_seg.missing, datasets)), None)) is not None:
                return reason
            if len({plane.position for _, plane, _ in part}) < len(part):
                return TWO_AT_ONE_POSITION
            count = int(datasets[0].NumberOfFrames) if many else len(rows)
            if count * geometry["rows"] * geometry["columns"] > MOST_VOXELS:
                return _TOO_LARGE
            labels = np.zeros((count, geometry["rows"], geometry["columns"]), np.uint8)
            for row, frame in zip(rows, frames, strict=True):
                if row.masked:
                    labels[frame] = _on_source(series, row)
            uid = dicom_seg.instance_uid(datasets, labels, self.algorithm)
            return dicom_seg.seg_of(datasets, labels, self.algorithm, uid, self.stamp(uid))
        except (MemoryError, LitsError):
            raise
        except Exception as error:  # highdicom and pydicom refuse headers in many ways; what they say may quote them
            return f"highdicom cannot make a SEG of it ({type(error).__name__})"


Writer = PngWriter | NiftiWriter | SegWriter


def _planes(series: Segmented) -> tuple[list[tuple[SourceRow, Plane, Headed]], list[MaskRow]]:
    """The slices of a DICOM volume that say where they lie, along it; and rows for the others, which get no mask."""
    placed: list[tuple[SourceRow, Plane, Headed]] = []
    left: list[MaskRow] = []
    in_mm = series.source.arranged.get("in_mm")
    for row in series.source.slices:
        header = series.headers.get(row.file, "its header was not read")
        if not in_mm or row.position is None or isinstance(header, str):  # a failed file has no position
            left.append(MaskRow(row, reason=why_not(row) or (header if isinstance(header, str) else "no position")))
        elif row.copy:
            left.append(MaskRow(row, reason=why_not(row) or "a copy of another file of its series"))
        else:
            with quiet():
                plane = plane_of(dataset_of(header.data), row.idx)
            if isinstance(plane, str):
                left.append(MaskRow(row, reason=why_not(row) or plane))
            else:
                placed.append((row, plane, header))
    return placed, left


def _distance(rows: Sequence[SourceRow]) -> float:
    """The usual distance of slices, in mm."""
    positions = [row.position for row in rows if row.position is not None]
    return abs(median(after - before for before, after in pairwise(positions)))


def _on_source(series: Segmented, row: SourceRow) -> npt.NDArray[np.uint8]:
    geometry = series.geometry(row)
    assert isinstance(geometry, MaskGeometry)
    return geometry.onto_source(series.packed(row))


def _without(rows: Sequence[SourceRow], reason: str) -> Iterator[MaskRow]:
    return (MaskRow(row, reason=why_not(row) or reason) for row in rows)


def _ending(path: str) -> str:
    lower = path.lower()
    return next((end for end in (".nii.gz", ".nii") if lower.endswith(end)), "")
