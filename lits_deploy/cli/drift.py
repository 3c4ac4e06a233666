"""`lits-deploy drift`: nights beside the training series and beside each other."""

from __future__ import annotations

from pathlib import Path

import typer

from lits_deploy import DISCLAIMER, exits
from lits_deploy.cli import logging_options, patients, run_options
from lits_deploy.cli.lazy import exit_codes


@exit_codes("0 nothing differs", "1 something does (4 with LITS_DEPLOY_UNATTENDED)")
@logging_options.reported("drift")
@patients.guarded
def drift(
    outs: list[Path] = typer.Argument(..., metavar="OUT", help="OUTs of `classify` or `segment`, the newest last."),
    reference: Path | None = typer.Option(
        None, metavar="BUNDLE", help="Compare with this bundle's training series, in place of each OUT's own."
    ),
    page: Path | None = typer.Option(None, "--out", help="Page to write. [default: drift.html in the last OUT]"),
    false_share: float = typer.Option(
        0.05, help="Share of the reported differences that may be false (false discovery rate)."
    ),
    as_json: bool = run_options.AS_JSON,
) -> None:
    """Say whether the series of a night differ from those that the network was trained on, and from earlier nights.

    Compares series, not slices, from the ledgers alone: needs neither the scans nor a network. Needs SciPy: pip install
    'lits-deploy[drift]'.
    """
    from lits_deploy.bundle import Bundle
    from lits_deploy.cli.console import console, print_json, table
    from lits_deploy.nights import formatting
    from lits_deploy.nights.page import write_page
    from lits_deploy.nights.report import look_at
    from lits_deploy.pipeline.output import DRIFT

    bundle = None if reference is None else Bundle.open(reference)
    nights = look_at(outs, bundle=bundle, false_share=false_share)
    path = write_page(nights, page or outs[-1] / DRIFT)
    if as_json:
        print_json(nights.to_json())
    else:
        for night in nights.nights:
            console.print(f"{night.sample.name}: {formatting.counted(night)}")
        for comparison in nights.comparisons:
            console.print("")
            console.print(f"{comparison.own.name}: {formatting.verdict(comparison, false_share)}")
            if comparison.findings:
                table(formatting.HEADER, formatting.rows(comparison.findings), right=formatting.HEADER[1:])
        console.print("")
        if nights.found:
            console.print(formatting.ADVICE)
        console.print(f"→ {path}")
        console.print(DISCLAIMER)
    raise typer.Exit(exits.of_failures(nights.found))
