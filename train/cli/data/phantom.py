"""`lits-deploy data phantom`: synthetic abdomens in the training layout, as NIfTI volumes or as DICOM series."""

from __future__ import annotations

import time
from pathlib import Path

import typer

from lits_deploy.cli import logging_options, run_options
from train.choices import Format
from train.cli import options


@logging_options.reported("data_phantom")
def phantom(
    out: Path = typer.Argument(..., help="New or empty folder, or an earlier one of phantoms to write again."),
    patients: int = typer.Option(24, min=1, help="Synthetic patients, about 42 slices each; slices need 3 or more."),
    seed: int = typer.Option(0, min=0, help="Another seed, other patients; the same seed, the same bytes."),
    kind: Format = typer.Option(
        "slices", "--layout", help="slices: training layout; nifti: volumes named as in LiTS; dicom: CT series."
    ),
    workers: int | None = options.PROCESSES,
    as_json: bool = run_options.AS_JSON,
) -> None:
    """Write synthetic CT with liver and lesion masks: the same patients as slices, NIfTI volumes or DICOM series.

    Slices are split by patient into train, validate and test. All of it looks like portal-phase CT and holds no
    patient's pixels. A score on it shows that a pipeline works and nothing more.
    """
    from lits_deploy.cli.console import bar, console, print_json
    from train.cli.data.shared import class_table
    from train.phantom import write_phantoms

    begun = time.perf_counter()
    with bar("phantom", "patients") as show:
        summary = write_phantoms(out, patients, seed, kind, workers=workers, progress=show)
    if as_json:
        print_json({"out": str(out), **summary})
        return
    counts, people = summary["slices_per_class"], summary["patients"]
    if kind != "slices":
        counts, people = {kind: counts}, {kind: people}
    rows = [(name, str(len(people[name])), own, sum(own)) for name, own in counts.items()]
    if kind == "slices":
        whole = [sum(column) for column in zip(*counts.values(), strict=True)]
        rows.append(("all", str(patients), whole, sum(whole)))
    class_table("split" if kind == "slices" else "format", rows)
    window = "window {:.0f}…{:.0f} HU".format(*summary["window_hu"]) if kind == "slices" else "HU"
    console.print(f"{out}: seed {seed}, {window}, {time.perf_counter() - begun:.0f} s")
    following = {
        "slices": f"next:  lits-deploy train --data {out}",
        "nifti": f"next:  lits-deploy data prepare {out} DATA --layout lits --window -40 160",
        "dicom": f"series in {out}/volume-N, masks in {out}/segmentation-N.nii",
    }
    console.print(following[kind])
