"""How much of the thesis's accuracy comes from patients that stand on both sides of its split."""

from __future__ import annotations

from typing import Any

from lits_deploy.pipeline.decide import softmax
from train.data.layout import Sample
from train.metrics import classification_summary
from train.recipes import thesis_numbers
from train.recipes.lab import views
from train.recipes.lab.bench import Bench
from train.recipes.lab.figures import BLUE, RED, Line, Panel
from train.recipes.lab.folds import CLASSIFIER, ComparedNetwork, side_by_side
from train.recipes.lab.runs import FinishedRun
from train.recipes.lab.slices import logits
from train.recipes.lab.tables import Cell, RecipeColumn

KEYS = ("accuracy", "balanced_accuracy", "liver_accuracy", "lesion_auroc")


def split(bench: Bench) -> None:
    """Train ResNet18 on the same slices, split by patient and by slice.

    Thesis: ResNet18 reaches 98.35 % on test (Table 6). As far as the text says, the slices of one patient were taken
    apart and mixed with those of others, so train holds the neighbours of most test slices.

    Silent: patients altogether, so the printed figure cannot be taken apart; it can only be told what such a split
    does on other data.

    Ours: the same network, settings, numbers of slices and test protocol (weights after the last epoch) on two splits
    of the same slices: by patient, and dealt by chance. Their test slices differ, so a third training holds them fixed:
    half of the test slices (every other one) move to train in place of as many others, and both networks answer the
    other half. The difference there is the gain from having seen neighbours alone.
    """
    base = bench.patient_splits
    dealt, mixed = views.by_slice(base), views.with_neighbours(bench.data, base)
    seen_view = bench.view_of(mixed, "neighbours", "slice")
    patient = bench.train("resnet18", view=bench.patient_view)
    slices = bench.train("resnet18", view=bench.slice_view)
    seen = bench.train("resnet18", view=seen_view)
    unseen = [_score(bench, run, mixed["test"]) for run in patient]
    rows: list[dict[str, Cell]] = [
        _row("split by slice", "slice", dealt, [run.last("test") for run in slices]),
        _row("split by patient", "patient", base, [run.last("test") for run in patient]),
    ]
    rows[0]["printed"] = thesis_numbers.TABLE6["resnet18"].accuracy
    rows.append(_difference("difference: leakage, and other test slices", rows[0], rows[1]))
    rows.append(_row("same test slices, neighbours trained on", "slice", mixed, [run.last("test") for run in seen]))
    rows.append(_row("same test slices, patients never seen", "patient", {**base, "test": mixed["test"]}, unseen))
    rows.append(_difference("difference: leakage alone", rows[3], rows[4]))
    columns = (
        RecipeColumn("what", "ResNet18"),
        RecipeColumn("split_by", "split by"),
        RecipeColumn("train", "train slices"),
        RecipeColumn("test", "test slices"),
        RecipeColumn("shared", "test patients in train"),
        RecipeColumn("printed", "test accuracy, printed (%)"),
        RecipeColumn("accuracy", "test accuracy, measured (%)"),
        RecipeColumn("balanced_accuracy", "balanced (%)"),
        RecipeColumn("liver_accuracy", "liver or none (%)"),
        RecipeColumn("lesion_auroc", "lesion AUROC", digits=3),
    )
    notes = ["After the last epoch. A difference in accuracy is in points; with several seeds, seed by seed."]
    if not bench.scale.full:
        notes.append(
            "Scaled: of each patient only every n-th slice is used, so neighbours lie further apart than in the whole "
            "data and leak less."
        )
    bench.table("split", "ResNet18 on test, split by slice and split by patient", columns, rows, *notes, by_split=False)
    bench.note(_conclusion(bench, rows))
    accuracy = {CLASSIFIER[0].title: thesis_numbers.TABLE6["resnet18"].accuracy}
    side_by_side(bench, [ComparedNetwork(label="ResNet18", runs=patient, printed=accuracy)])
    neighbours = "neighbours trained on (half of the patient split's test)"
    lines = [
        Line(label="split by slice", curves=_tests(slices), colour=RED),
        Line(label="split by patient", curves=_tests(patient), colour=BLUE),
        Line(label=neighbours, curves=_tests(seen), colour=RED, dashed=True),
    ]
    panel = Panel(lines=lines, title="Test accuracy after each epoch", ylabel="accuracy (%)")
    bench.curves("split", "Test accuracy of ResNet18 by the way of splitting", panel)


def _tests(runs: list[FinishedRun]) -> list[list[float | None]]:
    return [run.percent("test", "accuracy") for run in runs]


def _score(bench: Bench, run: FinishedRun, samples: list[Sample]) -> dict[str, Any]:
    targets = [bench.data.classes[sample.image] for sample in samples]
    return classification_summary(targets, softmax(logits(run, samples, bench.device)))


def _row(what: str, split_by: str, splits: views.Splits, figures: list[dict[str, Any]]) -> dict[str, Cell]:
    patients = {name: {sample.patient for sample in samples} for name, samples in splits.items()}
    shared = len(patients["test"] & patients["train"])
    row: dict[str, Cell] = {
        "what": what,
        "split_by": split_by,
        "train": len(splits["train"]),
        "test": len(splits["test"]),
        "shared": f"{shared} of {len(patients['test'])}",
    }
    for key in KEYS:
        factor = 1 if key == "lesion_auroc" else 100
        row[key] = [None if found[key] is None else factor * found[key] for found in figures]
    return row


def _difference(what: str, one: dict[str, Cell], two: dict[str, Cell]) -> dict[str, Cell]:
    row: dict[str, Cell] = {"what": what}
    for key in KEYS:
        left, right = one[key], two[key]
        assert isinstance(left, list)
        assert isinstance(right, list)
        pairs = zip(left, right, strict=True)
        row[key] = [None if a is None or b is None else a - b for a, b in pairs]
    return row


def _conclusion(bench: Bench, rows: list[dict[str, Cell]]) -> str:
    def mean(row: dict[str, Cell]) -> float:
        values = row["accuracy"]
        assert isinstance(values, list)
        return sum(values) / len(values)

    gap, alone = mean(rows[2]), mean(rows[5])
    text = (
        f"On {bench.data.name}, test accuracy is {mean(rows[0]):.2f} % split by slice and {mean(rows[1]):.2f} % split "
        f"by patient: {gap:+.2f} points. On the same test slices, having trained on their neighbours is worth "
        f"{alone:+.2f} points. "
    )
    if not bench.scale.full:
        return text + "At this scale that says nothing about the thesis's 98.35 %."
    return text + (
        "If Clean_LiTS behaves alike, that much of the printed 98.35 % is owed to patients on both sides of the split."
    )
