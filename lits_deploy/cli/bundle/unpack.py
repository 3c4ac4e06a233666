"""`lits-deploy bundle unpack FILE.zip`: a bundle, checked before anything is written."""

from __future__ import annotations

import shlex
from pathlib import Path

import typer

from lits_deploy.cli import run_options
from lits_deploy.cli.bundle.inspect import to_json


def unpack(
    file: Path = typer.Argument(..., help="Zip file that `lits-deploy bundle pack` made."),
    out: Path | None = typer.Option(None, help="Folder of the bundle. [default: its name in the zip, here]"),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace OUT where it is a bundle."),
    as_json: bool = run_options.AS_JSON,
) -> None:
    """Unpack a bundle from its zip file.

    A file that escapes its folder, holds anything that its manifest does not name, or was altered is refused, and
    nothing is left behind.
    """
    from lits_deploy.cli.console import console, print_json
    from lits_deploy.packing import unpack as unpack_bundle

    bundle = unpack_bundle(file, out, overwrite=overwrite)
    if as_json:
        print_json(to_json(bundle, [], packed=False))
        return
    count = len(bundle.digests())
    console.print(f"→ {bundle.folder}: {count} files match their hashes (bundle {bundle.sha256[:12]})")
    console.print(f"next:  lits-deploy verify {shlex.quote(str(bundle.folder))}")
