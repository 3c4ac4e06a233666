"""`lits-deploy watch`: an inbox is classified study by study; a line for each on standard output, notes beside it."""

from __future__ import annotations

from pathlib import Path

import typer

from lits_deploy import exits
from lits_deploy.cli import patients, run_options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog=exits.in_help("0 stopped between two studies"))
@patients.guarded
def watch(
    inbox: Path = typer.Argument(..., help="Folder in which studies arrive, each as a folder, zip or file."),
    bundle: Path = typer.Option(..., help="Bundle to use, as `lits-deploy export` makes them."),
    out: Path = typer.Option(Path("results"), help="Folder for tables, report, run.json and ledger; not in the inbox."),
    quiet_s: float = typer.Option(
        30.0, "--quiet-s", min=0.0, help="Seconds without a change after which a study counts as complete."
    ),
    poll: bool = typer.Option(
        False, "--poll", help="Look again and again, without notices of changes; always so on network shares."
    ),
    runtime: str = run_options.RUNTIME,
    device: str = run_options.DEVICE,
    precision: str | None = run_options.PRECISION,
    artifact: str | None = run_options.ARTIFACT,
    batch_size: int | None = run_options.BATCH_SIZE,
    workers: int | None = run_options.WORKERS,
    threads: int = run_options.THREADS,
    formats: str = typer.Option("csv", "--format", help=run_options.TABLES_HELP),
    follow_links: bool = run_options.FOLLOW_LINKS,
    ignore: list[str] | None = run_options.IGNORE,
    ignore_none: bool = run_options.IGNORE_NONE,
    overwrite: bool = run_options.OVERWRITE,
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
    report: bool = typer.Option(True, help="Draw report.html anew after each study, with pictures."),
    segmenter: Path | None = run_options.SEGMENTER,
) -> None:
    """Classify the studies of an inbox, each once it is complete, until Ctrl-C.

    A study is an entry of the inbox. Results of a study stay while another one arrives, and after it has been moved
    away; `lits-deploy classify BUNDLE INBOX --out OUT` keeps only what is there. Killed, the same command goes on.
    """
    options = run_options.of_command(locals())  # first: nothing but the parameters
    from lits_deploy import DISCLAIMER
    from lits_deploy.cli.console import console, errors
    from lits_deploy.errors import UserError
    from lits_deploy.packed import open_bundle
    from lits_deploy.pipeline.after import reporter
    from lits_deploy.pipeline.output import REPORT
    from lits_deploy.pipeline.stop import stop_on_signals
    from lits_deploy.watch.service import Talk, watch_folder

    talk = Talk(study=lambda line: console.print(str(line)), note=errors.print)
    if segmenter is not None and not report:
        raise UserError("--segmenter draws into the report.", fix="leave --no-report out")
    opened = open_bundle(bundle)
    unet = None if segmenter is None else open_bundle(segmenter)
    finish = reporter(opened, options, segmenter=unet, say=talk.note) if report else None
    errors.print(DISCLAIMER)
    if not report and not overwrite and (out / REPORT).exists():
        talk.note(f"note: --no-report does not update {out / REPORT}; lits-deploy report {out} does")
    with stop_on_signals() as stop:
        summary = watch_folder(
            opened, inbox, out, options=options, quiet_s=quiet_s, poll=poll, stop=stop, talk=talk, finish=finish
        )
    errors.print("Stopped: the same command goes on from here.")
    raise typer.Exit(stop.exit_code if summary.stopped else 0)
