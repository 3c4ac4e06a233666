"""`lits-deploy scan`: what lies in folders of scans, before anything is classified, and without a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from lits_deploy import DISCLAIMER, exits
from lits_deploy.cli import locations, logging_options, patients, run_options
from lits_deploy.cli.lazy import exit_codes

if TYPE_CHECKING:
    from lits_deploy.scans.survey import SeriesSurvey, Survey


@exit_codes("0 done", "1 some files failed")
@logging_options.reported("scan")
@patients.guarded
def scan(
    scans: list[str] = run_options.SCANS,
    as_json: bool = run_options.AS_JSON,
    pixels: bool = typer.Option(False, "--pixels", help="Also decode the slices, which finds empty ones and masks."),
    identify: bool = typer.Option(False, "--identify", help="Name patients, UIDs and files. Off by default."),
    recursive: bool = run_options.RunOptions.recursive,
    follow_links: bool = run_options.RunOptions.follow_links,
    workers: int | None = typer.Option(None, min=1, help="Processes that read. [default: cores less one, 1 to 4]"),
    any_body_part: bool = run_options.RunOptions.any_body_part,
    trust: str | None = run_options.RunOptions.trust,
    time_limit_s: float = typer.Option(30.0, "--time-limit", help="Seconds that reading one file may take."),
    memory_limit_mib: int = typer.Option(1024, "--memory-limit", help="MiB that reading one file may take."),
    endpoint: str | None = locations.ENDPOINT,
) -> None:
    """List studies and series, their orientation, and what would be excluded and why.

    Reads headers in separate processes, as `classify` does. It needs no model and writes nothing. Studies and series
    are numbered in the order of their paths.
    """
    given = locals()  # nothing but the parameters
    from lits_deploy.cli.console import bar, print_json
    from lits_deploy.pipeline.options import ClassifyOptions
    from lits_deploy.pipeline.survey import survey_folder
    from lits_deploy.scans import Reading

    locations.use_endpoint(endpoint)
    reading = Reading(any_body_part=any_body_part, trust=trust)
    options = run_options.filled(ClassifyOptions, {**given, "reading": reading})
    with bar("scan", "files") as show:
        survey = survey_folder(
            locations.scans_at(scans), options, pixels=pixels, on_file=lambda survey: show(survey.files)
        )
    if as_json:
        print_json({"pixels": pixels, **survey.to_json(identify=identify), "disclaimer": DISCLAIMER})
    else:
        print_survey(survey, identify=identify, pixels=pixels)
    raise typer.Exit(exits.of_failures(survey.failed.total()))


def print_survey(survey: Survey, *, identify: bool, pixels: bool) -> None:
    """A table of series, then why slices would be excluded and why files failed."""
    from lits_deploy.cli.console import console, print_others, reasons_table, table

    header = ("series", "kind", "orientation", "matrix", "pixel mm", "slices", "step mm", "excluded", "notes")
    numbered = [(f"{n}.{m}", one) for n, study in enumerate(survey.studies(), 1) for m, one in enumerate(study, 1)]
    rows = [(number, *_row(one)) for number, one in numbered]
    if rows:
        table(header, rows, right=("slices", "step mm", "excluded"))
    for number, one in numbered:
        if one.volume.doubts:
            console.print(f"{number} is doubtful: {'; '.join(one.volume.doubts)}")
    if identify:
        _print_names(survey, numbered)
    for title, unit, reasons in (("excluded", "slices", survey.excluded), ("failed", "files", survey.failed)):
        if reasons:
            by_count = dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))
            reasons_table(f"{title} ({sum(reasons.values()):,})", unit, by_count)
    console.print("")
    excluded, failed = sum(survey.excluded.values()), sum(survey.failed.values())
    slices, copies = survey.slices, survey.copies
    besides = f" and {_copies(copies)}" if copies else ""
    console.print(
        f"{survey.files:,} files, {slices:,} slices{besides}: {slices - excluded:,} for the network,"
        f" {excluded:,} excluded; {failed:,} files failed",
    )
    print_others(dict(survey.others.most_common()))
    if not pixels:
        console.print("Only headers were read; --pixels finds empty slices and masks, too.")
    console.print(DISCLAIMER)


def _copies(count: int) -> str:
    return f"{count:,} cop{'y' if count == 1 else 'ies'}" if count else ""


def _row(one: SeriesSurvey) -> tuple[str, ...]:
    series, volume, geometry, steps = one.series, one.volume, one.volume.geometry, one.volume.steps
    sides = dict.fromkeys(geometry.spacing_mm or ())  # of a square pixel one
    order = "" if one.order == "position" or series.kind == "picture" else f"by {one.order}"
    notes = [
        volume.name,
        _copies(len(volume.copies)),
        order if len(volume.slices) > 1 else "",
        f"{steps.missing} missing" if steps.missing else "",
        f"{steps.repeated} twice" if steps.repeated else "",
        f"{steps.irregular} irregular distances" if steps.irregular else "",
        f"{sum(one.failed.values())} files failed" if one.failed else "",
        f"turned: {geometry.reorientation}" if geometry.reorientation else "",
    ]
    return (
        series.kind if series.modality is None else f"{series.kind} {series.modality}",
        "" if series.kind == "picture" else series.orientation,
        f"{geometry.columns}×{geometry.rows}" if geometry.rows else "",
        "×".join(f"{side:.3g}" for side in sides),
        f"{len(volume.slices):,}",
        "" if steps.step_mm is None else f"{steps.step_mm:g}",
        f"{sum(one.excluded.values()):,}" if one.excluded else "",
        ", ".join(note for note in notes if note),
    )


def _print_names(survey: Survey, numbered: list[tuple[str, SeriesSurvey]]) -> None:
    from lits_deploy.cli.console import console

    console.print("")
    for number, one in numbered:
        named = "".join(f"  {name}={value}" for name, value in sorted(one.series.identifiers.items()))
        console.print(f"{number}  {one.path}{named}")
    for reason, paths in sorted(survey.failed_paths.items()):
        for path in sorted(paths):
            console.print(f"failed  {path}  {reason}")
