"""`lits-deploy models`: the registry as a table or JSON, without importing torch."""

from __future__ import annotations

from lits_deploy.cli import run_options


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
