"""`lits-deploy scan`: what lies in folders of scans, before anything is classified, and without a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lits_deploy import DISCLAIMER, exits
from lits_deploy.cli import patients, run_options

if TYPE_CHECKING:
    from lits_deploy.scans.survey import SeriesSurvey, Survey

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog=exits.in_help("0 done", "1 some files failed"))
@patients.guarded
def scan(
    scans: list[Path] = typer.Argument(..., help="Folders, files or zips: DICOM, NIfTI, PNG and JPEG slices."),
    as_json: bool = run_options.AS_JSON,
    pixels: bool = typer.Option(False, "--pixels", help="Decode the slices, too: finds empty ones and masks."),
    identify: bool = typer.Option(False, "--identify", help="Name patients, UIDs and files. Off by default."),
    recursive: bool = typer.Option(True, help="Look into folders below."),
    follow_links: bool = run_options.FOLLOW_LINKS,
    workers: int | None = typer.Option(None, min=1, help="Processes that read [cores less one, 1 to 4]."),
    any_body_part: bool = run_options.ANY_BODY_PART,
    trust: str | None = run_options.TRUST,
    time_limit: float = typer.Option(30.0, help="Seconds that reading one file may take."),
    memory_limit: int = typer.Option(1024, help="MiB that reading one file may take."),
) -> None:
    """List studies and series, how they lie, and what would be skipped and why.

    Reads headers in processes of their own, as `classify` does; no model, nothing is written. Studies and series are
    numbered in the order of their paths.
    """
    from lits_deploy.cli.console import print_json, progress_bar
    from lits_deploy.pipeline.options import ClassifyOptions
    from lits_deploy.pipeline.survey import survey_folder
    from lits_deploy.scans import Reading

    with progress_bar("files") as bar:
        task = bar.add_task("scan", total=None, rate=0.0, note="")

        def show(survey: Survey) -> None:
            bar.update(task, completed=survey.files, rate=bar.tasks[0].speed or 0.0)

        survey = survey_folder(
            scans,
            ClassifyOptions(
                recursive=recursive,
                follow_links=follow_links,
                workers=workers,
                time_limit_s=time_limit,
                memory_limit_mib=memory_limit,
                reading=Reading(any_body_part=any_body_part, trust=trust),
            ),
            pixels=pixels,
            on_file=show,
        )
    if as_json:
        told = {"pixels": pixels, **survey.to_json(identify=identify), "disclaimer": DISCLAIMER}
        print_json(told)
    else:
        print_survey(survey, identify=identify, pixels=pixels)
    raise typer.Exit(exits.of_failures(survey.failed.total()))


def print_survey(survey: Survey, *, identify: bool, pixels: bool) -> None:
    """A table of series, then why slices would be skipped and why files failed."""
    from lits_deploy.cli.console import console, table

    header = ("series", "kind", "orientation", "matrix", "pixel mm", "slices", "step mm", "skipped", "notes")
    rows = [
        (f"{number}.{place}", *_row(one))
        for number, study in enumerate(survey.studies(), start=1)
        for place, one in enumerate(study, start=1)
    ]
    if rows:
        table(header, rows, right=("slices", "step mm", "skipped"))
    if identify:
        _print_names(survey)
    for title, reasons in (("skipped", survey.skipped), ("failed", survey.failed)):
        if reasons:
            console.print("")
            unit = "slices" if title == "skipped" else "files"
            by_count = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
            head = (f"{title} ({sum(reasons.values()):,})", unit)
            table(head, [(reason, f"{count:,}") for reason, count in by_count], right=(unit,))
    console.print("")
    skipped, failed = sum(survey.skipped.values()), sum(survey.failed.values())
    console.print(
        f"{survey.files:,} files, {survey.slices:,} slices: {survey.slices - skipped:,} to be judged,"
        f" {skipped:,} skipped; {failed:,} files failed",
    )
    if survey.others:
        kinds = ", ".join(f"{suffix or 'no suffix'} {n:,}" for suffix, n in survey.others.most_common(4))
        console.print(f"{sum(survey.others.values()):,} other files not read ({kinds})")
    if not pixels:
        console.print("Only headers were read; --pixels finds empty slices and masks, too.")
    console.print(DISCLAIMER)


def _row(one: SeriesSurvey) -> tuple[str, ...]:
    series, steps = one.series, one.steps
    spacing = series.spacing_mm
    pixel = (
        ""
        if spacing is None
        else f"{spacing[0]:.3g}"
        if spacing[0] == spacing[1]
        else f"{spacing[0]:.3g}×{spacing[1]:.3g}"
    )
    notes = [
        f"{steps.missing} missing" if steps.missing else "",
        f"{steps.repeated} twice" if steps.repeated else "",
        f"{sum(one.failed.values())} files failed" if one.failed else "",
        f"turned: {series.turn}" if series.turn else "",
    ]
    return (
        series.kind if series.modality is None else f"{series.kind} {series.modality}",
        "" if series.kind == "picture" else series.orientation,
        f"{series.columns}×{series.rows}" if series.rows else "",
        pixel,
        f"{one.slices:,}",
        "" if steps.step_mm is None else f"{steps.step_mm:g}",
        f"{sum(one.skipped.values()):,}" if one.skipped else "",
        ", ".join(note for note in notes if note),
    )


def _print_names(survey: Survey) -> None:
    from lits_deploy.cli.console import console

    console.print("")
    for number, study in enumerate(survey.studies(), start=1):
        for place, one in enumerate(study, start=1):
            named = "".join(f"  {name}={value}" for name, value in sorted(one.series.identifiers.items()))
            console.print(f"{number}.{place}  {one.path}{named}")
    for reason, paths in sorted(survey.failed_paths.items()):
        for path in sorted(paths):
            console.print(f"failed  {path}  {reason}")
