"""What a report says of the run behind it, noted in the ledger as JSON.

ABOUT   network, contract, runtime, versions
RAN     when, on which machine, over which scans: no path of a folder, and no name of one where paths are hashed. It is
        noted once for each start that answers slices, so that a page drawn again from the ledger is the same page
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lits_deploy import __version__
from lits_deploy.bundle import Artifact, Bundle
from lits_deploy.machine import cores, processor
from lits_deploy.measured import figures_of
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.runtime import RuntimeInfo
from lits_deploy.scans.paths import escape
from lits_deploy.synthetic import is_synthetic


def ran(
    before: str | None,
    started: datetime,
    roots: Sequence[Path],
    options: ClassifyOptions,
    *,
    answers: bool,
) -> dict[str, Any]:
    """A record for JSON. before: the one of the ledger, or None; answers: whether this start has slices to answer.

    first, last: the starts, in UTC, that answered the first and the last slices; scans: names of the folders, where
    identifiers are asked for; machine: its processor, or None where the run is pseudonymous.
    """
    noted: dict[str, Any] = {} if before is None else json.loads(before)
    if noted and not answers:
        return noted
    now = started.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    machine = f"{processor()}, {cores()} core{'' if cores() == 1 else 's'}"
    named = options.identify and not options.pseudonymous
    return {
        "first": noted.get("first", now),
        "last": now,
        "scans": [escape(root.resolve().name) for root in roots] if named else [],
        "machine": None if options.pseudonymous else machine,
    }


def about(bundle: Bundle, artifact: Artifact, info: RuntimeInfo, *, abstain_below: float | None) -> dict[str, Any]:
    """A record for JSON. abstain_below: what this run abstains below, or None."""
    manifest, fitted = bundle.manifest, artifact.calibration
    return {
        "lits_deploy": __version__,
        "task": manifest.task,
        "bundle": bundle.sha256,
        "model": {"name": manifest.model.get("name", ""), "parameters": manifest.model.get("parameters")},
        "contract": {**manifest.contract.to_json(), "sha256": manifest.contract.sha256},
        "artifact": {"name": artifact.name, "sha256": artifact.sha256, "warning": artifact.warning},
        "runtime": {
            "name": info.name,
            "version": info.version,
            "device": info.device,
            "precision": info.precision,
            "providers": list(info.providers),
        },
        "temperature": artifact.temperature,
        "abstain_below": abstain_below,
        "calibrated_on": {
            "slices": fitted.get("slices"),
            "patients": len(fitted.get("patients", ())),
            "synthetic": is_synthetic(fitted) or is_synthetic(manifest.training.get("dataset")),
        }
        if fitted.get("fitted")
        else None,
        # How this very file did on slices that the network had not seen; None: not measured.
        "test": figures_of(manifest.metrics, artifact.name, "test"),
    }
