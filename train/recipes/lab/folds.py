"""Figures by folds beside a recipe's own: where patients are few, which of them stand in test decides the figures.

Printed, measured on one split, out of fold, and of slices that were dealt by chance, as the thesis's seem to have been.
The folds are those of `train --folds`: each patient of train and validate is answered by the network that never saw it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lits_deploy.errors import DataError
from train.data.layout import plain
from train.folds.figures import by_fold, figures_of
from train.folds.run import train_folds
from train.out_of_fold import NAME, OutOfFold, read
from train.recipes.lab.bench import Bench
from train.recipes.lab.runs import FinishedRun
from train.recipes.lab.tables import Cell, RecipeColumn
from train.runs_folder import FOLDED

FEW = 40
"""Patients in train and validate under which one split of them tells little."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """title: for readers. name: of `Meter.result`; index: of a class, for lists of figures."""

    title: str
    name: str
    index: int | None = None

    @property
    def percent(self) -> bool:
        """Whether it is a share; an area under a curve is none."""
        return "auroc" not in self.name

    def of(self, found: Mapping[str, Any]) -> float | None:
        """Its value, in % if it is a share."""
        value = found[self.name] if self.index is None else found[self.name][self.index]
        return None if value is None else float(value) * (100 if self.percent else 1)


CLASSIFIER = (
    Figure(title="accuracy (%)", name="accuracy"),
    Figure(title="balanced accuracy (%)", name="balanced_accuracy"),
    Figure(title="liver or none (%)", name="liver_accuracy"),
    Figure(title="lesion AUROC", name="lesion_auroc"),
)


@dataclass(frozen=True, kw_only=True)
class ComparedNetwork:
    """A network whose figures stand side by side.

    runs: of each seed, as the recipe trained them; given: what it gave to `Bench.train`. split: that the thesis's
    figures are on. printed: by title of the figure.
    """

    label: str
    runs: Sequence[FinishedRun]
    figures: Sequence[Figure] = CLASSIFIER
    split: str = "test"
    printed: Mapping[str, float] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)


def side_by_side(bench: Bench, networks: Iterable[ComparedNetwork]) -> None:
    """Table `folds`, with trainings of its own; where no folds are asked for, and patients are few, a note in place."""
    patients = {plain(sample.patient) for split in ("train", "validate") for sample in bench.splits[split]}
    if not bench.settings.folds:
        if len(patients) < FEW:
            bench.note(
                f"Train and validate have {len(patients)} patients: with so few, one split of them tells little. "
                "--folds 5 adds figures out of fold, and of a split by slice."
            )
        return
    rows, answers = [], list[OutOfFold]()
    networks = list(networks)
    for one in networks:
        model = one.runs[0].config.model
        found = [folded(bench, model, seed, **one.given) for seed in range(bench.settings.seeds)]
        by_slice = bench.train(model, view=bench.slice_view, **one.given)
        rows += _rows(one, found, by_slice)
        answers += found
    first, split = answers[0], networks[0].split
    columns = (
        RecipeColumn("network", "network"),
        RecipeColumn("figure", "figure"),
        RecipeColumn("printed", f"printed ({split})"),
        RecipeColumn("measured", f"measured, {bench.mark} ({split})"),
        RecipeColumn("out_of_fold", "out of fold"),
        RecipeColumn("lowest", "lowest fold"),
        RecipeColumn("highest", "highest fold"),
        RecipeColumn("by_slice", f"split by slice ({split})"),
    )
    notes = (
        f"After the last epoch. Out of fold: {first.folds} networks, each answering the patients that it never saw: "
        f"{len(first):,} slices of {len(set(first.patient.tolist()))} patients of train and validate. Between the "
        "lowest and the highest fold lies what the choice of patients alone does.",
        "Split by slice: the same slices dealt by chance, so a patient's slices occur in train and test. Such figures "
        "are too high and say nothing about new patients; the thesis's were probably of this kind.",
    )
    bench.table("folds", "Printed, measured, out of fold and by slice", columns, rows, *notes, by_split=False)


def folded(bench: Bench, model: str, seed: int, **given: Any) -> OutOfFold:
    """The answers of a folded training in OUT/runs, trained as far as it lacks."""
    wanted = bench.wanted(model, seed, view=bench.patient_view, **given)
    folds, config = bench.settings.folds, wanted.config
    folder = bench.settings.out / "runs" / f"{wanted.name}-{config.epochs}epochs-{folds}folds"
    try:
        answers = read(folder / NAME)
    except DataError:  # not there yet
        if folder.exists() and not (folder / FOLDED).is_file():  # killed before it began
            shutil.rmtree(folder)
        train_folds(config, folder, folds, resume=folder.exists(), observer=bench.watch)
        answers = read(folder / NAME)
    bench.watch.say(f"  {folder.name}: {len(answers):,} answers out of fold")
    return answers


def _rows(one: ComparedNetwork, found: Sequence[OutOfFold], by_slice: Sequence[FinishedRun]) -> list[dict[str, Cell]]:
    pooled, folds = [figures_of(answers) for answers in found], [by_fold(answers) for answers in found]
    rows: list[dict[str, Cell]] = []
    for figure in one.figures:
        spread = [[value for fold in each if (value := figure.of(fold)) is not None] for each in folds]
        rows.append(
            {
                "network": one.label,
                "figure": figure.title,
                "printed": one.printed.get(figure.title),
                "measured": [figure.of(run.last(one.split)) for run in one.runs],
                "out_of_fold": [figure.of(figures) for figures in pooled],
                "lowest": [min(values, default=None) for values in spread],
                "highest": [max(values, default=None) for values in spread],
                "by_slice": [figure.of(run.last(one.split)) for run in by_slice],
            }
        )
    return rows
