"""What a run is known by: the identity that an output folder goes on with, and what its tables repeat of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lits_deploy.files import canonical_json
from lits_deploy.ledger import ABOUT, RAN, RUN
from lits_deploy.pipeline.about import about
from lits_deploy.pipeline.context import RunContext
from lits_deploy.pipeline.decide import MaskDecider, PairDecider, SliceDecider
from lits_deploy.results import PROVENANCE

MIXED = "mixed"
"""In an identity: in what the machines that answered differed; and a column's value where it did (`sharding.merge`)."""


def identity_of(run: RunContext, decider: SliceDecider | PairDecider | MaskDecider) -> dict[str, Any]:
    """All that changes results; versions do not count, so that a run survives an update."""
    info = run.info
    return {
        "bundle": run.bundle.sha256,
        "artifact": run.artifact.name,
        "precision": info.precision,
        "contract": run.contract.sha256,
        "runtime": info.name,
        "device": info.device.partition(":")[0],
        **({"profile": info.profile} if info.profile else {}),  # another engine, other roundings
        **decider.to_json(),
        **run.options.reading.to_json(),
    }


def provenance_of(run: RunContext, mixed: Sequence[str] = ()) -> dict[str, str]:
    """The columns that are the same in every row (`results.PROVENANCE`). mixed: those that would not be."""
    values = {
        "run_id": run.ledger.run_id,
        "bundle": run.bundle.sha256[:12],
        "model": str(run.bundle.manifest.model.get("name", "")),
        "artifact": run.artifact.name,
        "precision": run.info.precision,
        "runtime": run.info.name,
        "contract": run.contract.sha256[:12],
    }
    return {name: MIXED if name in mixed else values[name] for name in PROVENANCE}


def note_run(run: RunContext, provenance: dict[str, str], ran: dict[str, Any], *, abstain_below: float | None) -> None:
    """Have the ledger know what its tables and its page say of the run. ran: `about.ran`."""
    notes: dict[str, dict[str, Any]] = {
        RUN: {
            "classes": run.contract.classes,
            "provenance": provenance,
            **({"pair": True} if run.artifact.fusion else {}),
        },
        ABOUT: about(
            run.bundle, run.artifact, run.info, abstain_below=abstain_below, operating_point=run.options.operating_point
        ),
        RAN: ran,
    }
    for key, value in notes.items():
        run.ledger.note(key, canonical_json(value))
