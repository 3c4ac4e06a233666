"""`lits-deploy report`: tables and page of a run, drawn again from its ledger."""

from __future__ import annotations

from pathlib import Path

import typer

from lits_deploy import DISCLAIMER
from lits_deploy.cli import logging_options, patients, run_options


@logging_options.reported("report")
@patients.guarded
def report(
    out: Path = typer.Argument(..., help="OUT of a `classify` run, finished or not."),
    formats: str = typer.Option(
        "", "--format", help="Formats of tables to add: csv, parquet, jsonl, joined by commas."
    ),
    ledger: Path | None = typer.Option(None, help="Folder of its ledger, if the run had one elsewhere."),
    group_readable: bool | None = run_options.RunOptions.group_readable,
    as_json: bool = run_options.AS_JSON,
) -> None:
    """Redraw tables and report.html from a run's ledger.

    Needs neither the scans nor a network: pictures of suspicious slices are in the ledger, and whoever has it can see
    them.
    """
    from lits_deploy.cli.console import console, print_json
    from lits_deploy.report.redraw import redraw
    from lits_deploy.tables import check_formats

    wanted = run_options.names(formats)
    check_formats(wanted)
    files = redraw(out, formats=wanted, ledger_folder=ledger, group_readable=group_readable)
    if as_json:
        print_json({"out": str(out), "files": [str(path) for path in files], "disclaimer": DISCLAIMER})
        return
    for path in files:
        console.print(f"→ {path}")
    console.print(DISCLAIMER)
