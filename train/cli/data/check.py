"""`lits-deploy data check`: what is wrong with a training data set; a table, findings, a contact sheet."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lits_deploy import exits
from lits_deploy.cli import logging_options, patients, run_options
from lits_deploy.cli.lazy import exit_codes
from train.cli import options

if TYPE_CHECKING:  # the command's help needs no numpy
    from train.check import CheckReport


_SHOWN = 5
"""Findings of one kind and severity that are printed; JSON has them all."""


@exit_codes("0 nothing wrong, or warnings and notes only", "1 errors in the data")
@logging_options.reported("data_check")
@patients.guarded
def check(
    data: Path = typer.Argument(..., help=options.DATA),
    as_json: bool = run_options.AS_JSON,
    montage: Path | None = typer.Option(None, help="Write a contact sheet with mask contours to this PNG."),
    window: tuple[float, float] | None = typer.Option(
        None, metavar="LOW HIGH", help="HU at 0 and 255 of the slices. [default: what dataset.json declares]"
    ),
    workers: int | None = options.PROCESSES,
) -> None:
    """Look for leaks, broken files, doubtful masks and a wrong intensity window in a training data set.

    Nothing is changed.
    """
    from lits_deploy.cli.console import bar, console, print_json
    from train.check import check_data, check_path, draw_montage

    if montage is not None:
        check_path(montage)
    begun = time.perf_counter()
    with bar("check", "slices") as show:
        report = check_data(data, window=window, workers=workers, progress=show)
    if montage is not None:
        draw_montage(montage, report)
    if as_json:
        print_json(report.to_json())
    else:
        _print(report)
        console.print(f"{report.splits['all'].slices:,} slices in {time.perf_counter() - begun:.1f} s")
        if montage is not None:
            console.print(f"→ {montage}")
    raise typer.Exit(exits.SOME_FAILED if report.count("error") else exits.DONE)


def _print(report: CheckReport) -> None:
    from collections import Counter

    from lits_deploy.cli.console import console
    from train.check.findings import SEVERITIES
    from train.cli.data.shared import class_table

    rows = ((name, _people(name, row.patients), row.per_class, row.slices) for name, row in report.splits.items())
    class_table("split", rows, right=2)
    console.print("")
    for line in _figures(report):
        console.print(line)
    console.print("")
    shown: Counter[tuple[str, str]] = Counter()
    total = Counter((f.severity, f.kind) for f in report.findings)
    for finding in report.findings:
        key = (finding.severity, finding.kind)
        shown[key] += 1
        if shown[key] <= _SHOWN:
            console.print(f"{finding.severity}: {finding.location}: {finding.message}")
        elif shown[key] == total[key]:
            console.print(
                f"{finding.severity}: {total[key] - _SHOWN:,} more of kind {finding.kind} (--json has them all)"
            )
    counts = {severity: report.count(severity) for severity in SEVERITIES}
    parts = [f"{n:,} {severity}{'' if n == 1 else 's'}" for severity, n in counts.items()]
    console.print(", ".join(parts) if report.findings else "nothing wrong")


def _people(split: str, names: list[str]) -> str:
    """How many patients, and who, where that is short."""
    return f"{len(names)} ({', '.join(names)})" if 0 < len(names) <= 6 and split != "all" else str(len(names))


def _figures(report: CheckReport) -> list[str]:
    """Window, grey levels and sizes in a few lines."""
    grey = report.intensity
    lines = [f"sizes: {', '.join(f'{n:,} of {side}×{side}' for side, n in sorted(report.sizes.items())) or 'none'}"]
    if "share_at_0" in grey:
        line = f"grey levels: {100 * grey['share_at_0']:.1f} % at 0, {100 * grey['share_at_255']:.1f} % at 255"
        if grey["window_hu"] is not None:
            low, high = grey["window_hu"]
            line += f"; window {low:g}…{high:g} HU, darkest tenth at {grey['darkest_tenth_hu']:g} HU"
            line += f", peaks at {', '.join(map(str, grey['peaks_hu'])) or 'none'}"
        lines.append(line)
    if "liver_hu" in grey:
        liver = grey["liver_hu"]
        lines.append(
            f"liver: median {liver['median_of_patients']:.0f} HU over {liver['patients']} patients"
            f" ({liver['lowest_patient']:.0f} to {liver['highest_patient']:.0f}), pixels"
            f" {liver['p5']:.0f}…{liver['p95']:.0f} HU (5–95 %)"
        )
    lines.append(
        f"near-duplicates: {report.compared:,} slices compared across splits, {report.nearly_blank:,} nearly blank left"
        f" out, {report.copies:,} pairs"
    )
    return lines
