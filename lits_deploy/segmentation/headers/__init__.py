"""Readers that decode workers use to read a file's header once more, for what a mask needs and no table may hold.

They satisfy `scans.Reader` and hand everything over in `SeriesHeader.identifiers`, which the pipeline writes nowhere:
under `HEADER` what the parent's side of each format understands, in base64. Their slices have no pixels.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping

from lits_deploy.scans import Frame, Scan, SeriesHeader
from lits_deploy.series.facts import Geometry

HEADER = "header"

READERS: Mapping[str, str] = {
    "picture": "lits_deploy.segmentation.headers.picture",
    "dicom": "lits_deploy.segmentation.headers.dicom",
    "nifti": "lits_deploy.segmentation.headers.nifti",
}
"""Kind of file (`scans.READERS`) → module that reads its header."""


def header_scan(kind: str, rows: int, columns: int, header: bytes) -> Scan:
    """A file's header as such a reader gives it."""
    identifiers = {HEADER: b64encode(header).decode("ascii")}
    series = SeriesHeader(kind=kind, geometry=Geometry(rows=rows, columns=columns), identifiers=identifiers)
    return Scan(series=series, window="", frames=iter([Frame(index=0)]))
