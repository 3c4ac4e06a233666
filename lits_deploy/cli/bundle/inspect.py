"""`lits-deploy bundle inspect`: what a stranger would ask of a bundle, on one screen of 80 columns."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lits_deploy import exits
from lits_deploy.cli import run_options

if TYPE_CHECKING:  # the command's help needs no numpy
    from lits_deploy.bundle import Artifact, Bundle

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_WIDTH, _LABEL = 79, 10
_TASKS = {"classify": "classifies slices", "segment": "segments liver and lesions"}
_KERNELS = {"box": "area mean", "bilinear": "bilinear"}


@app.command(epilog=exits.in_help("0 whole", "1 a file is missing, altered or foreign"))
def inspect(
    bundle: Path = typer.Argument(..., help="A bundle, or the zip file of one."),
    as_json: bool = run_options.AS_JSON,
) -> None:
    """Say what a bundle is, takes and answers, how good it is and on what data, and whether its files are whole.

    Runs nothing: `lits-deploy verify` does.
    """
    from lits_deploy.cli.console import console, print_json
    from lits_deploy.packed import open_bundle

    found, packed = open_bundle(bundle), bundle.is_file()
    problems = found.problems()
    if as_json:
        print_json(to_json(found, problems, packed=packed))
    else:
        for line in page(found, problems, packed=packed):
            console.print(line)
    raise typer.Exit(exits.SOME_FAILED if problems else exits.DONE)


def to_json(bundle: Bundle, problems: list[str], *, packed: bool) -> dict[str, Any]:
    """path, packed, bundle (SHA-256), schema (of manifest.json), whole, problems, manifest (in today's schema)."""
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
    lines = [f"{m.model.get('name', 'unnamed')}{width}: {_TASKS[m.task]}{size}{source}{flips}", DISCLAIMER, ""]
    lines += _item("takes", *_takes(bundle))
    lines += _item("answers", ", ".join(f"{index} {label}" for index, label in enumerate(m.contract.classes)))
    lines += _item("measured", *_measured(m.metrics, m.artifacts, m.training))
    lines += _item("trained", *_trained(m.training))
    lines += _item("exported", _versions(m.export))
    lines += _item("schema", *_schema(bundle))
    for number, artifact in enumerate(m.artifacts):
        lines += _item("" if number else "artifacts", *_artifact(artifact, m.training))
    lines += _item("bundle", bundle.sha256)
    lines += _item("contract", m.contract.sha256)
    count = 2 + len(m.files) + len(m.artifacts)
    lines += _item("files", *([f"[x] {problem}" for problem in problems] or [f"[✓] all {count} match their hashes"]))
    lines.append("")
    if problems:
        return [*lines, "This bundle must not be used. Fix: copy it again, or export it again."]
    if packed:
        return [*lines, f"next:  lits-deploy bundle unpack {name}"]
    after = f"lits-deploy classify {name} SCANS --out OUT" if m.task == "classify" else f"lits-deploy benchmark {name}"
    return [*lines, f"next:  lits-deploy verify {name}", f"       {after}"]


def _item(label: str, *paragraphs: str) -> list[str]:
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
    from lits_deploy.synthetic import BESIDE, is_synthetic

    dataset, lines, synthetic = _dict(training.get("dataset")), [], False
    for split, note in (("test", ""), ("validate", ", which chose the weights")):
        found = {a.name: told for a in artifacts if (told := figures_of(metrics, a.name, split))}
        if not found:
            lines.append(f"on the {split} split{note}: not measured on this file")
            continue
        told = next(iter(found.values()))
        synthetic = synthetic or told["synthetic"]
        lines.append(f"on {measured_on(told)}{note}")
        lines += [f"  {name} ({told['runtime']}): {figures_line(told)}" for name, told in found.items()]
    if synthetic:
        lines.insert(0, BESIDE)
    split_by = dataset.get("split_by", "unknown")
    if not any(figures_of(metrics, a.name, split) for a in artifacts for split in ("test", "validate")):
        before = _dict(metrics.get(IN_TRAINING)) or metrics  # bundles made before had them here
        if test := _dict(before.get("test")):
            mark = ", SYNTHETIC" if is_synthetic(dataset) else ""
            figures = ", ".join(
                f"{key} {_number(test[key])}" for key in ("accuracy", "balanced_accuracy") if key in test
            )
            lines.append(f"in training, before export{mark}: {figures or 'see manifest.json'}")
    if split_by == "patient":
        return [*lines, "split by patient: nobody stands on two sides"]
    if not dataset:
        return [*lines, "how the data was split is not known"]
    return [
        f"!! SPLIT BY {str(split_by).upper()} !! Slices of one patient occur in both train and test, so the figures "
        "are too high: they say nothing about new patients.",
        *lines,
    ]


def _trained(training: dict[str, Any]) -> list[str]:
    dataset, settings = _dict(training.get("dataset")), _dict(training.get("settings"))
    if not dataset:
        return [f"weights from {training.get('weights', 'unknown')}; how they were trained is not recorded"]
    slices, patients = _dict(dataset.get("slices")), _dict(dataset.get("patients"))
    train = f"{_count(slices.get('train'), 'slice')} of {_count(patients.get('train'), 'patient')}"
    epochs = f"epoch {training.get('epoch', '?')} of {settings.get('epochs', '?')}"
    told = [
        f"{epochs} ({training.get('checkpoint', 'unknown')} checkpoint)",
        *(
            f"{title} {settings[key]}"
            for key, title in (
                ("lr", "learning rate"),
                ("batch_size", "batch"),
                ("class_weights", "class weights"),
                ("augment", "augmentation"),
                ("seed", "seed"),
            )
            if key in settings
        ),
    ]
    return [
        f"on {train} of {dataset.get('name', 'unknown')} (source: {dataset.get('source') or 'not declared'})",
        ", ".join(told),
        _versions(_dict(training.get("made_with"))),
    ]


def _artifact(artifact: Artifact, training: dict[str, Any]) -> list[str]:
    from lits_deploy.synthetic import is_synthetic

    parity, record = artifact.parity, artifact.calibration
    size = f"{artifact.bytes / 1e6:,.1f} MB"
    head = f"{artifact.name}: {artifact.file}, {artifact.precision}, {size}, opset {artifact.opset}"
    if parity:
        delta = parity.get("max_delta")
        compared = (
            f"parity: {_count(parity.get('slices'), 'slice')} ({parity.get('origin', 'unknown')}), max |Δp| "
            + ("not finite" if not isinstance(delta, float) else f"{delta:.1e}")
            + f" (≤ {artifact.tolerance:.0e}), {parity.get('flipped', '?')} flipped"
        )
    else:
        compared = "parity: never compared with the original"
    if not record.get("fitted"):
        why = f" ({record['why']})" if record.get("why") else ""
        return [
            head,
            f"  {compared}",
            f"  not calibrated{why}: temperature {artifact.temperature:g}, {_rule(artifact)}",
        ]
    synthetic = " (SYNTHETIC)" if is_synthetic(record) or is_synthetic(training.get("dataset")) else ""
    before, after, rule = (_dict(record.get(key)) for key in ("before", "after", "abstain"))
    return [
        head,
        f"  {compared}",
        f"  calibrated on {_count(record.get('slices'), 'slice')} of {record.get('data', 'unknown')}{synthetic}: "
        f"temperature {artifact.temperature:.3f}, "
        f"calibration error {_number(before.get('ece'))} → {_number(after.get('ece'))}, "
        f"{_rule(artifact)}; {_answered(rule)}",
    ]


def _rule(artifact: Artifact) -> str:
    return "never abstains" if artifact.abstain_below is None else f"abstains below {artifact.abstain_below:.3f}"


def _answered(rule: dict[str, Any]) -> str:
    """What the threshold, or answering everything, gives on the slices it was fitted on, and whether that is enough."""
    wanted, reached = _percent(rule.get("wanted")), rule.get("reached")
    enough = {True: "reached", False: "NOT REACHED"}.get(reached) if isinstance(reached, bool) else "not recorded"
    return (
        f"answered {_percent(rule.get('coverage'))} of them, right of those {_percent(rule.get('accuracy'))} "
        f"(wanted {wanted}: {enough})"
    )


def _versions(made_with: dict[str, Any]) -> str:
    """Versions and revision of whatever is recorded, the date first where there is one."""
    told = [str(made_with["date"])] if made_with.get("date") else []
    for key, value in made_with.items():
        if key == "git":
            told.append(f"revision {str(value)[:12]}" if value else "no revision (installed wheel)")
        elif key not in ("date", "machine", "upgraded"):
            told.append(f"{key.replace('_', '-')} {value}")
    return ", ".join(told) or "with what is not recorded"


def _schema(bundle: Bundle) -> list[str]:
    """Where a bundle is of an older schema, or was once; nothing for others."""
    from lits_deploy.manifest_history import SCHEMA, UPGRADED

    told = bundle.manifest.export.get(UPGRADED)
    lines = [
        f"upgraded from schema {one.get('from_schema', '?')} (bundle {str(one.get('manifest_sha256'))[:12]})"
        for one in (told if isinstance(told, list) else [])
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
