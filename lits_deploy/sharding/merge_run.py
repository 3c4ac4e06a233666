"""A merge as a run: what its stations know, and what run.json says of the shards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lits_deploy.bundle import Bundle
from lits_deploy.decode.decoding import Decoding
from lits_deploy.pipeline.context import RunContext, RunHooks
from lits_deploy.pipeline.naming import Naming
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.output import OutputFolder
from lits_deploy.runtime import RuntimeInfo
from lits_deploy.scans.fetch import is_object
from lits_deploy.sharding.job_folder import JobRecord
from lits_deploy.sharding.job_options import names_of
from lits_deploy.sharding.plan_listing import PlannedListing
from lits_deploy.sharding.published import PublishedShard, ShardConsensus


@dataclass(frozen=True, kw_only=True)
class MergeRun(RunContext):
    """A run whose answers come from shards. runtime_info: what those were computed with."""

    runtime_info: RuntimeInfo

    @property
    def info(self) -> RuntimeInfo:
        """As the shards' ledgers have it."""
        return self.runtime_info


def opened(
    stack: ExitStack,
    listing: PlannedListing,
    bundle: Bundle,
    agreement: ShardConsensus,
    out: Path,
    options: ClassifyOptions,
    hooks: RunHooks,
) -> MergeRun:
    """The run, whose decode workers start when something is to be read: headers for masks, slices for pictures."""
    output = stack.enter_context(
        OutputFolder(
            out, ledger_folder=options.ledger, overwrite=options.overwrite, group_readable=options.group_readable
        )
    )
    settings = options.decoding(bundle.manifest.contract, listing.within, objects=is_object(listing.base))
    return MergeRun(
        bundle=bundle,
        artifact=bundle.artifact(agreement.first.identity["artifact"]),
        options=options,
        listing=listing,
        output=output,
        naming=Naming(names=names_of(options)),
        decoding=stack.enter_context(Decoding(settings, hooks.stop, start=False)),
        hooks=hooks,
        runtime_info=agreement.info,
    )


def merge_json(
    record: JobRecord,
    shards: Mapping[int, PublishedShard],
    wanted: Sequence[PublishedShard],
    missing: Sequence[int],
    agreement: ShardConsensus,
) -> dict[str, Any]:
    """What run.json says of the shards. answered_on: each kind of machine once, with what it answered."""
    machines: dict[tuple[Any, ...], dict[str, Any]] = {}
    for one in shards.values():
        info = one.record.info
        key = one.ran["machine"], info.name, info.version, info.device
        names = ("machine", "runtime", "version", "device")
        each = machines.setdefault(key, {**dict(zip(names, key, strict=True)), "shards": 0, "seconds": 0.0})
        each["shards"] += 1
        each["seconds"] = round(each["seconds"] + one.record.seconds, 3)
    return {
        "job": record.id,
        "generation": record.generation,
        "shards": len(shards) + len(missing),
        "now": len(wanted),
        "missing": list(missing),
        "mixed": {str(number): list(names) for number, names in agreement.odd.items()},
        "answered_on": list(machines.values()),
    }


def warnings_of(agreement: ShardConsensus) -> Iterator[str]:
    """What a user should know of a mixture."""
    if agreement.odd:
        yield (
            f"Answers are mixed: {len(agreement.odd):,} shards differ from the others in {', '.join(agreement.mixed)};"
            " run.json names them."
        )
