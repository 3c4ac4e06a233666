"""The model card: README.md of a bundle."""

from __future__ import annotations

from typing import Any

from export.choices import Flips
from export.flips import views
from lits_deploy import DISCLAIMER
from lits_deploy.bundle import Artifact, Manifest
from lits_deploy.contract import in_hu
from lits_deploy.measured import CLASSIFIER, figures_of, measured_on, number
from lits_deploy.synthetic import BESIDE, is_synthetic
from train.data.layout import SPLITS


def model_card(manifest: Manifest) -> str:
    """Markdown text from what the manifest holds; says "not measured" where it holds nothing."""
    task, contract, artifacts, training = manifest.task, manifest.contract, manifest.artifacts, manifest.training
    window = contract.window_hu
    what = "liver-CT slice classifier" if task == "classify" else "liver and lesion segmentation"
    lines = [
        f"# {manifest.model['name']}: {what}",
        "",
        f"**{DISCLAIMER}** For research: it has not been validated for any patient.",
        "",
        "## Use",
        f"Axial abdominal CT slices, {contract.size}×{contract.size}, 8 bit grey, {contract.orientation}; window "
        + (in_hu(window) + _declared(training) if window else "unknown: the training data declared none."),
        "Classes: " + ", ".join(f"{index} {name}" for index, name in enumerate(contract.classes)) + ".",
        *_flips(manifest.model.get("flips", "none")),
        "",
        "    lits-deploy verify .",
        "    lits-deploy classify . SCANS --out OUT" if task == "classify" else "    lits-deploy benchmark .",
        "",
        "## Training",
        *_training(training),
        "",
        "## Figures",
        *_figures(manifest.metrics, artifacts, training),
        "",
        "## Artifacts",
        "| name | file | precision | for | MB | parity: slices | max abs Δp | flipped |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {a.name} | {a.file} | {a.precision} | {', '.join(a.runtimes) or 'any runtime'} | {a.bytes / 1e6:.1f} "
            f"| {a.parity['slices']} ({a.parity['origin']}) | {_delta(a.parity['max_delta'])} | {a.parity['flipped']} |"
            for a in artifacts
        ),
        "",
        *gates(artifacts, manifest.calibration_set, manifest.left_out),
        *_calibration(artifacts),
        "## Limits",
        _context(contract.channels) + " Other scanners, phases, windows, orientations and patients",
        "than those of the training data were not tried.",
        "",
    ]
    return "\n".join(lines)


