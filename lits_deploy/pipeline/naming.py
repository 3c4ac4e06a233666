"""What may be written of a file: its path or a pseudonym of it, and its series under the name that privacy allows.

The one place where clear identifiers from headers end: nothing of them goes further unless the user asks to identify.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from lits_deploy.files import canonical_json
from lits_deploy.ledger import SeriesRow
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.workers import Job
from lits_deploy.pseudonyms import Pseudonyms, salt_of
from lits_deploy.scans import Series
from lits_deploy.scans.picture_series import place_of

_KEPT_ROWS = 256

_CLEAR = ("study", "key", "identifiers")


def pseudonyms(options: ClassifyOptions, folder: Path) -> Pseudonyms:
    """How a run with these options names things; folder: the ledger's, for its salt. Raises as `salt_of` does."""
    salt = salt_of(folder, options.salt, options.salt_file)
    return Pseudonyms(salt=salt, identify=options.identify, paths=options.pseudonymous)


@dataclass(frozen=True, kw_only=True)
class Naming:
    """Names what the ledger keeps, under a run's pseudonyms."""

    names: Pseudonyms
    _rows: dict[tuple[str, str, str], SeriesRow] = field(default_factory=dict, repr=False)

    def path(self, path: str) -> str:
        """What is written of a path as discovery found it."""
        return self.names.path(path)

    def sha256(self, job: Job) -> str | None:
        """What is written of the hash of a file's bytes."""
        return self.names.sha256(job.sha256)

    def series(self, job: Job) -> SeriesRow | None:
        """The series of a file: by its header, for pictures by their path; None where nothing is known."""
        series = place_of(job.name)[0] if job.series is None and job.kind == "picture" else job.series
        if series is None:
            return None
        key = series.kind, series.study, series.key  # the rest is a function of it, equal in all files of a series
        if key not in self._rows:
            if len(self._rows) >= _KEPT_ROWS:
                self._rows.clear()
            self._rows[key] = self._row(series)
        return self._rows[key]

    def position(self, job: Job, position: float | None) -> float | None:
        """The place of a slice along its series: mm, for pictures the number in their name."""
        return place_of(job.name)[1] if job.kind == "picture" else position

    def _row(self, series: Series) -> SeriesRow:
        info = {key: value for key, value in dataclasses.asdict(series).items() if key not in _CLEAR}
        name, study = self.names.of("series", series.key), self.names.of("study", series.study)
        if self.names.identify:
            info["identifiers"] = dict(series.identifiers)
        return SeriesRow(name, study, canonical_json(info))
