"""`lits-deploy watch`: an inbox is classified study by study; a line for each on standard output, notes beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lits_deploy.cli import logging_options, patients, run_options
from lits_deploy.cli.lazy import exit_codes

if TYPE_CHECKING:
    from lits_deploy.pipeline.options import ClassifyOptions


@exit_codes("0 stopped between two studies")
@logging_options.reported("watch")
@patients.guarded
@run_options.with_run("tune", "recursive", "retry_failed", "allow_removed", "endpoint")
def watch(
    bundle: Path = typer.Argument(..., help="Bundle to use, as `lits-deploy export` makes them: folder or zip."),
    inbox: Path = typer.Argument(..., help="Folder in which studies arrive, each as a folder, zip or file."),
    out: Path = typer.Option(Path("results"), help="Folder for tables, report, run.json and ledger; not in the inbox."),
    quiet_s: float = typer.Option(
        30.0, "--complete-after", min=0.0, help="Seconds without a change after which a study counts as complete."
    ),
    poll: bool = typer.Option(
        False, "--poll", help="Poll the inbox instead of waiting for change notices; network shares are always polled."
    ),
    *,
    options: ClassifyOptions,
    report: bool = typer.Option(True, help="Redraw report.html after each study, with pictures."),
    segmenter: Path | None = run_options.SEGMENTER,
) -> None:
    """Classify the studies of an inbox, each once it is complete, until Ctrl-C.

    A study is an entry of the inbox. Its results stay when others arrive and after it has been moved away;
    `lits-deploy classify BUNDLE INBOX --out OUT` keeps only what is there. If it is killed, the same command continues.
    """
    from lits_deploy import DISCLAIMER
    from lits_deploy.cli.console import note
    from lits_deploy.cli.watch_messages import Watching
    from lits_deploy.events.session import current
    from lits_deploy.events.wording import Quoting
    from lits_deploy.pipeline.context import RunHooks
    from lits_deploy.pipeline.output import REPORT
    from lits_deploy.pipeline.stop import stop_on_signals
    from lits_deploy.report.finish import drawn_after
    from lits_deploy.watch.service import WatchOptions, watch_folder
    from lits_deploy.watch.systemd import Systemd

    systemd = Systemd()
    watching = Watching(systemd)
    notices = watching.notices()
    if (session := current()) is not None:
        session.follow(watching.figures)
    opened = run_options.bundle_and_scans(bundle, [inbox], "INBOX")
    finish = drawn_after(opened, options, report, segmenter, notices.note)
    note(DISCLAIMER)
    if not report and not options.overwrite and (out / REPORT).exists():
        line = f"note: --no-report does not update {out / REPORT}; lits-deploy report {out} does"
        note(Quoting(line, logged="--no-report does not update the report that is there; lits-deploy report does"))
    with stop_on_signals() as stop:
        hooks = RunHooks(stop=stop, on_progress=watching.on_progress, finish=finish)
        how = WatchOptions(quiet_s=quiet_s, poll=poll)
        summary = watch_folder(opened, inbox, out, options=options, watch=how, hooks=hooks, notices=notices)
    systemd.stopping()
    note("Stopped: the same command goes on from here.")
    raise typer.Exit(stop.exit_code if summary.stopped else 0)
