"""`lits-deploy data prepare`: raw volumes or pictures in, the training layout out; what was odd is said."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lits_deploy import exits
from lits_deploy.cli import logging_options, patients, run_options
from lits_deploy.cli.lazy import exit_codes
from train.choices import LayoutName, SplitBy
from train.cli import options

if TYPE_CHECKING:
    from train.prepare import PreparedData


_SHOWN = 20


@exit_codes("0 done", "1 some volumes failed")
@logging_options.reported("data_prepare")
@patients.guarded
def prepare(
    src: Path = typer.Argument(..., help="Folder with the raw data; it is not changed."),
    out: Path = typer.Argument(..., help="New or empty folder for the training layout."),
    layout: LayoutName = typer.Option(
        ...,
        help="lits: volume-N.nii and segmentation-N.nii. lits-png: the Kaggle copy. msd: Task03_Liver. "
        "masks: images/ and masks/.",
    ),
    window: tuple[float, float] | None = typer.Option(
        None,
        metavar="LOW HIGH",
        help="Window in HU. Required for volumes; for pictures it records the window they were made with.",
    ),
    split_by: SplitBy = typer.Option(
        "patient", help="slice: the thesis's leaky split; the data set and every figure on it are marked."
    ),
    fractions: str = typer.Option("70,15,15", help="Shares of train, validate and test."),
    seed: int = typer.Option(0, min=0, help="Another seed, another split."),
    labels: str | None = typer.Option(
        None,
        metavar="VALUE=LABEL,…",
        help="Meaning of mask values: 0=0,127=1,255=2, or colours such as 000000=0,ff0000=1. 0 background, 1 liver, "
        "2 lesion.",
    ),
    workers: int | None = options.PROCESSES,
    resume: bool = typer.Option(False, "--resume", help="Continue where it was interrupted; also adds new volumes."),
    fix_orientation: bool = typer.Option(
        False, "--fix-orientation", help="Reorient volumes that are clearly rotated or mirrored."
    ),
    as_json: bool = run_options.AS_JSON,
) -> None:
    """Turn LiTS volumes, the Kaggle PNGs, MSD Task03_Liver or image and mask folders into the training layout.

    Slices become 8-bit grey, 256×256, front up, the patient's right on the left, with labels 0, 1, 2. A volume that
    cannot be used is named with its reason, and the others continue.
    """
    from lits_deploy import DISCLAIMER
    from lits_deploy.cli.console import bar, console, note, print_json, warn
    from train.data.labels import parse_labels
    from train.prepare import PrepareSettings, parse_fractions
    from train.prepare import prepare as prepare_folder

    settings = PrepareSettings(
        layout=layout,
        window_hu=window,
        split_by=split_by,
        fractions=parse_fractions(fractions),
        seed=seed,
        fix_orientation=fix_orientation,
        labels=None if labels is None else parse_labels(labels),
    )
    begun = time.perf_counter()
    try:
        with bar("prepare", "volumes", resumed=True) as show:
            summary = prepare_folder(src, out, settings, workers=workers, resume=resume, progress=show)
    except KeyboardInterrupt:
        note("stopped; the volumes done are kept. The same command with --resume goes on.")
        raise
    for warning in summary.warnings:
        warn(warning)
    if as_json:
        print_json({"out": str(out), **asdict(summary), "disclaimer": DISCLAIMER})
    else:
        _print(summary, out)
        console.print(DISCLAIMER)
        console.print(f"{out}: {summary.prepared} volumes, {time.perf_counter() - begun:.0f} s")
        console.print(f"next:  lits-deploy data check {out}")
    raise typer.Exit(exits.SOME_FAILED if summary.failed else exits.DONE)


def _print(summary: PreparedData, out: Path) -> None:
    from lits_deploy.cli.console import console, table
    from train.cli.data.shared import class_table
    from train.prepare.contents import listed

    dataset = summary.dataset
    people = dataset["patients"]
    rows = ((split, str(len(people[split])), own, sum(own)) for split, own in dataset["slices_per_class"].items())
    class_table("split", rows)
    window = dataset["window_hu"]
    console.print(
        f"window {f'{window[0]:g}…{window[1]:g} HU' if window else 'unknown'}, split by {dataset['split_by']}"
        f"{' (as the source came)' if dataset['split_given'] else ''}",
    )
    if summary.kept:
        console.print(f"{summary.kept} volumes were done before")
    ways = "; ".join(f"{name}: {len(found)}" for name, found in summary.orientation.items())
    console.print(f"orientation by the pixels: {ways}")
    for way, found in summary.reoriented.items():
        console.print(f"turned upright, were {way}: {listed(found)}")
    for note in summary.notes[:_SHOWN]:
        console.print(f"note: {note}")
    if len(summary.notes) > _SHOWN:
        console.print(f"note: {len(summary.notes) - _SHOWN} more in provenance.json")
    if summary.failed:
        console.print("")
        table((f"failed ({len(summary.failed)})", "reason"), summary.failed[:_SHOWN])
        if len(summary.failed) > _SHOWN:
            console.print(f"{len(summary.failed) - _SHOWN} more in {out / 'provenance.json'}")
        console.print("Mend them and run the same command with --resume.")
