"""`lits-deploy bundle upgrade BUNDLE --out NEW`: a bundle of an older schema, written in today's."""

from __future__ import annotations

import shlex
from pathlib import Path

import typer

from lits_deploy.cli import run_options
from lits_deploy.cli.bundle.inspect import to_json


def upgrade(
    bundle: Path = typer.Argument(..., help="A bundle that an older lits-deploy made, or the zip file of one."),
    out: Path = typer.Option(..., help="Folder for the new bundle."),
    as_json: bool = run_options.AS_JSON,
) -> None:
    """Rewrite a bundle of an older schema in today's.

    Not needed to use it: older schemas can still be read. Networks, goldens and card keep their bytes, the manifest
    records the old bundle, and both bundles must verify here. The new bundle has another hash, so it does not continue
    runs of the old one.
    """
    from lits_deploy.bundle import Bundle
    from lits_deploy.cli.console import console, print_json
    from lits_deploy.manifest_history import SCHEMA, unknown_since
    from lits_deploy.upgrade import upgrade as upgrade_bundle

    schema = Bundle.open(bundle).schema
    new = upgrade_bundle(bundle, out)
    if as_json:
        print_json(to_json(new, [], packed=False))
        return
    console.print(f"→ {new.folder}: schema {schema} → {SCHEMA} (bundle {new.sha256[:12]}), verified before and after")
    for line in unknown_since(schema):
        console.print(f"note: {line}: only a new export records it")
    console.print(f"next:  lits-deploy bundle inspect {shlex.quote(str(new.folder))}")
