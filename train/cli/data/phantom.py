"""`lits-deploy data phantom`: synthetic abdomens in the training layout, as NIfTI volumes or as DICOM series."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import typer

from train.choices import Format
from train.cli import options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def phantom(
    out: Path = typer.Argument(..., help="New or empty folder, or one of phantoms to write again."),
    patients: int = typer.Option(24, min=1, help="Synthetic patients, about 42 slices each; slices need 3 or more."),
    seed: int = typer.Option(0, min=0, help="Another seed, other patients; the same seed, the same bytes."),
    kind: Format = typer.Option(
        "slices", "--format", help="slices: training layout; nifti: as LiTS names them; dicom: CT series."
    ),
    workers: int = options.PROCESSES,
) -> None:
    """Write synthetic CT with liver and lesion masks: the same patients as slices, NIfTI volumes or DICOM series.

    Slices are split by patient into train, validate and test. All of it looks like portal-phase CT and holds no
    patient's pixels. A score on it says that a pipeline works, no more.
    """
    from lits_deploy.cli.console import progress_bar
    from train.phantom import write_dicom, write_nifti, write_slices

    begun = time.perf_counter()
    with progress_bar("patients") as bar:
        task = bar.add_task("phantom", total=patients, rate=0.0, note="")

        def show(done: int, total: int) -> None:
            bar.update(task, total=total, completed=done, rate=done / (time.perf_counter() - begun))

        writers = {"slices": write_slices, "nifti": write_nifti, "dicom": write_dicom}
        summary = writers[kind](out, patients, seed, workers=workers or None, progress=show)
    seconds = time.perf_counter() - begun
    if kind == "slices":
        _print_slices(out, summary, seconds)
    else:
        _print_volumes(out, summary, seconds)


def _print_slices(out: Path, summary: dict[str, Any], seconds: float) -> None:
    """Slices per class and split, and the command to train on them."""
    from lits_deploy.cli.console import console

    counts = {split: list(per_class) for split, per_class in summary["slices_per_class"].items()}
    counts["all"] = [sum(column) for column in zip(*counts.values(), strict=True)]
    people = {split: len(numbers) for split, numbers in summary["patients"].items()}
    people["all"] = sum(people.values())
    _table("split", counts, people)
    low, high = summary["window_hu"]
    console.print(f"{out}: seed {summary['seed']}, window {low:.0f}…{high:.0f} HU, {seconds:.0f} s")
    console.print(f"next:  lits-deploy train --data {out}")


def _print_volumes(out: Path, summary: dict[str, Any], seconds: float) -> None:
    """Slices per class of all volumes, and what to do with them."""
    from lits_deploy.cli.console import console

    kind = summary["format"]
    _table("format", {kind: summary["slices_per_class"]}, {kind: len(summary["patients"])})
    console.print(f"{out}: seed {summary['seed']}, HU, {seconds:.0f} s")
    if kind == "nifti":
        console.print(f"next:  lits-deploy data prepare {out} DATA --layout lits --window -40 160")
    else:
        console.print(f"series in {out}/volume-N, masks in {out}/segmentation-N.nii")


def _table(first: str, counts: dict[str, list[int]], people: dict[str, int]) -> None:
    from lits_deploy.cli.console import table
    from lits_deploy.contract import CLASSES

    rows = [
        (
            name,
            str(people[name]),
            *(f"{n:,} ({100 * n / sum(per_class):.1f} %)" for n in per_class),
            f"{sum(per_class):,}",
        )
        for name, per_class in counts.items()
    ]
    header = (first, "patients", *(f"{k} {name}" for k, name in enumerate(CLASSES)), "slices")
    table(header, rows, right=header[1:])
