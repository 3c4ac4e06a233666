"""What a report says of the run behind it, noted in the ledger as JSON.

ABOUT   network, contract, runtime, versions
RAN     when, on which machine, over which scans: no path of a folder, and no name of one where paths are hashed. It is
        noted once for each start that answers slices, so that a page drawn again from the ledger is the same page
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from lits_deploy.bundle import Artifact, Bundle
from lits_deploy.drift.reference import REFERENCE
from lits_deploy.machine import cores, processor
from lits_deploy.measured import figures_of
from lits_deploy.operating_point import by_patient, point_of, promised
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.procedure import procedure_of
from lits_deploy.release import __version__
from lits_deploy.runtime import RuntimeInfo
from lits_deploy.synthetic import is_synthetic
from lits_deploy.witnesses import pair_figures, pair_lines

_AND, MACHINES_SHOWN = "; ", 6


def ran(
    before: str | None,
    started: datetime,
    scans: Sequence[str],
    options: ClassifyOptions,
    *,
    answers: bool,
) -> dict[str, Any]:
    """A record for JSON. before: the one of the ledger, or None; answers: whether this start has slices to answer.

    first, last: the starts, in UTC, that answered the first and the last slices; scans: names of the folders,
    kept where identifiers are asked for; machine: its processor, or None where the run is pseudonymous.
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
        "scans": list(scans) if named else [],
        "machine": None if options.pseudonymous else machine,
    }


def ran_elsewhere(
    before: str | None, others: Sequence[Mapping[str, Any]], scans: Sequence[str], options: ClassifyOptions
) -> dict[str, Any]:
    """The record of a run whose slices were answered by other runs (`sharding.merge`), whose records `others` are.

    before: the one of the ledger, or None: then there are others. first, last: of all of them; machine: theirs, each
    once.
    """
    records = [*([] if before is None else [json.loads(before)]), *others]
    machines = dict.fromkeys(one for each in records if each["machine"] for one in each["machine"].split(_AND))
    shown = [*list(machines)[:MACHINES_SHOWN], *(["others"] if len(machines) > MACHINES_SHOWN else [])]
    return {
        "first": min(each["first"] for each in records),
        "last": max(each["last"] for each in records),
        "scans": list(scans) if options.identify and not options.pseudonymous else [],
        "machine": None if options.pseudonymous else _AND.join(shown),
    }


def about(
    bundle: Bundle,
    artifact: Artifact,
    info: RuntimeInfo,
    *,
    abstain_below: float | None,
    operating_point: str | None = None,
) -> dict[str, Any]:
    """A record for JSON. abstain_below: what this run abstains below, or None; operating_point: as the run's option."""
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
            "source": fitted.get("source"),
            "synthetic": is_synthetic(fitted) or is_synthetic(manifest.training.get("dataset")),
        }
        if fitted.get("fitted")
        else None,
        "decided": decided(artifact, operating_point) if manifest.task == "classify" else None,
        # What the series were like that it was trained on; None: the bundle keeps nothing of them.
        REFERENCE: manifest.training.get(REFERENCE),
        # How this very file did on slices that the network had not seen; None: not measured.
        "test": figures_of(manifest.metrics, artifact.name, "test"),
        **({"pair": about_pair(bundle, artifact)} if artifact.fusion else {}),
        # How this way of training did on patients that it had not seen: of no file; None: not a folded training.
        "procedure": procedure_of(manifest.metrics),
    }


def about_pair(bundle: Bundle, artifact: Artifact) -> dict[str, Any]:
    """Of a pair: what its U-Net is, where it looks, and what each network and both do out of fold."""
    second, found = bundle.segmenter_artifact(artifact), pair_figures(bundle.manifest.metrics)
    assert bundle.segmenter is not None
    model = bundle.segmenter.manifest.model
    width = f" of width {model['width']}" if model.get("width") is not None else ""
    return {
        "network": f"{model.get('name', 'unnamed')}{width}, {second.name}, SHA-256 {second.sha256}",
        "looks": f"where the classifier's odds of no liver lie below {artifact.fusion['no_liver_below']:.3g}",
        "out_of_fold": [] if found is None else pair_lines(found),
    }


def decided(artifact: Artifact, operating_point: str | None) -> dict[str, Any]:
    """By which rule class 2 is given: rule, threshold (odds), sensitivity and specificity on new patients with their
    intervals, and a sentence on what the rule will miss (promised; by_patient: in counts of patients). None where
    nothing was promised."""
    point = point_of(artifact, operating_point)
    return {
        "rule": point.rule,
        "threshold": point.threshold,
        "sensitivity": point.sensitivity and asdict(point.sensitivity),
        "specificity": point.specificity and asdict(point.specificity),
        "promised": promised(point, artifact.promise),
        "by_patient": by_patient(point),
    }
