"""`lits-deploy bundle upgrade`: a bundle of an older schema, written in today's.

Networks, goldens and card keep their bytes; the manifest says what it was upgraded from. Both bundles must hold on this
machine. What nobody measured then stays unknown: only `export` can measure it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lits_deploy.bundle import MANIFEST, MANIFEST_HASH, Bundle, write_manifest
from lits_deploy.errors import BundleError, OutputError
from lits_deploy.manifest_history import SCHEMA, UPGRADED
from lits_deploy.packing import copy_files, workplace
from lits_deploy.release import __version__
from lits_deploy.verify import verify


def upgrade(folder: Path, out: Path) -> Bundle:
    """Write a bundle (a folder or zip file) in today's schema to a new folder, in one rename, and open it.

    Equal bundles give equal bytes. Raises BundleError where there is nothing to upgrade, or a bundle does not hold
    here; OutputError where `out` is there or cannot be written.
    """
    bundle = Bundle.open(folder)
    if bundle.schema == SCHEMA:
        raise BundleError(f"{folder} has today's schema ({SCHEMA}): nothing to upgrade.", fix="use it unchanged")
    if out.is_symlink() or out.exists():
        raise OutputError(f"{out} exists already.", fix="give another --out")
    if folder.resolve() in out.resolve().parents:
        raise OutputError(f"{out} would lie inside the bundle.", fix="--out elsewhere")
    _check(folder, f"{folder} does not hold here, so it is not upgraded")
    names = sorted(set(bundle.digests()) - {MANIFEST, MANIFEST_HASH})
    step = {"from_schema": bundle.schema, "manifest_sha256": bundle.sha256, "lits_deploy": __version__}
    before = bundle.manifest.export.get(UPGRADED)
    export = {**bundle.manifest.export, UPGRADED: [*(before if isinstance(before, list) else []), step]}
    try:
        with workplace(out, sum(artifact.bytes for artifact in bundle.manifest.all_artifacts)) as new:
            copy_files(bundle, names, new)
            write_manifest(new, replace(bundle.manifest, export=export))
            _check(new, f"{folder} does not hold here in today's schema, so that is not written")
            new.replace(out)
    except OSError as error:
        raise OutputError(f"{out} cannot be written ({error.strerror}).", fix="--out elsewhere") from error
    return Bundle.open(out)


def _check(folder: Path, says: str) -> None:
    """BundleError unless `verify` passes."""
    problems, checks = verify(folder)
    found = problems or [
        f"{check.artifact} on {check.runtime}: {check.error or 'other answers than its goldens'}"
        for check in checks
        if not check.passed
    ]
    if not found and not checks:
        found = ["no runtime for it is installed"]
    if found:
        raise BundleError(f"{says}: {found[0]}", fix="`lits-deploy verify` tells all")
