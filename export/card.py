"""The model card: README.md of a bundle."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from export.choices import Flips
from export.flips import views
from lits_deploy import DISCLAIMER
from lits_deploy.bundle import CARD, SEGMENTER, Artifact, Manifest
from lits_deploy.contract import in_hu
from lits_deploy.drift.compare import promise
from lits_deploy.drift.reference import REFERENCE, DriftReference
from lits_deploy.measured import CLASSIFIER, figures_of, lesions_line, measured_on, number
from lits_deploy.operating_point import ARGMAX, OUT_OF_FOLD, OperatingPoint, by_patient, odds_text, point_of, promised
from lits_deploy.procedure import (
    agreement_line,
    agreement_of,
    cost_line,
    cost_of,
    its_part,
    made_of,
    moved_line,
    procedure_of,
    procedure_on,
    span,
    taught_by_all,
)
from lits_deploy.synthetic import CAVEAT, is_synthetic
from lits_deploy.witnesses import FIGURES, WITNESSES, figure_text, looks_line, pair_figures, pair_lines
from train.data.layout import SPLITS


def model_card(manifest: Manifest) -> str:
    """Markdown text from what the manifest holds; says "not measured" where it holds nothing."""
    task, contract, artifacts, training = manifest.task, manifest.contract, manifest.artifacts, manifest.training
    window = contract.window_hu
    files = [
        f"| {a.name} | {a.file} | {a.precision} | {', '.join(a.runtimes) or 'any runtime'} | {a.bytes / 1e6:.1f} "
        f"| {a.parity['slices']} ({a.parity['origin']}) | {delta(a.parity['max_delta'])} | {a.parity['flipped']} |"
        for a in artifacts
    ]
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
        *_rule(artifacts[0]),
        *_flips(manifest.model.get("flips", "none")),
        "",
        "    lits-deploy verify .",
        "    lits-deploy classify . SCANS --out OUT" if task == "classify" else "    lits-deploy benchmark .",
        "",
        *(_misses(artifacts, manifest.metrics, training) if task == "classify" else []),
        "## Training",
        *_training(training),
        "",
        "## Figures",
        *_figures(manifest.metrics, artifacts, training),
        "",
        *_pair(manifest),
        "## Artifacts",
        *_table("name | file | precision | for | MB | parity: slices | max abs Δp | flipped", files),
        "",
        *_gates(artifacts, manifest.calibration_set, manifest.left_out),
        *_calibration(artifacts),
        "## Limits",
        _context(contract.channels) + " Other scanners, phases, windows, orientations and patients",
        "than those of the training data were not tried.",
        promise(DriftReference.from_json(training.get(REFERENCE))),
        "",
    ]
    return "\n".join(lines)


def _gates(artifacts: tuple[Artifact, ...], calibration_set: dict[str, Any], left_out: dict[str, Any]) -> list[str]:
    """The section on what each precision cost, and which files failed; nothing where there is only FP32."""
    gated = [(a.name, a.gate, "in the bundle") for a in artifacts if a.gate]
    gated += [(name, record["gate"], "left out") for name, record in left_out.items()]
    if not gated:
        return []
    rows, notes = [], []
    for name, gate, where in gated:
        for target, figures in gate["runtimes"].items():
            verdict = "passed" if figures["passed"] and gate["passed"] else f"**failed**, {where}"
            changes = " | ".join(
                f"{number(figures['original'].get(key))} → {number(figures['artifact'].get(key))}"
                for key in ("accuracy", "balanced_accuracy", "lesion_auroc")
            )
            rows.append(
                f"| {name} | {target}, {gate['origin']} | {figures['slices']} | {figures['flipped']} | "
                f"{figures['lesions_lost']} / {figures['lesions_found']} of {figures['lesion_slices']} | {changes} "
                f"| {verdict} |"
            )
        if gate["note"]:
            notes.append(f"- {name}: {gate['note']}.")
        if gate["overridden"]:
            notes.append(f"- {name}: limits were changed by hand ({'; '.join(gate['overridden'])}).")
        if gate["failures"]:
            notes.append(f"- **{name} failed** ({where}): {'; '.join(gate['failures'])}.")
        for target, figures in gate["runtimes"].items():
            if "dice" in figures["original"]:
                pairs = zip(figures["original"]["dice"], figures["artifact"]["dice"], strict=True)
                dice = ", ".join(f"{number(before)} → {number(after)}" for before, after in pairs)
                notes.append(f"- {name} on {target}: Dice per class {dice}.")
    if calibration_set:
        notes.append(
            f"- INT8 ranges come from {calibration_set['slices']} slices of {len(calibration_set['patients'])} "
            f"training patients ({calibration_set['data']}; list and hash in manifest.json)."
        )
    head = "artifact | checked on | slices | flipped | lesions lost/found | accuracy | balanced | lesion AUROC | gate"
    return [
        "## What other precisions cost",
        "Against the original in PyTorch, slice by slice: change of each figure. Classes are the most probable ones "
        "here, whatever rule is in force.",
        "",
        *_table(head, rows),
        "",
        *notes,
        "",
    ]


def _declared(training: dict[str, Any]) -> str:
    where = training.get("window")
    return f" ({where}; the training did not record it)." if where else "."


def _context(channels: int) -> str:
    if channels == 1:
        return "A slice is answered alone, without its neighbours."
    return f"The network sees {channels} slices at once, neighbours of their series, and answers the one in the middle."


def _pair(manifest: Manifest) -> list[str]:
    """The section on a pair's two networks; nothing for other bundles."""
    if manifest.segmenter is None or (found := pair_figures(manifest.metrics)) is None:
        return []
    inner, fusion = manifest.segmenter, manifest.artifacts[0].fusion
    width = f" of width {inner.model['width']}" if inner.model.get("width") is not None else ""
    rows = [
        f"| {title} | " + " | ".join(figure_text(found[name][key]) for key in FIGURES) + " |"
        for name, title in WITNESSES.items()
    ]
    return [
        "## Two witnesses",
        f"The classifier answers every slice. A U-Net ({inner.model.get('name', 'unnamed')}{width}, card in "
        f"{SEGMENTER}{CARD}) looks where the classifier's odds of no liver lie below {fusion['no_liver_below']:.3g}, "
        "and nowhere else. The log odds of a lesion by both are",
        "",
        f"    {fusion['intercept']:.3f} + {fusion['classifier']:.3f} ln(p2 / (p0 + p1)) "
        f"+ {fusion['tumour']:.3f} ln(1 + tumour pixels)",
        "",
        "and give class 2, suspicion and rank; p0 to p2 stay the classifier's. Of the procedure, "
        f"{pair_lines(found)[0]}",
        "",
        *_table(f"out of fold | {' | '.join(FIGURES.values())}", rows),
        "",
        f"There {looks_line(found)}. In brackets 95 % intervals over patients; no slice is scored by a rule that was "
        "fitted on its fold.",
        "",
    ]


