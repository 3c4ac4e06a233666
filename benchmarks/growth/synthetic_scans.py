"""Scans that were made up: a listing of any length and what its headers would say, without files or pixels.

Folders of patients, with series of SLICES files of one slice each, folder by folder in no order of their names, as a
walk of a large disk gives them. What is needed of one file is computed from its number, so nothing of it is in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lits_deploy.bundle import Artifact, Bundle, Manifest
from lits_deploy.contract import InputContract
from lits_deploy.decode.job import DecodeJob, Ended
from lits_deploy.files import canonical_json, sha256_bytes
from lits_deploy.scans import Frame, SeriesHeader
from lits_deploy.scans.discover import ScanRecord
from lits_deploy.series.facts import Geometry, SliceHeader

SLICES = 200
"""Files in a series."""

_GEOMETRY = Geometry(rows=512, columns=512, spacing_mm=(0.78, 0.78), directions=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0))


def bundle() -> Bundle:
    """A bundle's record, without files."""
    return Bundle.of_manifest(Path("none"), manifest().encode(), sha256_bytes(manifest().encode()))


def manifest() -> str:
    """The text of its manifest."""
    return canonical_json(manifest_of(InputContract(window_hu=(-160.0, 240.0))).to_json())


def manifest_of(contract: InputContract, name: str = "none") -> Manifest:
    """Of a classifier that is no file. name: of its network."""
    artifact = Artifact(
        name="fp32",
        file="model.onnx",
        sha256="0" * 64,
        bytes=1,
        precision="fp32",
        opset=19,
        outputs=("logits", "probabilities"),
        tolerance=1e-5,
    )
    return Manifest(task="classify", model={"name": name}, contract=contract, artifacts=(artifact,), files={})


@dataclass
class SyntheticScans:
    """A `scans.listing.Listing` of so many files."""

    count: int
    base: str = "/archive"
    names: list[str] = field(default_factory=lambda: ["archive"])
    within: None = None
    where: str = "in /archive"
    recursive: bool = True
    hidden: bool = False
    only: None = None
    others: Counter[str] = field(default_factory=Counter)
    own: int = 0
    tops: set[str] = field(default_factory=set)
    mounts: set[str] = field(default_factory=set)
    unlisted: dict[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[ScanRecord]:
        series = -(-self.count // SLICES)
        step = next(step for step in (7919, 7907, 7901) if series % step)  # through all of them in another order
        for n in range(series):
            number = n * step % series
            for index in range(min(SLICES, self.count - number * SLICES)):
                yield self._found(number, (index * 67) % SLICES if number < self.count // SLICES else index)

    def _found(self, series: int, index: int) -> ScanRecord:
        path = f"site-{series % 7}/patient-{series // 4:07d}/series-{series:07d}/IM{index:05d}.dcm"
        return ScanRecord(path, 526_338 + index, 1_700_000_000_000_000_000 + index, None, "dicom", ctime_ns=1 + index)

    def real_path(self, path: str) -> str:
        """Where it would lie."""
        return f"{self.base}/{path}"


@contextmanager
def headers() -> Iterator[Callable[[Iterator[DecodeJob]], Iterator[tuple[Ended, list[Frame]]]]]:
    """What their headers would say, in place of decode workers (`sharding.headers.Reader`)."""
    yield _answers


def _answers(jobs: Iterator[DecodeJob]) -> Iterator[tuple[Ended, list[Frame]]]:
    series = SeriesHeader(kind="dicom")
    for job in jobs:
        series, header = said(job.name, series)
        yield Ended(job, sha256="0" * 64, series=series), [Frame(index=0, header=header)]


def said(path: str, last: SeriesHeader) -> tuple[SeriesHeader, SliceHeader]:
    """What the header of a file says. last: the series of the file before, which is often the same."""
    folder, index = path[-19:-12], int(path[-9:-4])
    if not last.series.endswith(folder):
        patient = str(int(folder) // 4)
        last = SeriesHeader(
            study=f"1.2.826.{patient}",
            series=f"1.2.826.{patient}.{folder}",
            patient=patient,
            kind="dicom",
            modality="CT",
            geometry=_GEOMETRY,
            orientation="axial",
        )
    return last, SliceHeader(
        position=2.5 * index,
        location=2.5 * index,
        number=index + 1,
        instance=f"{last.series}.{index}",
        clock=36_000.0 + index,
        labels={"image type": "ORIGINAL\\PRIMARY\\AXIAL", "kernel": "B30f", "acquisition": 1},
    )
