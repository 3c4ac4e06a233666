"""`lits-deploy bundle pack BUNDLE`: one zip file, and its SHA-256 to pass on beside it."""

from __future__ import annotations

from pathlib import Path

import typer

from lits_deploy.cli import run_options


def pack(
    bundle: Path = typer.Argument(..., help="Folder that `lits-deploy export` made."),
    out: Path | None = typer.Option(None, help="Zip file to write. [default: the bundle's name + .zip, here]"),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace OUT where it exists."),
    as_json: bool = run_options.AS_JSON,
) -> None:
    """Pack a bundle into one zip file, with the same hashes inside; equal bundles give equal bytes."""
    from lits_deploy.cli.console import console, print_json
    from lits_deploy.files import sha256_file
    from lits_deploy.packing import pack as pack_bundle

    path = pack_bundle(bundle, out, overwrite=overwrite)
    size, sha256 = path.stat().st_size, sha256_file(path)
    if as_json:
        print_json({"path": str(path), "bytes": size, "sha256": sha256})
        return
    console.print(f"→ {path}, {size / 1e6:,.1f} MB")
    console.print(f"{sha256}  {path.name}")
    console.print(f"next:  lits-deploy bundle unpack {path.name}   (there, after sha256sum gave the same)")
