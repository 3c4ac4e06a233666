"""The result tables of a run, written from its ledger: slices and studies, each as csv, parquet or jsonl.

    slices    path index status reason label class_name p0 p1 p2 window sha256 study series part slice z_mm
              copy_of run_id bundle model artifact precision runtime contract; of a pair also
              liver_pixels tumour_pixels p_lesion, behind copy_of
    studies   one row a series, the most suspicious first: see `studies`
    volumes   one row a series that was segmented: ml of liver, lesions included, and of tumour (`segmentation.volumes`)
    masks     one row a slice and format: its mask's file, and the frame there, or why it has none

p0…p2 are calibrated: the artifact's temperature is applied. A pair's are its classifier's, and class 2 is by p_lesion,
the probability of a lesion by both networks (`fusion`); liver_pixels, lesions included, and tumour_pixels are its
U-Net's, empty where that did not look. `status` is ok; abstained: probabilities and no class,
because the network is less sure than the bundle asks; excluded: an input gate or the header kept the slice from the
network; or failed. All but ok have their reason. `part`: its number where the series is several volumes (phases,
reconstructions). `slice`: its number along the series, from 1, as the page has it; `index`: in its file, from 0.
`z_mm`: position along the series, where a header says it. `copy_of`: path of the file whose slice
this is once more; series count it once (`series`). `study` and `series` are pseudonyms (`pseudonyms`). `sha256` is the
input file's, keyed with the salt where paths are hashed; `bundle` and `contract` are the first 12 hex digits of theirs.
No times, no rates, no machine: equal inputs give equal bytes under the same salt, however often a run was interrupted.
Rows are streamed, so memory does not grow with them. A path is written as `scans.paths` has it; in CSV a text that a
spreadsheet would take for a formula has an apostrophe before it (see `spreadsheet`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lits_deploy.drift.reference import REFERENCE, DriftReference
from lits_deploy.ledger import ABOUT, ABSTAINED, EXCLUDED, FAILED, OK, Ledger, ResultRow, VolumeRow
from lits_deploy.studies import STUDY_COLUMNS, STUDY_FLOATS, STUDY_INTEGERS, study_rows
from lits_deploy.tables import FORMATS as FORMATS
from lits_deploy.tables import ResultTable, Row

SCHEMA = 4
"""Of the tables' columns and words: `tables_schema` in run.json, where each is listed (`run_json`)."""

PROVENANCE = ("run_id", "bundle", "model", "artifact", "precision", "runtime", "contract")
COLUMNS = (
    *("path", "index", "status", "reason", "label", "class_name", "p0", "p1", "p2", "window", "sha256"),
    *("study", "series", "part", "slice", "z_mm", "copy_of"),
    *PROVENANCE,
)
SLICES = ResultTable(
    name="slices",
    columns=COLUMNS,
    integers={"index": 32, "label": 8, "part": 32, "slice": 32},
    floats=("p0", "p1", "p2", "z_mm"),
)
OF_PAIRS = ("liver_pixels", "tumour_pixels", "p_lesion")
PAIR_SLICES = ResultTable(
    name=SLICES.name,
    columns=(*COLUMNS[: -len(PROVENANCE)], *OF_PAIRS, *PROVENANCE),
    integers={**SLICES.integers, "liver_pixels": 32, "tumour_pixels": 32},
    floats=(*SLICES.floats, "p_lesion"),
)
STUDIES = ResultTable(
    name="studies", columns=(*STUDY_COLUMNS, *PROVENANCE), integers=STUDY_INTEGERS, floats=STUDY_FLOATS
)
VOLUMES = ResultTable(
    name="volumes",
    columns=(
        *("study", "series", "part", "kind", "orientation", "slices", "segmented", "row_mm", "column_mm", "slice_mm"),
        *("liver_ml", "tumour_ml", "reason", "identifiers"),
        *PROVENANCE,
    ),
    integers={"slices": 32, "segmented": 32},
    floats=("row_mm", "column_mm", "slice_mm", "liver_ml", "tumour_ml"),
)
MASKS = ResultTable(
    name="masks",
    columns=("path", "index", "study", "series", "part", "format", "mask", "mask_index", "reason", *PROVENANCE),
    integers={"index": 32, "mask_index": 32, "part": 32},
)
ALL = (SLICES, STUDIES, VOLUMES, MASKS)
"""Every table that a run may write."""

Status = Literal["ok", "abstained", "excluded", "failed"]

STATUS: Mapping[int, Status] = {OK: "ok", ABSTAINED: "abstained", EXCLUDED: "excluded", FAILED: "failed"}
"""What tables say of a slice's status in the ledger."""


def write_tables(
    folder: Path,
    kinds: Sequence[str],
    ledger: Ledger,
    *,
    classes: Sequence[str],
    provenance: Mapping[str, str],
    pair: bool = False,
) -> tuple[Path, ...]:
    """Write both tables in each format, each whole or not at all; their paths.

    classes: names of the labels. provenance: of PROVENANCE. pair: whether a pair answered. Raises OutputError where the
    folder cannot be written, LedgerError, before anything is, where the ledger's rows are not those that were written.
    """
    ledger.check()
    constant = tuple(provenance[name] for name in PROVENANCE)
    volumes, reference = ledger.volumes(), noted_reference(ledger)
    paths = []
    for kind in kinds:
        table = PAIR_SLICES if pair else SLICES
        paths.append(table.write(folder, kind, slice_rows(ledger, classes, volumes, constant, pair=pair)))
        studies = study_rows(ledger.rows_by_volume(), volumes, reference)
        paths.append(STUDIES.write(folder, kind, ((*row, *constant) for row in studies)))
    return tuple(paths)


def noted_reference(ledger: Ledger) -> DriftReference | None:
    """What a ledger has noted of the series that its network was trained on."""
    noted = ledger.noted(ABOUT)
    return None if noted is None else DriftReference.from_json(json.loads(noted).get(REFERENCE))


def slice_rows(
    ledger: Ledger, classes: Sequence[str], volumes: Mapping[int, VolumeRow], constant: Row, *, pair: bool = False
) -> Iterator[Row]:
    """The rows of the slice table, by path and index."""
    arranged = {number: json.loads(volume.arranged) for number, volume in volumes.items()}
    for row in ledger.rows():
        more = (row.liver, row.tumour, None if row.log_odds is None else row.lesion) if pair else ()
        if row.volume is None:
            yield (*_complete(row, classes, None, {}), *more, *constant)
        else:
            yield (*_complete(row, classes, volumes[row.volume], arranged[row.volume]), *more, *constant)


def _complete(row: ResultRow, classes: Sequence[str], volume: VolumeRow | None, arranged: Mapping[str, Any]) -> Row:
    """A row of the table without provenance, None where a cell is empty."""
    return (
        row.path,
        row.idx,
        STATUS[row.status],
        row.reason,
        row.label,
        None if row.label is None else classes[row.label],
        row.p0,
        row.p1,
        row.p2,
        row.window,
        row.sha256,
        volume and volume.study,
        volume and volume.name,
        arranged.get("number"),
        row.number,
        row.position if arranged.get("in_mm") else None,
        row.copy_of,
    )
