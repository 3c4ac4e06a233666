"""`lits-deploy verify BUNDLE`: prints each check; exits 3 if one fails."""

from __future__ import annotations

from pathlib import Path

import typer

from lits_deploy import exits
from lits_deploy.cli import locations, run_options
from lits_deploy.cli.lazy import exit_codes


@exit_codes("0 the bundle holds here", "3 it does not")
def verify(
    bundle: str = typer.Argument(..., help="Folder that `lits-deploy export` made, or its zip; also s3://…."),
    engine_cache: Path | None = run_options.Run.engine_cache,
    endpoint: str | None = locations.ENDPOINT,
) -> None:
    """Check a bundle's hashes and goldens on this machine, without PyTorch.

    Every file against its hash, then every artifact on every runtime here against the original's outputs.
    """
    from lits_deploy.cli.console import console
    from lits_deploy.packed import open_bundle
    from lits_deploy.verify import shown
    from lits_deploy.verify import verify as verify_bundle

    locations.use_endpoint(endpoint)
    folder = locations.bundle_at(bundle)
    problems, checks = verify_bundle(folder, engine_cache=engine_cache)
    for problem in problems:
        console.print(f"-[x] {problem}")
    if not problems:
        opened = open_bundle(folder)
        files = len(opened.digests())
        console.print(f"-[✓] {files} files match their hashes (bundle {opened.sha256[:12]})")
    for check in checks:
        where = f"{check.artifact} on {check.runtime}, {check.device}"
        if check.error is not None:
            console.print(f"-[x] {where}: {check.error}")
            continue
        v = check.verdict
        mark = "✓" if check.passed else "x"
        delta = "not finite" if v["max_delta"] is None else f"max |Δp| {v['max_delta']:.1e}"
        console.print(
            f"-[{mark}] {where}: {v['slices']} goldens, {delta} (≤ {v['tolerance']:.0e}), {v['flipped']} flipped",
        )
    if not problems:
        for part in filter(None, (opened, opened.segmenter)):
            for artifact in part.manifest.artifacts:
                name = shown(part, artifact.name)
                if artifact.warning:
                    console.print(f"warning: {artifact.warning}")
                if not any(check.artifact == name for check in checks):
                    placed = ", ".join(artifact.runtimes)
                    console.print(f"-[ ] {name}: not tried, it is for {placed}, which is not here")
    if problems or not checks or not all(check.passed for check in checks):
        console.print("This bundle must not be used here. Fix: copy it again, or export it again.")
        raise typer.Exit(exits.BUNDLE_FAILS)
    console.print("verified")
