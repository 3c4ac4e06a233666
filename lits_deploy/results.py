"""The result tables of a run, written from its ledger: slices and studies, each as csv, parquet or jsonl.

    slices    path index status reason label class_name p0 p1 p2 window sha256 study series z_mm
              run_id bundle model artifact precision runtime contract
    studies   one row a series, the most suspicious first: see `studies`
    volumes   one row a series that was segmented: ml of liver, lesions included, and of tumour (`segmentation.volumes`)
    masks     one row a slice and format: its mask's file, and its place there, or why it has none

p0…p2 are calibrated: the artifact's temperature is applied. `status` is ok, failed (with its reason) or abstain: the
reason and no class, either with probabilities, because the network is less sure than the bundle asks, or without,
because an input gate kept the slice from it. `z_mm`: place along the series, where a header says it. `study` and
`series` are pseudonyms (`pseudonyms`). `sha256` is the input file's, keyed with the salt where paths are hashed;
`bundle` and `contract` are the first 12 hex digits of theirs. No times, no rates, no machine: equal inputs give equal
bytes under the same salt, however often a run was interrupted. Rows are streamed, so memory does not grow with them. A
path is written as `scans.paths` has it; in CSV a text that a spreadsheet would take for a formula has an apostrophe
before it (see `spreadsheet`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lits_deploy.ledger import ABSTAINED, OK, Ledger, ResultRow, SeriesRow
from lits_deploy.studies import STUDY_COLUMNS, STUDY_FLOATS, STUDY_INTEGERS, study_rows
from lits_deploy.tables import FORMATS as FORMATS
from lits_deploy.tables import Row, Table

PROVENANCE = ("run_id", "bundle", "model", "artifact", "precision", "runtime", "contract")
COLUMNS = (
    "path",
    "index",
    "status",
    "reason",
    "label",
    "class_name",
    "p0",
    "p1",
    "p2",
    "window",
    "sha256",
    "study",
    "series",
    "z_mm",
    *PROVENANCE,
)
SLICES = Table(name="slices", columns=COLUMNS, integers={"index": 32, "label": 8}, floats=("p0", "p1", "p2", "z_mm"))
STUDIES = Table(name="studies", columns=(*STUDY_COLUMNS, *PROVENANCE), integers=STUDY_INTEGERS, floats=STUDY_FLOATS)
VOLUMES = Table(
    name="volumes",
    columns=(
        "study",
        "series",
        "kind",
        "orientation",
        "slices",
        "segmented",
        "row_mm",
        "column_mm",
        "slice_mm",
        "liver_ml",
        "tumour_ml",
        "reason",
        "identifiers",
        *PROVENANCE,
    ),
    integers={"slices": 32, "segmented": 32},
    floats=("row_mm", "column_mm", "slice_mm", "liver_ml", "tumour_ml"),
)
MASKS = Table(
    name="masks",
    columns=("path", "index", "study", "series", "format", "mask", "place", "reason", *PROVENANCE),
    integers={"index": 32, "place": 32},
)
ALL = (SLICES, STUDIES, VOLUMES, MASKS)
"""Every table that a run may write."""

_STATUS = {OK: "ok", ABSTAINED: "abstain"}


def write_tables(
    folder: Path, kinds: Sequence[str], ledger: Ledger, *, classes: Sequence[str], provenance: Mapping[str, str]
) -> tuple[Path, ...]:
    """Write both tables in each format, each whole or not at all; their paths.

    classes: names of the labels. provenance: of PROVENANCE. Raises OutputError where the folder cannot be written,
    LedgerError, before anything is, where the ledger's rows are not those that were written.
    """
    ledger.check()
    constant = tuple(provenance[name] for name in PROVENANCE)
    series = ledger.series()
    paths = []
    for kind in kinds:
        paths.append(SLICES.write(folder, kind, slice_rows(ledger, classes, series, constant)))
        studies = study_rows(ledger.rows_by_series(), series)
        paths.append(STUDIES.write(folder, kind, ((*row, *constant) for row in studies)))
    return tuple(paths)


def slice_rows(ledger: Ledger, classes: Sequence[str], series: Mapping[int, SeriesRow], constant: Row) -> Iterator[Row]:
    """The rows of the slice table, by path and index."""
    in_mm = {number for number, row in series.items() if json.loads(row.info)["kind"] != "picture"}
    for row in ledger.rows():
        yield (*_complete(row, classes, row.position if row.series_id in in_mm else None), *constant)


def _complete(row: ResultRow, classes: Sequence[str], z_mm: float | None) -> Row:
    """A row of the table without provenance, None where a cell is empty."""
    status = _STATUS.get(row.status, "failed")
    name = None if row.label is None else classes[row.label]
    return (
        row.path,
        row.idx,
        status,
        row.reason,
        row.label,
        name,
        row.p0,
        row.p1,
        row.p2,
        row.window,
        row.sha256,
        row.study,
        row.series,
        z_mm,
    )