def _rule(artifact: Artifact) -> list[str]:
    point = point_of(artifact)
    if point.threshold is None:
        return []
    odds = "odds of a lesion by both networks" if artifact.fusion else "calibrated odds of a lesion, p2 / (p0 + p1),"
    return [
        f"A slice gets class 2 where the {odds} reach {odds_text(point.threshold, artifact)} "
        f"({point.rule}); else 0 or 1, whichever is more probable."
    ]


def _flips(flips: Flips) -> list[str]:
    if flips == "none":
        return []
    return [
        f"Each slice is answered together with its mirror images (test-time flips: {flips}), at {views(flips)} "
        "passes of the network."
    ]


def delta(value: float | None) -> str:
    """A largest |Δp| for tables."""
    return "not finite" if value is None else f"{value:.1e}"


def _table(head: str, rows: Iterable[str]) -> list[str]:
    return [f"| {head} |", "|---" * (head.count("|") + 1) + "|", *rows]


def _calibration(artifacts: tuple[Artifact, ...]) -> list[str]:
    fitted = [artifact for artifact in artifacts if artifact.calibration.get("fitted")]
    lines = ["## Calibration"]
    if not fitted:
        why = next((f" ({a.calibration['why']})" for a in artifacts if a.calibration.get("why")), "")
        return [*lines, f"Probabilities are as trained: not calibrated{why}.", ""]
    record = fitted[0].calibration
    rows = []
    for a in fitted:
        before, after, rule = a.calibration["before"], a.calibration["after"], a.calibration["abstain"]
        threshold = "never" if a.abstain_below is None else f"{a.abstain_below:.3f}"
        rows.append(
            f"| {a.name} | {a.temperature:.3f} | {before['nll']:.3f} → {after['nll']:.3f} "
            f"| {before['ece']:.3f} → {after['ece']:.3f} | {threshold} "
            f"| {rule['coverage']:.1%} | {rule['accuracy']:.1%} "
            f"| {rule['wanted']:.1%}, {'reached' if rule['reached'] else '**not reached**'} |"
        )
    head = "artifact | temperature | log loss | calibration error (ECE) | abstains below | classified | right of those"
    folded = record.get("source") == OUT_OF_FOLD
    lines += [
        f"Fitted on {record['slices']} slices of {len(record['patients'])} patients ({record['data']}, split by "
        f"{record['split_by']}) and applied by the host; a slice whose highest probability lies under the threshold",
        f"is `abstained`{', unless the rule in force calls it a lesion' if point_of(fitted[0]).threshold else ''}. "
        + (
            "Each patient was answered by the network of the fold that left them out; figures are of these answers."
            if folded
            else "Figures are of that same split."
        ),
        *(["", f"**{CAVEAT}**"] if is_synthetic(record) else []),
        "",
        *_table(head + " | wanted", rows),
    ]
    moved = [f"- {a.name}: temperature and thresholds {text}." for a in fitted if (text := moved_line(a.calibration))]
    return [*lines, "", *moved, *([""] if moved else []), *_left_out(record)]


