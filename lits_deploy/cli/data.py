"""`lits-deploy data`: make training data. `phantom` writes synthetic abdomens in the training layout."""

from __future__ import annotations

import time
from pathlib import Path

import typer

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)


@app.callback()
def _data() -> None:
    """Make and prepare training data."""


@app.command()
def phantom(
    out: Path = typer.Argument(..., help="New or empty folder, or one of phantoms to write again."),
    patients: int = typer.Option(24, min=3, help="Synthetic patients, about 42 slices each."),
    seed: int = typer.Option(0, min=0, help="Another seed, other patients; the same seed, the same bytes."),
    workers: int = typer.Option(0, min=0, help="Processes; 0: one per processor. Does not change the data."),
) -> None:
    """Write synthetic CT slices with liver and lesion masks, split by patient into train, validate and test.

    They look like portal-phase CT and hold no patient's pixels. A score on them says that a pipeline works, no more.
    """
    from lits_deploy.cli.console import console, progress_bar, table
    from lits_deploy.contract import CLASSES
    from train.data.phantom import write_slices

    begun = time.perf_counter()
    with progress_bar("patients") as bar:
        task = bar.add_task("phantom", total=patients, rate=0.0, note="")

        def show(done: int, total: int) -> None:
            bar.update(task, total=total, completed=done, rate=done / (time.perf_counter() - begun))

        summary = write_slices(out, patients, seed, workers=workers or None, progress=show)

    counts = {split: list(per_class) for split, per_class in summary["slices_per_class"].items()}
    counts["all"] = [sum(column) for column in zip(*counts.values(), strict=True)]
    people = {split: len(numbers) for split, numbers in summary["patients"].items()} | {"all": patients}
    rows = [
        (
            split,
            str(people[split]),
            *(f"{n:,} ({100 * n / sum(per_class):.1f} %)" for n in per_class),
            f"{sum(per_class):,}",
        )
        for split, per_class in counts.items()
    ]
    names = tuple(f"{k} {name}" for k, name in enumerate(CLASSES))
    header = ("split", "patients", *names, "slices")
    table(header, rows, right=header[1:])
    low, high = summary["window_hu"]
    console.print(
        f"{out}: seed {seed}, window {low:.0f}…{high:.0f} HU, {time.perf_counter() - begun:.0f} s", markup=False
    )
    console.print(f"next:  lits-deploy train --data {out}", markup=False)
