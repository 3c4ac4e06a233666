"""The files of an evaluation, each whole or not at all; plots are drawn where matplotlib is installed.

evaluation.json   the document (`run`)
slices.csv        classifier: path, patient, status, reason, split_by, target, label, p0–p2 (calibrated), uncertain;
                  U-Net: path … label (largest label), Dice of liver, lesion and both, pixel_error
patients.csv      one row a patient
evaluation.html   one page without scripts or other files
*.png             the same plots, and the confusion matrix
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from benchmarks.evaluation.page import page
from benchmarks.evaluation.run import Evaluation
from lits_deploy.errors import MissingExtra, OutputError
from lits_deploy.files import write_json, write_text
from lits_deploy.spreadsheet import CsvWriter

JSON, SLICES, PATIENTS, PAGE = "evaluation.json", "slices.csv", "patients.csv", "evaluation.html"
PLOTS = ("roc.png", "precision_recall.png", "reliability.png", "confusion.png", "dice.png")

_COMMON = ("path", "patient", "scan", "status", "reason", "split_by", "target", "label")
SLICE_COLUMNS = {
    "classify": (*_COMMON, "p0", "p1", "p2", "uncertain"),
    "segment": (*_COMMON, "dice_liver", "dice_lesion", "dice_liver_with_lesion", "pixel_error"),
}


def check_out(out: Path) -> None:
    """OutputError where `out` is a file, or a folder that holds something else than an evaluation."""
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / JSON).is_file()):
        raise OutputError(f"{out} holds something else than an evaluation.", fix="give another --out")


def write_report(evaluation: Evaluation, out: Path) -> tuple[list[str], str | None]:
    """Write everything into `out`: the files' names, and why there are no plots, or None.

    Plots of an earlier evaluation that are not drawn now are removed. Raises OutputError.
    """
    check_out(out)
    document, task = evaluation.document, evaluation.document["task"]
    split_by = document["data"]["split_by"]
    patients = [{"split_by": split_by, **row} for row in document["patients"]]
    header = ["patient", "split_by", *(name for name in patients[0] if name not in ("patient", "split_by"))]
    try:
        for name in PLOTS:
            (out / name).unlink(missing_ok=True)
        write_json(out / JSON, document)  # first: it marks the folder as ours
        write_text(out / SLICES, _csv(SLICE_COLUMNS[task], evaluation.slices))
        write_text(out / PATIENTS, _csv(header, patients))
        write_text(out / PAGE, page(document))
        names = [JSON, SLICES, PATIENTS, PAGE]
        try:
            from benchmarks.evaluation.png import draw

            return [*names, *draw(document, out)], None
        except MissingExtra as error:
            return names, f"no PNG plots (the page has its own): {error}"
    except OSError as error:
        raise OutputError(f"{out} cannot be written ({error.strerror or error}).", fix="give another --out") from error


def _csv(columns: tuple[str, ...] | list[str], rows: list[dict[str, Any]]) -> str:
    """An empty cell is not known; numbers are written in full."""
    text = io.StringIO()
    writer = CsvWriter(text)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in columns])
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.7g}" if isinstance(value, float) else str(value)
