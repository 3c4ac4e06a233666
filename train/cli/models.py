"""`lits-deploy models`: the registry as a table or JSON, without importing torch."""

from __future__ import annotations

import typer

from lits_deploy.cli import run_options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def models(as_json: bool = run_options.AS_JSON) -> None:
    """List the networks: task, parameters, input, source."""
    from lits_deploy.cli.console import print_json, table
    from train.models.registry import NETWORKS

    rows = [network.to_json() for network in NETWORKS.values()]
    if as_json:
        print_json(rows)
        return
    table(
        ("name", "task", "parameters", "input", "source"),
        [(r["name"], r["task"], f"{r['parameters']:,}", r["input"], r["source"]) for r in rows],
        right=("parameters",),
    )