def gates(artifacts: tuple[Artifact, ...], calibration_set: dict[str, Any], left_out: dict[str, Any]) -> list[str]:
    """The section on what each precision cost, and which files failed; nothing where there is only FP32."""
    judged = [(a.name, a.gate, "in the bundle") for a in artifacts if a.gate]
    judged += [(name, record["gate"], "left out") for name, record in left_out.items()]
    if not judged:
        return []
    lines = [
        "## What other precisions cost",
        "Against the original in PyTorch, slice by slice: change of each figure.",
        "",
        "| artifact | judged on | slices | flipped | lesions lost/found | accuracy | balanced | lesion AUROC | gate |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, gate, where in judged:
        for place, figures in gate["runtimes"].items():
            verdict = "passed" if figures["passed"] and gate["passed"] else f"**failed**, {where}"
            changes = " | ".join(change(figures, key) for key in ("accuracy", "balanced_accuracy", "lesion_auroc"))
            lines.append(
                f"| {name} | {place}, {gate['origin']} | {figures['slices']} | {figures['flipped']} | "
                f"{figures['lesions_lost']} / {figures['lesions_found']} of {figures['lesion_slices']} | {changes} "
                f"| {verdict} |"
            )
    lines.append("")
    for name, gate, where in judged:
        if gate["note"]:
            lines.append(f"- {name}: {gate['note']}.")
        if gate["overridden"]:
            lines.append(f"- {name}: limits were changed by hand ({'; '.join(gate['overridden'])}).")
        if gate["failures"]:
            lines.append(f"- **{name} failed** ({where}): {'; '.join(gate['failures'])}.")
        for place, figures in gate["runtimes"].items():
            if "dice" in figures["original"]:
                lines.append(f"- {name} on {place}: Dice per class {_dice(figures)}.")
    if calibration_set:
        lines.append(
            f"- INT8 ranges come from {calibration_set['slices']} slices of {len(calibration_set['patients'])} "
            f"training patients ({calibration_set['data']}; list and hash in manifest.json)."
        )
    return [*lines, ""]


def _declared(training: dict[str, Any]) -> str:
    where = training.get("window")
    return f" ({where}; the training did not record it)." if where else "."


def _context(channels: int) -> str:
    if channels == 1:
        return "A slice is judged alone, without its neighbours."
    return f"The network sees {channels} slices at once, neighbours of their series, and judges the one in the middle."


def _flips(flips: Flips) -> list[str]:
    if flips == "none":
        return []
    return [
        f"Each slice is answered together with its mirror images (test-time flips: {flips}), at {views(flips)} "
        "passes of the network; the figures of the training below are without them."
    ]


def change(figures: dict[str, Any], key: str) -> str:
    """How a figure changed from the original to the artifact: `0.850 → 0.849`."""
    return f"{number(figures['original'].get(key))} → {number(figures['artifact'].get(key))}"


def _dice(figures: dict[str, Any]) -> str:
    pairs = zip(figures["original"]["dice"], figures["artifact"]["dice"], strict=True)
    return ", ".join(f"{number(before)} → {number(after)}" for before, after in pairs)


def _delta(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.1e}"


def _calibration(artifacts: tuple[Artifact, ...]) -> list[str]:
    fitted = [artifact for artifact in artifacts if artifact.calibration.get("fitted")]
    lines = ["## Calibration"]
    if not fitted:
        why = next((f" ({a.calibration['why']})" for a in artifacts if a.calibration.get("why")), "")
        return [*lines, f"Probabilities are as trained: not calibrated{why}.", ""]
    record = fitted[0].calibration
    lines += [
        f"Fitted on {record['slices']} slices of {len(record['patients'])} patients ({record['data']}, split by "
        f"{record['split_by']}) and applied by the host; a slice whose highest probability lies under the threshold is",
        "answered `abstain`. Figures are of that same split.",
        *(["", f"**{BESIDE}**"] if is_synthetic(record) else []),
        "",
        "| artifact | temperature | log loss | calibration error (ECE) | abstains below | answered | right of those "
        "| wanted |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for a in fitted:
        before, after, rule = a.calibration["before"], a.calibration["after"], a.calibration["abstain"]
        threshold = "never" if a.abstain_below is None else f"{a.abstain_below:.3f}"
        lines.append(
            f"| {a.name} | {a.temperature:.3f} | {before['nll']:.3f} → {after['nll']:.3f} "
            f"| {before['ece']:.3f} → {after['ece']:.3f} | {threshold} "
            f"| {rule['coverage']:.1%} | {rule['accuracy']:.1%} "
            f"| {rule['wanted']:.1%}, {'reached' if rule['reached'] else '**not reached**'} |"
        )
    return [*lines, "", *_left_out(record)]


def _left_out(record: dict[str, Any]) -> list[str]:
    if left_out := record.get("left_out"):
        text = f"{len(left_out)} patients of that split are not among them: the network was trained on them."
    elif not record.get("training_known", True):
        text = "Whether the network was trained on some of these patients is not known: not all its slices were noted."
    else:
        return []
    return [text, ""]


def _training(training: dict[str, Any]) -> list[str]:
    dataset = training.get("dataset")
    if not dataset:
        return _weights(training)
    slices, patients = dataset["slices"], dataset["patients"]
    splits = [split for split in SPLITS if split in slices]
    counts = "; ".join(f"{split}: {slices[split]} slices of {len(patients[split])} patients" for split in splits)
    settings = training["settings"]
    how = {"adam": "Adam", "adamw": "AdamW"}[settings.get("optimiser", "adam")]
    recipe = settings.get("recipe", "thesis")
    return [
        f"Data set {dataset['name']} (source: {dataset.get('source') or 'not declared'}), "
        f"split by {dataset['split_by']}. {counts}.",
        f"Epoch {training['epoch']} of {settings['epochs']} ({training['checkpoint']} checkpoint), recipe {recipe}, "
        f"{how}, learning rate {settings['lr']:g}, batch {settings['batch_size']}, "
        f"class weights {settings['class_weights']}, seed {settings['seed']}.",
    ]


def _weights(training: dict[str, Any]) -> list[str]:
    how = "how they were trained is not recorded"
    if settings := training.get("settings"):
        how = f"epoch {training['epoch']} of {settings['epochs']} of a training on data that is not recorded here"
    adapted = [f"- {line}" for line in training.get("adapted", ())]
    return [f"Weights from {training.get('weights', 'unknown')}; {how}.", *adapted]


def _figures(metrics: dict[str, Any], artifacts: tuple[Artifact, ...], training: dict[str, Any]) -> list[str]:
    """Figures of every file on every split, measured on the file itself; the test split first."""
    found = {
        (a.name, split): told
        for split in ("test", "validate")
        for a in artifacts
        if (told := figures_of(metrics, a.name, split))
    }
    if not found:
        return ["Not measured: at export no data was at hand that the network had not been trained on."]
    lines = [
        "Of the exported files, measured at export; `lits-deploy evaluate` gives the same on these slices and runtime.",
        "",
    ]
    for split, note in (("test", ""), ("validate", " This split chose the weights, temperature and threshold.")):
        rows = {name: told for (name, of), told in found.items() if of == split}
        if not rows:
            lines += [f"On the {split} split: not measured: not at hand, or trained on.", ""]
            continue
        told = next(iter(rows.values()))
        lines += [f"On {measured_on(told)}{_split_by(told)}.{note}", ""]
        if told["synthetic"]:
            lines += [f"**{BESIDE}**", ""]
        lines += [*_table(rows), ""]
    if is_synthetic(training.get("dataset")):
        lines += ["The network was trained on phantoms, too.", ""]
    return lines[:-1]


def _table(rows: dict[str, dict[str, Any]]) -> list[str]:
    if all("dice" in told for told in rows.values()):
        head = "| artifact | Dice: 0, 1, 2 | IoU: 0, 1, 2 | pixel error | measured on |"
        body = [
            f"| {name} | {', '.join(map(number, told['dice']))} | {', '.join(map(number, told['iou']))} "
            f"| {number(told['pixel_error'])} | {told['runtime']} |"
            for name, told in rows.items()
        ]
    else:
        head = f"| artifact | {' | '.join(CLASSIFIER.values())} | measured on |"
        body = [
            f"| {name} | {' | '.join(number(told[key]) for key in CLASSIFIER)} | {told['runtime']} |"
            for name, told in rows.items()
        ]
    return [head, "|---" * (head.count("|") - 1) + "|", *body]


def _split_by(told: dict[str, Any]) -> str:
    by = told["split_by"]
    return {"patient": ", split by patient", None: ", how it was split is not known"}.get(by, "")