def _misses(artifacts: tuple[Artifact, ...], metrics: dict[str, Any], training: dict[str, Any]) -> list[str]:
    """The section on what the rule in force, and every other, is expected to find and miss on new patients."""
    first = artifacts[0]
    point, lines = point_of(first), ["## What it will miss"]
    if (sentence := promised(point, first.promise)) is None:
        why = first.promise.get("why") or first.calibration.get("why")
        return [*lines, "Not known" + (f": {why}." if why else "."), *_measured_too(first, metrics), ""]
    rows = []
    for record in first.operating_points:
        each = OperatingPoint.from_json(record)
        assert each.sensitivity is not None
        assert each.specificity is not None
        assert each.patients is not None
        odds = [(a, point_of(a, each.rule).threshold) for a in artifacts]
        rows.append(
            f"| {each.rule}{' (in force)' if each.rule == point.rule else ''} "
            f"| {', '.join('none' if value is None else odds_text(value, a) for a, value in odds)} "
            f"| {each.sensitivity.per_hundred()} | {each.specificity.rest.per_hundred()} "
            f"| {each.patients.found} of {each.patients.with_lesion} "
            f"| {each.patients.marked} of {each.patients.without} |"
        )
    head = (
        f"rule | threshold: odds of {', '.join(a.name for a in artifacts)} | found of 100 slices with a lesion "
        "| marked of 100 others | patients with a lesion: found | patients without: marked"
    )
    return [
        *lines,
        f"**{sentence}**",
        *([text] if (text := by_patient(point)) else []),
        "",
        f"{_rested_on(first.promise, its_part(training))} In brackets 95 % intervals over patients. A patient "
        "counts as found by one marked slice of the lesion. `lits-deploy classify --operating-point RULE` takes "
        "another rule.",
        *_measured_too(first, metrics),
        "",
        *_table(head, rows),
        "",
    ]


def _measured_too(artifact: Artifact, metrics: dict[str, Any]) -> list[str]:
    """What the file found on its test split by the rule in force; nothing where that was not measured."""
    test = figures_of(metrics, artifact.name, "test")
    if test is None or test.get("rule", ARGMAX) != artifact.operating_point:
        return []
    line = lesions_line(test, abstains=artifact.abstain_below is not None)
    caveat = f"{CAVEAT} " if test["synthetic"] and not is_synthetic(artifact.promise) else ""
    return ["", f"{caveat}This very file: {line[:1].lower()}{line[1:]}"] if line else []


