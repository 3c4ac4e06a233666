"""`lits-deploy verify BUNDLE`: prints each check; exits 3 if one fails."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lits_deploy import DISCLAIMER, exits
from lits_deploy.cli import locations, logging_options, run_options
from lits_deploy.cli.lazy import exit_codes

if TYPE_CHECKING:  # the command's help needs no numpy
    from lits_deploy.bundle import Artifact, Bundle
    from lits_deploy.verify import GoldenCheck


NOT_HERE = "This bundle must not be used here. Fix: copy it again, or export it again."


@exit_codes("0 the bundle holds here", "3 it does not")
@logging_options.reported("verify")
def verify(
    bundle: str = typer.Argument(..., help="Folder that `lits-deploy export` made, or its zip; also s3://…."),
    engine_cache: Path | None = run_options.RunOptions.engine_cache,
    endpoint: str | None = locations.ENDPOINT,
    as_json: bool = run_options.AS_JSON,
) -> None:
    """Check a bundle's hashes and goldens on this machine, without PyTorch.

    Checks every file against its hash, then every artifact, on every runtime here, against the original's outputs.
    """
    from lits_deploy.bundle import Bundle
    from lits_deploy.cli.console import print_json
    from lits_deploy.events.emit import emit
    from lits_deploy.verify import verify as verify_bundle

    locations.use_endpoint(endpoint)
    folder = locations.bundle_at(bundle)
    problems, checks = verify_bundle(folder, engine_cache=engine_cache)
    opened = None if problems else Bundle.open(folder)
    holds = bool(not problems and checks and all(check.passed for check in checks))
    if as_json:
        print_json(_record(opened, problems, checks, holds))
    else:
        _show(opened, problems, checks, holds)
    if not holds:
        failed = [f"{one.artifact}/{one.runtime}/{one.device}" for one in checks if not one.passed]
        emit("error", NOT_HERE, level=logging.ERROR, kind="BundleFails", files=len(problems), checks=failed)
        raise typer.Exit(exits.BUNDLE_FAILS)


def _record(opened: Bundle | None, problems: list[str], checks: list[GoldenCheck], holds: bool) -> dict[str, Any]:
    return {
        "holds": holds,
        "bundle": opened and opened.sha256,
        "files": opened and len(opened.digests()),
        "problems": problems,
        "checks": [{**vars(check), "passed": check.passed} for check in checks],
        "warnings": [artifact.warning for _, artifact in _artifacts(opened) if artifact.warning],
        "not_tried": {name: list(artifact.runtimes) for name, artifact in _not_tried(opened, checks)},
        "disclaimer": DISCLAIMER,
    }


def _show(opened: Bundle | None, problems: list[str], checks: list[GoldenCheck], holds: bool) -> None:
    from lits_deploy.cli.console import console

    for problem in problems:
        console.print(f"-[x] {problem}")
    if opened is not None:
        console.print(f"-[✓] {len(opened.digests())} files match their hashes (bundle {opened.sha256[:12]})")
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
    for _, artifact in _artifacts(opened):
        if artifact.warning:
            console.print(f"warning: {artifact.warning}")
    for name, artifact in _not_tried(opened, checks):
        console.print(f"-[ ] {name}: not tried, it is for {', '.join(artifact.runtimes)}, which is not here")
    if holds:
        console.print("verified")
    else:
        console.print(NOT_HERE)


def _artifacts(opened: Bundle | None) -> Iterator[tuple[str, Artifact]]:
    """Those of both networks of a pair, with the names that checks have."""
    from lits_deploy.verify import shown

    for part in filter(None, (opened, opened and opened.segmenter)):
        yield from ((shown(part, artifact.name), artifact) for artifact in part.manifest.artifacts)


def _not_tried(opened: Bundle | None, checks: list[GoldenCheck]) -> list[tuple[str, Artifact]]:
    tried = {check.artifact for check in checks}
    return [(name, artifact) for name, artifact in _artifacts(opened) if name not in tried]
