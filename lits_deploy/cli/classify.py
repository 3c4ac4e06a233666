"""`lits-deploy classify`: scan folders in, tables out; progress on standard error, a summary on standard output."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lits_deploy import DISCLAIMER, exits
from lits_deploy.cli import patients, run_options

if TYPE_CHECKING:  # the command's help needs no pipeline
    from lits_deploy.pipeline.options import RunSummary

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_REASONS_SHOWN = 5


@app.command(epilog=exits.in_help("0 done", "1 some files failed"))
@patients.guarded
def classify(
    bundle: Path = typer.Argument(..., help="Bundle to use, as `lits-deploy export` makes them."),
    scans: list[Path] = run_options.SCANS,
    out: Path = typer.Option(Path("results"), help="Folder for tables, run.json and ledger."),
    runtime: str = run_options.RUNTIME,
    device: str = run_options.DEVICE,
    precision: str | None = run_options.PRECISION,
    artifact: str | None = run_options.ARTIFACT,
    batch_size: int | None = run_options.BATCH_SIZE,
    workers: int | None = run_options.WORKERS,
    threads: int = run_options.THREADS,
    tune: bool = run_options.TUNE,
    recursive: bool = run_options.RECURSIVE,
    follow_links: bool = run_options.FOLLOW_LINKS,
    ignore: list[str] | None = run_options.IGNORE,
    ignore_none: bool = run_options.IGNORE_NONE,
    allow_removed: bool = run_options.ALLOW_REMOVED,
    formats: str = typer.Option("csv", "--format", help=run_options.TABLES_HELP),
    overwrite: bool = run_options.OVERWRITE,
    retry_failed: bool = run_options.RETRY_FAILED,
    abstain: bool = run_options.ABSTAIN,
    identify: bool = run_options.IDENTIFY,
    pseudonymous: bool = run_options.PSEUDONYMOUS,
    salt: str | None = run_options.SALT,
    any_body_part: bool = run_options.ANY_BODY_PART,
    trust: str | None = run_options.TRUST,
    salt_file: Path | None = run_options.SALT_FILE,
    group_readable: bool | None = run_options.GROUP_READABLE,
    time_limit_s: float = run_options.TIME_LIMIT,
    memory_limit_mib: int = run_options.MEMORY_LIMIT,
    ledger: Path | None = run_options.LEDGER,
    engine_cache: Path | None = run_options.ENGINE_CACHE,
    report: bool = typer.Option(
        True,
        help="Write report.html, with pictures of suspicious slices; --no-report does not update an earlier one.",
    ),
    segmenter: Path | None = run_options.SEGMENTER,
) -> None:
    """Classify folders of CT slices with a bundle.

    A file that cannot be used is a row with its reason. Interrupted or killed, the same command goes on where it was.
    """
    options = run_options.of_command(locals())  # first: nothing but the parameters
    from lits_deploy.cli.console import errors, progress_bar
    from lits_deploy.errors import UserError
    from lits_deploy.packed import open_bundle
    from lits_deploy.pipeline.after import reporter
    from lits_deploy.pipeline.output import REPORT
    from lits_deploy.pipeline.run import run_folder
    from lits_deploy.pipeline.stop import stop_on_signals

    if segmenter is not None and not report:
        raise UserError("--segmenter draws into the report.", fix="leave --no-report out")
    opened = run_options.bundle_and_scans(bundle, scans)
    unet = None if segmenter is None else open_bundle(segmenter)
    said: list[str] = []
    finish = reporter(opened, options, segmenter=unet, say=said.append) if report else None
    with progress_bar() as bar, stop_on_signals() as stop:
        show = run_options.progress_shown(bar, "classify", stop)
        summary = run_folder(opened, scans, out, options=options, on_progress=show, stop=stop, finish=finish)
    if not report and (out / REPORT).exists() and (summary.now or summary.added or summary.removed):
        said.append(
            f"{out / REPORT} shows an earlier state: --no-report does not update it. Fix: lits-deploy report {out}"
        )
    for warning in (*summary.warnings, *said):
        errors.print(f"warning: {warning}")
    print_summary(summary)
    raise typer.Exit(stop.exit_code if stop.requested else exits.of_failures(summary.news))


def print_summary(summary: RunSummary) -> None:
    """Classes, failures, speed, and where the results are."""
    from lits_deploy.cli.console import console, table

    rows = [(name, f"{n:,}") for name, n in summary.classes.items()]
    if summary.unsure:
        rows.append(("abstained: unsure", f"{summary.unsure:,}"))
    if summary.withheld:
        rows.append(("abstained: not to be judged", f"{summary.withheld:,}"))
    table(("class", "slices"), rows, right=("slices",))
    if summary.withheld:
        _reasons(f"not to be judged ({summary.withheld:,})", "slices", summary.withheld, summary.withheld_reasons)
    if summary.failed:
        _reasons(f"failed ({summary.failed:,})", "rows", summary.failed, summary.reasons)
    if summary.acknowledged:
        console.print(f"{summary.acknowledged:,} of them are acknowledged (--ignore), {summary.news:,} are new.")
    console.print("")
    speed = f": {summary.slices_per_s:,.1f} slices/s" if summary.now else ""
    earlier = f", {summary.slices - summary.now:,} before" if summary.resumed else ""
    console.print(f"{summary.now:,} slices in {summary.seconds:,.1f} s on {summary.device}{speed}{earlier}")
    if summary.resumed and (summary.removed or summary.added):
        console.print(f"Since the previous run, {summary.removed:,} files are gone and {summary.added:,} are new.")
    if summary.others:
        kinds = ", ".join(f"{suffix or 'no suffix'} {n:,}" for suffix, n in list(summary.others.items())[:4])
        console.print(f"{sum(summary.others.values()):,} other files not read ({kinds})")
    for path in (*summary.tables, summary.run_json):
        console.print(f"→ {path}")
    if summary.stopped:
        console.print(f"Stopped with {summary.missing:,} files to go: the same command goes on from here.")
    console.print(DISCLAIMER)


def _reasons(title: str, unit: str, count: int, reasons: Mapping[str, int]) -> None:
    """The most frequent reasons, and how many rows have others."""
    from lits_deploy.cli.console import console, table

    shown = list(reasons.items())[:_REASONS_SHOWN]
    rows = [(reason, f"{n:,}") for reason, n in shown]
    if rest := count - sum(n for _, n in shown):
        rows.append(("other reasons", f"{rest:,}"))
    console.print("")
    table((title, unit), rows, right=(unit,))
