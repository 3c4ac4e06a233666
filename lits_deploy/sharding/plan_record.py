"""What a plan is of, for its record: the bundle, what of the options changes results, and the scans."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lits_deploy.bundle import Bundle
from lits_deploy.errors import BundleError, OutputError
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.output import short
from lits_deploy.scans.listing import Listing
from lits_deploy.sharding.job_options import to_json
from lits_deploy.sharding.record import JobRecord
from lits_deploy.storage import PathOrUrl

SHARD_SLICES = 20_000
"""Slices in a shard, unless the user says otherwise: minutes of a GPU, and an hour or two of a CPU."""


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """What is to be planned.

    listing: the scans; roots: what it lists, as paths or URLs that every worker finds. options: with a salt.
    shard_slices: most slices in a shard of several series; None: as before, at first SHARD_SLICES; a function of their
    number: as before, at first what it says.
    """

    bundle: Bundle
    listing: Listing
    roots: Sequence[PathOrUrl]
    options: ClassifyOptions
    shard_slices: int | Callable[[int], int] | None = None


def record_of(asked: PlanRequest, mark: str) -> JobRecord:
    """Of a plan that has no shards yet. mark: of salt and naming."""
    bundle, listing, options = asked.bundle, asked.listing, asked.options
    return JobRecord(
        id=secrets.token_hex(8),
        generation=0,
        task=bundle.manifest.task,
        bundle=bundle.sha256,
        artifact=_artifact(bundle, options),
        contract=bundle.manifest.contract.sha256,
        options=to_json(options),
        shard_slices=SHARD_SLICES,
        mark=mark,
        base=listing.base,
        roots=tuple(str(root.absolute() if isinstance(root, Path) else root) for root in asked.roots),
        names=tuple(listing.names),
    )


def noted(new: JobRecord, listing: Listing) -> JobRecord:
    """With what a listing that is complete has noted besides scans."""
    return replace(
        new,
        others=dict(listing.others),
        own=listing.own,
        tops=tuple(sorted(listing.tops)),
        mounts=tuple(sorted(listing.mounts)),
        unlisted=dict(listing.unlisted),
    )


def _artifact(bundle: Bundle, options: ClassifyOptions) -> str | None:
    """The name of the model file that every shard uses; None where its runtime chooses among those of a precision."""
    if options.precision is None:
        return bundle.artifact(options.artifact).name
    of_it = {one.name for one in bundle.artifacts if options.precision in (one.precision, one.name)}
    if not of_it:
        had = ", ".join(dict.fromkeys(one.precision for one in bundle.manifest.artifacts))
        raise BundleError(f"{bundle.folder} has no precision `{options.precision}`.", fix=f"use one of: {had}")
    return of_it.pop() if len(of_it) == 1 else None


def check_same(before: JobRecord, now: JobRecord, where: str) -> None:
    """Raise OutputError where a plan is of something else."""
    for what in ("task", "bundle", "artifact", "contract", "options", "base"):
        there, here = getattr(before, what), getattr(now, what)
        if there == here:
            continue
        if what == "base":  # no path: it may be a patient's
            raise OutputError(f"{where} holds a plan of other scans.", fix="name the same folders, or --out elsewhere")
        if what == "options":
            what = next(name for name in sorted({*there, *here}) if there.get(name) != here.get(name))
            there, here = there.get(what), here.get(what)
        difference = f"{what} {short(there)} there, {short(here)} now"
        raise OutputError(f"{where} holds another plan ({difference}).", fix="--out elsewhere, or as it was planned")