def _rested_on(promise: dict[str, Any], part: str) -> str:
    """Whose figures a promise gives, and how they came about. part: what the file is to the networks out of fold."""
    whose = (
        "These are figures of the procedure, out of fold, not of this very file: each patient was answered by the "
        "network that had not seen them"
        if promise["source"] == OUT_OF_FOLD
        else "These are figures of this file on its validate split"
    )
    return (
        f"{whose} ({promise['data']}, {promise['slices']:,} slices of {promise['patients']} patients). "
        f"{part + ' ' * bool(part)}Every threshold "
        f"was checked on patients that had no part in setting it ({promise['groups']} groups took turns)."
    )


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
    made = made_of(training)
    return [
        *([made, ""] if made else []),
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
        (a.name, split): row
        for split in ("test", "validate")
        for a in artifacts
        if (row := figures_of(metrics, a.name, split))
    }
    procedure, rule = procedure_of(metrics), artifacts[0].operating_point
    lines = ["### This file, on patients that it has not seen", ""] if procedure else []
    if not found:
        none = "Not measured: at export no data was at hand that the network had not been trained on."
        return [*lines, none, *(_procedure(procedure, metrics, rule) if procedure else [])]
    lines += [
        "Of the exported files, measured at export; `lits-deploy evaluate` gives the same on these slices and runtime.",
        "",
    ]
    chosen = " This split chose the weights, temperature and thresholds."
    held_out = " These patients chose neither its weights nor its epoch."
    if any(a.calibration.get("fitted") for a in artifacts):
        held_out += " Its temperature and thresholds were set on them too, among the patients of all folds."
    for split, note in (("test", ""), ("validate", held_out if procedure else chosen)):
        rows = {name: row for (name, of), row in found.items() if of == split}
        if not rows and split == "validate" and taught_by_all(training):
            lines += ["On patients of train and validate: none. All of them taught it.", ""]
            continue
        if not rows:
            lines += [f"On the {split} split: not measured: not at hand, or trained on.", ""]
            continue
        row = next(iter(rows.values()))
        split_by = {"patient": ", split by patient", None: ", how it was split is not known"}.get(row["split_by"], "")
        lines += [f"On {measured_on(row)}{split_by}.{note}", ""]
        if row["synthetic"]:
            lines += [f"**{CAVEAT}**", ""]
        if "rule" in row:
            lines += [f"Class 2 is given by {row['rule']}; the AUROC does not depend on it.", ""]
        lines += [*_figures_table(rows), ""]
    if is_synthetic(training.get("dataset")):
        lines += ["The network was trained on phantoms, too.", ""]
    return [*lines[:-1], *(_procedure(procedure, metrics, rule) if procedure else [])]


def _procedure(found: dict[str, Any], metrics: dict[str, Any], rule: str) -> list[str]:
    """The section on the way of training, which is of no file, and what ties this file to it. rule: in force in it."""
    rows = [
        f"| {name} | {number(value)} | {span(over)} | {span(folds)} |"
        for name, (value, over, folds) in found["shown"].items()
    ]
    lines = ["", "### The procedure, out of fold", "", f"Of no file: this way of training, {procedure_on(found)}.", ""]
    if found["synthetic"]:
        lines += [f"**{CAVEAT}**", ""]
    if rule != ARGMAX:
        text = (
            f"Classes are the most probable ones here; what {rule} finds and misses is said under “What it will miss”."
        )
        lines += [text, ""]
    lines += _table("figure | all patients | 95 % interval over patients | lowest and highest fold", rows)
    if agreement := agreement_of(metrics):
        lines += ["", f"This file was let through because it agrees with the folds: it {agreement_line(agreement)}."]
    if cost := cost_of(metrics):
        lines += ["", f"What the average costs: {cost_line(cost)}."]
    return lines


def _figures_table(rows: dict[str, dict[str, Any]]) -> list[str]:
    if all("dice" in row for row in rows.values()):
        head = "artifact | Dice: 0, 1, 2 | IoU: 0, 1, 2 | pixel error | measured on"
        body = [
            f"| {name} | {', '.join(map(number, row['dice']))} | {', '.join(map(number, row['iou']))} "
            f"| {number(row['pixel_error'])} | {row['runtime']} |"
            for name, row in rows.items()
        ]
    else:
        head = f"artifact | {' | '.join(CLASSIFIER.values())} | measured on"
        body = [
            f"| {name} | {' | '.join(number(row[key]) for key in CLASSIFIER)} | {row['runtime']} |"
            for name, row in rows.items()
        ]
    return _table(head, body)
