"""One series, read from files: what classifier and segmenter take of the run that answers it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lits_deploy.errors import UserError
from lits_deploy.ledger import FAILED, ResultRow
from lits_deploy.pipeline.context import RunContext
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.results import PROVENANCE, noted_reference
from lits_deploy.studies import STUDY_COLUMNS, study_rows

_NAMED = 8  # series that an error names
_NAMES = frozenset({"rank", "study", "series", "identifiers", *PROVENANCE})  # of a run that is gone, under its salt


def of_one_call(options: ClassifyOptions, **more: Any) -> ClassifyOptions:
    """The options of a run whose folder goes with the call."""
    own: dict[str, Any] = {"formats": (), "ledger": None, "overwrite": False, "pseudonymous": False, "identify": False}
    return replace(options, **own | more)


def without_names(row: Mapping[str, Any]) -> dict[str, Any]:
    """A table's row, less the columns that name the series or the run."""
    return {name: value for name, value in row.items() if name not in _NAMES}


@dataclass
class SeriesRows:
    """What is taken of a run's ledger before it goes: the rows of its one series, and what they add up to."""

    rows: list[ResultRow] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    in_mm: bool = False

    def take(self, run: RunContext) -> Sequence[Path]:
        """A `finish` for `run_folder`. Raises UserError for several series; files that failed are none."""
        ledger = run.output.ledger
        volumes, rows = ledger.volumes(), list(ledger.rows_by_volume())
        series = {row.volume for row in rows if row.volume is not None and row.status != FAILED}
        if len(series) > 1:
            first = {row.volume: row.path for row in reversed(rows) if row.volume in series}
            named = ", ".join(sorted(first.values())[:_NAMED]) + (", …" if len(first) > _NAMED else "")
            raise UserError(
                f"{len(series)} series lie {run.listing.where}: one at a time. A file of each: {named}.",
                fix="name the files of one, or lits_deploy.classify_folder for all",
            )
        own = [row for row in rows if row.volume in series]
        self.rows = [*own, *(row for row in rows if row.volume not in series)]
        self.in_mm = any(json.loads(volumes[one].arranged).get("in_mm") for one in series)
        for row in study_rows(own, volumes, noted_reference(ledger)):
            self.figures |= without_names(dict(zip(STUDY_COLUMNS, row, strict=True)))
        return []
