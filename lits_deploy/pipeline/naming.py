"""What may be written of a file: its path or a pseudonym of it, and its series under the name that privacy allows.

The one place where clear identifiers from headers end: nothing of them goes further unless the user asks to identify.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from lits_deploy.decode.job import DecodeJob
from lits_deploy.files import canonical_json
from lits_deploy.ledger import HeaderRow
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pseudonyms import Pseudonyms, salt_of
from lits_deploy.scans import SeriesHeader
from lits_deploy.scans.fetch import is_object, is_there
from lits_deploy.scans.picture_series import series_and_number
from lits_deploy.series.facts import SliceHeader

_KEPT_ROWS = 256
_DAY = 86400.0
_LONG = 100_000


def pseudonyms(options: ClassifyOptions, folder: Path) -> Pseudonyms:
    """How a run with these options names things; folder: the ledger's, for its salt. Raises as `salt_of` does."""
    salt = salt_of(folder, options.salt, options.salt_file)
    return Pseudonyms(salt=salt, identify=options.identify, paths=options.pseudonymous)


def series_of(job: DecodeJob, series: SeriesHeader | None) -> SeriesHeader | None:
    """The series of a file, in clear: by its header, for pictures by their path; None where nothing is known.

    Where a header names no series, its folder does; where it names no study, its series is one.
    """
    if series is None and job.kind == "picture":
        return _series_and_number(job)[0]
    if series is None or (series.study and series.series):
        return series
    name = series.series or f"{job.name.rpartition('/')[0]}/"
    return dataclasses.replace(series, series=name, study=series.study or name)


def slice_header_of(job: DecodeJob, header: SliceHeader) -> SliceHeader:
    """A slice's position, in clear: as its header says it, for pictures by their path."""
    return SliceHeader(number=_series_and_number(job)[1]) if job.kind == "picture" else header


def _key(series: SeriesHeader) -> str:
    """Tells series apart. A DICOM series is one of its study: templates share series UIDs."""
    return f"{series.study}\0{series.series}" if series.kind == "dicom" else series.series


@lru_cache(maxsize=64)  # asked of a file's slices and, a batch later, of its end
def _series_and_number(job: DecodeJob) -> tuple[SeriesHeader, int | None]:
    folder = os.path.dirname(job.path)  # noqa: PTH120
    return series_and_number(job.name, lambda name: job.member is None and _is_there(os.path.join(folder, name)))  # noqa: PTH118


def _is_there(path: str) -> bool:
    return is_there(path) if is_object(path) else os.path.exists(path)  # noqa: PTH110


@dataclass(frozen=True, kw_only=True)
class Naming:
    """Names what the ledger keeps, under a run's pseudonyms."""

    names: Pseudonyms
    _rows: dict[Hashable, HeaderRow] = field(default_factory=dict, repr=False)

    def path(self, path: str) -> str:
        """What is written of a path as discovery found it."""
        return self.names.path(path)

    def sha256(self, sha256: str | None) -> str | None:
        """What is written of the hash of a file's bytes."""
        return self.names.sha256(sha256)

    def pixels(self, checksum: int | None) -> int | None:
        """What is written of a slice's checksum: itself, or where paths are hashed another number, equal for equal
        slices, that the archive's owner cannot compute."""
        if checksum is None or not self.names.paths:
            return checksum
        return int(self.names.of("pixels", str(checksum)), 16)

    def header(self, job: DecodeJob, series: SeriesHeader | None) -> HeaderRow | None:
        """What is written of a file's series; None where nothing is known."""
        series = series_of(job, series)
        if series is None:
            return None
        said = tuple(sorted(series.identifiers.items())) if self.names.identify else ()
        own = series.kind, series.modality, series.geometry, series.orientation, tuple(series.technique.items())
        key = series.study, series.series, series.patient, own, said
        if key not in self._rows:
            if len(self._rows) >= _KEPT_ROWS:
                self._rows.clear()
            self._rows[key] = self._header(series)
        return self._rows[key]

    def facts(self, job: DecodeJob, header: SliceHeader) -> str:
        """A slice's header (`series.SliceHeader`) as JSON: identifiers and texts hashed, the clock shifted by hours and
        seconds that only the salt tells."""
        fields = slice_header_of(job, header).to_json()
        if "instance" in fields:
            fields["instance"] = self.names.of("instance", fields["instance"])
        if "clock" in fields:
            fields["clock"] = round((fields["clock"] + self._shift) % _DAY, 6)
        for name, value in fields.get("labels", {}).items():
            # A long whole number is no count but a date or an id.
            identifying = isinstance(value, str) or (isinstance(value, int) and abs(value) >= _LONG)
            fields["labels"][name] = self.names.of("label", str(value)) if identifying else value
        return canonical_json(fields)

    @cached_property
    def _shift(self) -> int:
        return int(self.names.of("clock", ""), 16) % int(_DAY)

    def _header(self, series: SeriesHeader) -> HeaderRow:
        info: dict[str, Any] = {name: getattr(series, name) for name in ("kind", "modality", "orientation")}
        if series.by_folder:
            info["by_folder"] = True
        info["geometry"] = dataclasses.asdict(series.geometry)
        info["geometry"]["turn"] = info["geometry"].pop("reorientation")  # as ledgers have called it
        if series.technique:
            info["technique"] = dict(series.technique)
        if self.names.identify:
            info["identifiers"] = dict(series.identifiers)
        return HeaderRow(
            token=self.names.of("series", _key(series)),
            study=self.names.of("study", series.study),
            patient=self.names.of("patient", series.patient) if series.patient else "",
            info=canonical_json(info),
        )
