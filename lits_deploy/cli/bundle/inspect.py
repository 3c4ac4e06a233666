"""`lits-deploy bundle inspect`: what a stranger would ask of a bundle, on one screen of 80 columns."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import typer

from lits_deploy import exits
from lits_deploy.cli import locations, run_options
from lits_deploy.cli.lazy import exit_codes

if TYPE_CHECKING:  # the command's help needs no numpy
    from lits_deploy.bundle import Artifact, Bundle


_WIDTH, _LABEL = 79, 10
_TASKS = {"classify": "classifies slices", "segment": "segments liver and lesions"}
_KERNELS = {"box": "area mean", "bilinear": "bilinear"}


@exit_codes("0 whole", "1 a file is missing, altered or foreign")
def inspect(
    bundle: str = typer.Argument(..., help="A bundle, or the zip file of one; also s3://…."),
    as_json: bool = run_options.AS_JSON,
    endpoint: str | None = locations.ENDPOINT,
) -> None:
    """Say what a bundle is, takes and answers, how good it is and on what data, and whether its files are whole.

    Runs nothing: `lits-deploy verify` does.
    """
    from lits_deploy.bundle import Bundle
    from lits_deploy.cli.console import console, print_json

    locations.use_endpoint(endpoint)
    path = locations.bundle_at(bundle)
    found, packed = Bundle.open(path), path.is_file()
    problems = found.problems()
    if as_json:
        print_json(to_json(found, problems, packed=packed))
    else:
        for line in page(found, problems, packed=packed):
            console.print(line)
    raise typer.Exit(exits.SOME_FAILED if problems else exits.DONE)


def to_json(bundle: Bundle, problems: list[str], *, packed: bool) -> dict[str, Any]:
    """path, packed, bundle (SHA-256), schema (of manifest.json), whole, problems, manifest (in today's schema).

    Commands that make a bundle print the same of it.
    """
    return {
        "path": str(bundle.folder),
        "packed": packed,
        "bundle": bundle.sha256,
        "schema": bundle.schema,
        "whole": not problems,
        "problems": problems,
        "manifest": bundle.manifest.to_json(),
    }


def page(bundle: Bundle, problems: list[str], *, packed: bool) -> list[str]:
    """All lines; what the manifest does not tell is said to be unknown, never left out."""
    from lits_deploy import DISCLAIMER

    m, name = bundle.manifest, shlex.quote(str(bundle.folder))
    parameters = m.model.get("parameters")
    size = f", {parameters:,} parameters" if isinstance(parameters, int) else ""
    source = f" ({m.model['source']} of the thesis)" if m.model.get("source") else ""
    width = f", width {m.model['width']}" if m.model.get("width") is not None else ""
    flips = f", test-time flips: {m.model['flips']}" if m.model.get("flips") else ""
    count = len(bundle.digests())
    facts = {
        "takes": _takes(bundle),
        "answers": [", ".join(f"{index} {label}" for index, label in enumerate(m.contract.classes))],
        "will miss": _misses(m.artifacts, m.metrics) if m.task == "classify" else [],
        "measured": _measured(m.metrics, m.artifacts, m.training),
        "witnesses": _witnesses(bundle),
        "trained": _trained(m.training),
        "exported": [_versions(m.export)],
        "schema": _schema(bundle),
        "artifacts": [line for artifact in m.artifacts for line in _artifact(artifact, m.training)],
        "U-Net": [] if m.segmenter is None else [line for one in m.segmenter.artifacts for line in _artifact(one, {})],
        "bundle": [bundle.sha256],
        "contract": [m.contract.sha256],
        "files": [f"[x] {problem}" for problem in problems] or [f"[✓] all {count} match their hashes"],
    }
    lines = [f"{m.model.get('name', 'unnamed')}{width}: {_TASKS[m.task]}{size}{source}{flips}", DISCLAIMER, ""]
    for label, paragraphs in facts.items():
        lines += _item(label, paragraphs)
    lines.append("")
    if problems:
        return [*lines, "This bundle must not be used. Fix: copy it again, or export it again."]
    if packed:
        return [*lines, f"next:  lits-deploy bundle unpack {name}"]
    after = f"lits-deploy classify {name} SCANS --out OUT" if m.task == "classify" else f"lits-deploy benchmark {name}"
    return [*lines, f"next:  lits-deploy verify {name}", f"       {after}"]


def _item(label: str, paragraphs: list[str]) -> list[str]:
    import textwrap

    lines: list[str] = []
    for paragraph in paragraphs:
        further = 4 if paragraph.startswith(" ") else 0
        head, indent = f"{'' if lines else label:<{_LABEL}}", " " * (_LABEL + further)
        lines += textwrap.wrap(paragraph, _WIDTH, initial_indent=head, subsequent_indent=indent, break_on_hyphens=False)
    return lines


def _takes(bundle: Bundle) -> list[str]:
    from lits_deploy.contract import in_hu

    contract = bundle.manifest.contract
    window, declared = contract.window_hu, bundle.manifest.training.get("window")
    seen = (
        f"window {in_hu(window)}" + (" (declared at export)" if declared else "")
        if window
        else "window unknown: DICOM and NIfTI are refused, PNG is not"
    )
    other = _KERNELS.get(contract.resize)
    resized = f"other square sizes are resized ({other})" if other else "other sizes are refused"
    crop = f"; the graph sees the middle {contract.crop}×{contract.crop}" if contract.crop else ""
    channels = "8 bit grey" if contract.channels == 1 else f"8 bit, {contract.channels} channels"
    return [
        f"axial CT slices, {contract.size}×{contract.size}, {channels}, {contract.orientation}",
        seen,
        f"{resized}{crop}",
    ]


def _measured(metrics: dict[str, Any], artifacts: tuple[Artifact, ...], training: dict[str, Any]) -> list[str]:
    """Figures of the files themselves, of each on each split; what only training measured is said to be that."""
    from lits_deploy.measured import IN_TRAINING, figures_line, figures_of, measured_on
    from lits_deploy.procedure import procedure_of, taught_by_all
    from lits_deploy.synthetic import CAVEAT, is_synthetic

    dataset, lines = _dict(training.get("dataset")), []
    measured, procedure = False, procedure_of(metrics)
    whose = "this file, " if procedure else ""
    fitted = any(a.calibration.get("fitted") for a in artifacts)
    held_out = ", not trained on" + (", but used to set its thresholds" if fitted else "")
    for split, note in (("test", ""), ("validate", held_out if procedure else ", which chose the weights")):
        found = {a.name: figures for a in artifacts if (figures := figures_of(metrics, a.name, split))}
        if not found and split == "validate" and taught_by_all(training):
            lines.append(f"{whose}on patients of train and validate: none, all of them taught it")
            continue
        if not found:
            lines.append(
                f"{whose}on the {split} split: not measured"
                if whose
                else f"on the {split} split{note}: not measured on this file"
            )
            continue
        figures = next(iter(found.values()))
        if figures["synthetic"] and CAVEAT not in lines:
            lines.insert(0, CAVEAT)
        lines.append(f"{whose}on {measured_on(figures)}{note}")
        lines += [f"  {name} ({figures['runtime']}): {figures_line(figures)}" for name, figures in found.items()]
        measured = True
    split_by = dataset.get("split_by", "unknown")
    if not measured:
        before = _dict(metrics.get(IN_TRAINING)) or metrics  # bundles made before had them here
        if test := _dict(before.get("test")):
            mark = ", SYNTHETIC" if is_synthetic(dataset) else ""
            names = [key for key in ("accuracy", "balanced_accuracy") if key in test]
            shown = ", ".join(f"{key} {_number(test[key])}" for key in names)
            lines.append(f"in training, before export{mark}: {shown or 'see manifest.json'}")
    lines += _procedure(metrics, artifacts[0].operating_point)
    if split_by == "patient":
        return [*lines, "split by patient: no patient is in two of train, validate and test"]
    if not dataset:
        return [*lines, "how the data was split is not known"]
    return [
        f"!! SPLIT BY {str(split_by).upper()} !! Slices of one patient occur in both train and test, so the figures "
        "are too high: they say nothing about new patients.",
        *lines,
    ]


def _witnesses(bundle: Bundle) -> list[str]:
    """Of a pair: which two networks, and what each and both do out of fold; nothing for other bundles."""
    from lits_deploy.witnesses import pair_figures, pair_lines

    inner, fusion = bundle.manifest.segmenter, bundle.manifest.artifacts[0].fusion
    if inner is None:
        return []
    rule = (
        f"the classifier answers every slice; {inner.model.get('name', 'unnamed')} looks where its odds of no liver "
        f"lie below {fusion['no_liver_below']:.3g}"
    )
    found = pair_figures(bundle.manifest.metrics)
    return [rule, *(["not measured"] if found is None else pair_lines(found))]


def _misses(artifacts: tuple[Artifact, ...], metrics: dict[str, Any]) -> list[str]:
    """What the first file is expected to miss on new patients, by its own rule, what it missed on its test split, and
    which rules there are besides."""
    from lits_deploy.measured import figures_of, lesions_line
    from lits_deploy.operating_point import ARGMAX, by_patient, odds_text, point_of, promised

    artifact = artifacts[0]
    point, test = point_of(artifact), figures_of(metrics, artifacts[0].name, "test")
    measured = None
    if test is not None and test.get("rule", ARGMAX) == point.rule:
        measured = lesions_line(test, abstains=artifact.abstain_below is not None)
    if (sentence := promised(point, artifact.promise)) is None:
        return ["not known: export it with labelled patients that it was not trained on", *filter(None, [measured])]
    lines = [sentence, *filter(None, [by_patient(point), measured])]
    rules = [record["rule"] for record in artifact.operating_points]
    threshold = "" if point.threshold is None else f", odds of {odds_text(point.threshold, artifact)} or more"
    return [*lines, f"rule: {point.rule}{threshold}; `classify --operating-point` takes {', '.join(rules)}"]


def _procedure(metrics: dict[str, Any], rule: str) -> list[str]:
    """Of a folded training: figures of the procedure, which are no file's, and what ties the file to them."""
    from lits_deploy.procedure import (
        agreement_line,
        agreement_of,
        cost_line,
        cost_of,
        procedure_line,
        procedure_of,
        procedure_on,
    )

    found = procedure_of(metrics)
    if found is None:
        return []
    lines = [f"the procedure, {procedure_on(found)}", f"  {procedure_line(found, rule)}"]
    if agreement := agreement_of(metrics):
        lines.append(f"this file {agreement_line(agreement)}")
    if cost := cost_of(metrics):
        lines.append(f"this file takes {cost_line(cost)}")
    return lines


def _trained(training: dict[str, Any]) -> list[str]:
    from lits_deploy.drift.compare import promise
    from lits_deploy.drift.reference import REFERENCE, DriftReference

    dataset, settings = _dict(training.get("dataset")), _dict(training.get("settings"))
    if not dataset:
        return [f"weights from {training.get('weights', 'unknown')}; how they were trained is not recorded"]
    slices, patients = _dict(dataset.get("slices")), _dict(dataset.get("patients"))
    from lits_deploy.procedure import made_of

    train = f"{_count(slices.get('train'), 'slice')} of {_count(patients.get('train'), 'patient')}"
    epochs = f"epoch {training.get('epoch', '?')} of {settings.get('epochs', '?')}"
    titles = {
        "lr": "learning rate",
        "batch_size": "batch",
        "class_weights": "class weights",
        "augment": "augmentation",
        "seed": "seed",
    }
    parts = [f"{title} {settings[key]}" for key, title in titles.items() if key in settings]
    parts.insert(0, f"{epochs} ({training.get('checkpoint', 'unknown')} checkpoint)")
    made = made_of(training)
    return [
        *([made] if made else []),
        f"on {train} of {dataset.get('name', 'unknown')} (source: {dataset.get('source') or 'not declared'})",
        ", ".join(parts),
        _versions(_dict(training.get("made_with"))),
        promise(DriftReference.from_json(training.get(REFERENCE))),
    ]


def _artifact(artifact: Artifact, training: dict[str, Any]) -> list[str]:
    from lits_deploy.operating_point import OUT_OF_FOLD
    from lits_deploy.procedure import moved_line
    from lits_deploy.synthetic import is_synthetic

    parity, record = artifact.parity, artifact.calibration
    size = f"{artifact.bytes / 1e6:,.1f} MB"
    head = f"{artifact.name}: {artifact.file}, {artifact.precision}, {size}, opset {artifact.opset}"
    compared = "  parity: never compared with the original"
    if parity:
        delta = parity.get("max_delta")
        delta = f"{delta:.1e}" if isinstance(delta, float) else "not finite"
        slices = f"{_count(parity.get('slices'), 'slice')} ({parity.get('origin', 'unknown')})"
        limits = f"(≤ {artifact.tolerance:.0e}), {parity.get('flipped', '?')} flipped"
        compared = f"  parity: {slices}, max |Δp| {delta} {limits}"
    if not record.get("fitted"):
        why = f" ({record['why']})" if record.get("why") else ""
        return [head, compared, f"  not calibrated{why}: temperature {artifact.temperature:g}, {_rule(artifact)}"]
    synthetic = " (SYNTHETIC)" if is_synthetic(record) or is_synthetic(training.get("dataset")) else ""
    before, after, rule = (_dict(record.get(key)) for key in ("before", "after", "abstain"))
    how = f" {OUT_OF_FOLD}" if record.get("source") == OUT_OF_FOLD else ""
    calibrated = (
        f"  calibrated{how} on {_count(record.get('slices'), 'slice')} of {record.get('data', 'unknown')}{synthetic}: "
        f"temperature {artifact.temperature:.3f}, "
        f"calibration error {_number(before.get('ece'))} → {_number(after.get('ece'))}, "
        f"{_rule(artifact)}; {_classified(rule)}"
    )
    moved = moved_line(record)
    return [head, compared, calibrated, *([f"  these numbers: {moved}"] if moved else [])]


def _rule(artifact: Artifact) -> str:
    return "never abstains" if artifact.abstain_below is None else f"abstains below {artifact.abstain_below:.3f}"


def _classified(rule: dict[str, Any]) -> str:
    """What the threshold, or classifying all, gives on the slices it was fitted on, and whether that is enough."""
    wanted, reached = _percent(rule.get("wanted")), rule.get("reached")
    enough = {True: "reached", False: "NOT REACHED"}.get(reached) if isinstance(reached, bool) else "not recorded"
    return (
        f"classified {_percent(rule.get('coverage'))} of them, right of those {_percent(rule.get('accuracy'))} "
        f"(wanted {wanted}: {enough})"
    )


def _versions(made_with: dict[str, Any]) -> str:
    """Versions and revision of whatever is recorded, the date first where there is one."""
    parts = [str(made_with["date"])] if made_with.get("date") else []
    for key, value in made_with.items():
        if key == "git":
            parts.append(f"revision {str(value)[:12]}" if value else "no revision (installed wheel)")
        elif key not in ("date", "machine", "upgraded"):
            parts.append(f"{key.replace('_', '-')} {value}")
    return ", ".join(parts) or "with what is not recorded"


def _schema(bundle: Bundle) -> list[str]:
    """Where a bundle is of an older schema, or was once; nothing for others."""
    from lits_deploy.manifest_history import SCHEMA, UPGRADED

    upgrades = bundle.manifest.export.get(UPGRADED)
    lines = [
        f"upgraded from schema {one.get('from_schema', '?')} (bundle {str(one.get('manifest_sha256'))[:12]})"
        for one in (upgrades if isinstance(upgrades, list) else [])
        if isinstance(one, dict)
    ]
    if bundle.schema != SCHEMA:
        lines.append(f"{bundle.schema}, read as {SCHEMA}; `lits-deploy bundle upgrade` writes it so")
    return lines


def _count(value: Any, noun: str) -> str:
    number = len(value) if isinstance(value, list) else value
    return f"{number:,} {noun}{'' if number == 1 else 's'}" if isinstance(number, int) else f"unknown {noun}s"


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, (int, float)) else "not defined"


def _percent(value: Any) -> str:
    return f"{100 * value:.1f} %" if isinstance(value, (int, float)) else "not recorded"


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
