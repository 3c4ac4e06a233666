"""The model card: README.md of a bundle."""

from __future__ import annotations

from typing import Any

from lits_deploy import DISCLAIMER
from lits_deploy.bundle import Artifact
from lits_deploy.contract import InputContract
from train.data.layout import SPLITS


def model_card(
    *,
    model: dict[str, Any],
    task: str,
    contract: InputContract,
    artifacts: tuple[Artifact, ...],
    training: dict[str, Any],
    metrics: dict[str, Any],
) -> str:
    """Markdown text from what the manifest holds; says "not measured" where it holds nothing."""
    window = contract.window_hu
    lines = [
        f"# {model['name']}: {'liver-CT slice classifier' if task == 'classify' else 'liver and lesion segmentation'}",
        "",
        f"**{DISCLAIMER}** For research: it has not been validated for any patient.",
        "",
        "## Use",
        f"Axial abdominal CT slices, {contract.size}×{contract.size}, 8 bit grey, {contract.orientation}; window "
        + (f"{window[0]:g}…{window[1]:g} HU." if window else "unknown: the training data declared none."),
        "Classes: " + ", ".join(f"{index} {name}" for index, name in enumerate(contract.classes)) + ".",
        "",
        "    lits-deploy verify .",
        "    lits-deploy classify . SCANS --out OUT" if task == "classify" else "    lits-deploy benchmark .",
        "",
        "## Training",
        *_training(training),
        "",
        "## Figures",
        *_figures(metrics, training),
        "",
        "## Artifacts",
        "| name | file | precision | MB | parity: slices | max abs Δp | flipped |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {a.name} | {a.file} | {a.precision} | {a.bytes / 1e6:.1f} | {a.parity['slices']} "
            f"({a.parity['origin']}) | {a.parity['max_delta']:.1e} | {a.parity['flipped']} |"
            for a in artifacts
        ),
        "",
        "## Limits",
        "A slice is judged alone, without its neighbours. Other scanners, phases, windows, orientations and patients",
        "than those of the training data were not tried. Probabilities are not calibrated unless the manifest has a",
        "temperature other than 1.",
        "",
    ]
    return "\n".join(lines)


def _training(training: dict[str, Any]) -> list[str]:
    dataset = training.get("dataset")
    if not dataset:
        return [f"Weights from {training.get('weights', 'unknown')}; how they were trained is not recorded."]
    slices, patients = dataset["slices"], dataset["patients"]
    splits = [split for split in SPLITS if split in slices]
    counts = "; ".join(f"{split}: {slices[split]} slices of {len(patients[split])} patients" for split in splits)
    settings = training["settings"]
    return [
        f"Data set {dataset['name']} (source: {dataset.get('source') or 'not declared'}), "
        f"split by {dataset['split_by']}. {counts}.",
        f"Epoch {training['epoch']} of {settings['epochs']} ({training['checkpoint']} checkpoint), Adam, learning rate "
        f"{settings['lr']:g}, batch {settings['batch_size']}, class weights {settings['class_weights']}, "
        f"seed {settings['seed']}.",
    ]


def _figures(metrics: dict[str, Any], training: dict[str, Any]) -> list[str]:
    test = metrics.get("test")
    if not test:
        return ["Not measured on unseen patients."]
    split_by = training.get("dataset", {}).get("split_by", "unknown")
    head = f"On the test split ({test['slices']} slices, split by {split_by}):"
    if "dice" in test:
        return [head, "", "| class | Dice | IoU |", "|---|---|---|"] + [
            f"| {index} | {_number(d)} | {_number(i)} |"
            for index, (d, i) in enumerate(zip(test["dice"], test["iou"], strict=True))
        ]
    names = {
        "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "liver_accuracy": "liver / no liver accuracy",
        "lesion_auroc": "lesion-slice AUROC",
    }  # fmt: skip
    return [head, "", "| figure | value |", "|---|---|"] + [
        f"| {t} | {_number(test.get(k))} |" for k, t in names.items()
    ]


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"
