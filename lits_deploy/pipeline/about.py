"""What a report says of the run behind it: network, contract, runtime, versions; noted in the ledger (`ABOUT`) as JSON.

No path, no time, no name of a patient or machine: a report is handed on.
"""

from __future__ import annotations

from typing import Any

from lits_deploy import __version__
from lits_deploy.bundle import Artifact, Bundle
from lits_deploy.runtime import RuntimeInfo


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
        "calibrated_on": {"slices": fitted.get("slices"), "patients": len(fitted.get("patients", ()))}
        if fitted.get("fitted")
        else None,
        "test": _test(manifest.metrics.get("test")),
    }


def _test(figures: dict[str, Any] | None) -> dict[str, Any] | None:
    """How the network did on slices it had not seen, as far as a reader of its answers needs it."""
    if not figures:
        return None
    return {key: figures[key] for key in ("slices", "split_by", "accuracy", "confusion") if key in figures}
