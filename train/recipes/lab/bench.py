"""What a recipe is handed: it trains, keeps tables and figures, and notes what a reader must know.

One Bench a recipe and a call; it knows the settings of the call and writes into OUT/<id>/, and nothing about the other
recipes but that their runs may be its own (`trainings`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lits_deploy import DISCLAIMER
from lits_deploy.contract import InputContract
from lits_deploy.errors import DataError
from lits_deploy.files import write_printable, write_text
from lits_deploy.synthetic import MARK
from train.choices import Budget
from train.config import TrainConfig, Weights
from train.data.layout import SPLITS
from train.models.registry import UNET_WIDTH, network
from train.recipes.lab import views
from train.recipes.lab.dataset import DataSet
from train.recipes.lab.runs import FinishedRun
from train.recipes.lab.scale import WorkScale
from train.recipes.lab.tables import RecipeColumn, RecipeTable, row_of
from train.recipes.lab.trainings import WantedRun, trained
from train.recipes.registry import Recipe
from train.session import Observer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from train.recipes.lab.figures import Panel

EPOCHS, UNET_EPOCHS = 15, 6
"""Of the thesis: Section 5.2, and Table 9."""


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """What a call of `lits-deploy reproduce` fixes for all recipes.

    seeds: how many, from 0. weight_decay: where the thesis is silent about it; None: each recipe's own choice.
    budget: how Table 8 measures time. folds: of patients, for figures out of fold beside a recipe's own; 0: none. amp,
    workers, device: as in `TrainConfig`.
    """

    out: Path
    scale: WorkScale
    seeds: int = 1
    device: str = "cpu"
    amp: bool = False
    workers: int = 0
    window_hu: tuple[float, float] | None = None
    class_weights: Weights = "none"
    weight_decay: float | None = None
    budget: Budget = "v100"
    folds: int = 0


@dataclass(frozen=True)
class DataView:
    """Data as trainings take it: a folder, what recognises it, and how it is split."""

    folder: Path
    key: str
    split_by: str


@dataclass
class Bench:
    """One recipe at work. pictures: file, title and whether it shows slices of the data (`ct`)."""

    recipe: Recipe
    settings: BenchSettings
    data: DataSet
    watch: Observer
    tables: list[RecipeTable] = field(default_factory=list)
    pictures: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    runs: dict[str, FinishedRun] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where the recipe writes."""
        return self.settings.out / self.recipe.id

    @property
    def scale(self) -> WorkScale:
        """How much smaller than the thesis."""
        return self.settings.scale

    @property
    def device(self) -> torch.device:
        """Where networks run."""
        return torch.device(self.settings.device)

    @cached_property
    def splits(self) -> views.Splits:
        """The slices used, split by split, at this scale."""
        return views.scaled(self.data, self.scale)

    @cached_property
    def view(self) -> DataView:
        """The data set itself, or the part of it that the scale leaves."""
        if self.scale.full:
            return DataView(self.data.root, self.data.identity, self.data.layout.split_by)
        return self.view_of(self.splits, f"scale-{self.scale.name}", self.data.layout.split_by)

    @cached_property
    def patient_splits(self) -> views.Splits:
        """The slices used, split by patient, whatever way the data set is split."""
        return views.scaled(self.data, self.scale, views.by_patient(self.data))

    @cached_property
    def patient_view(self) -> DataView:
        """The same as a view: the data set's own split if it is by patient."""
        own = self.data.layout.split_by == "patient"
        return self.view if own else self.view_of(self.patient_splits, "by-patient", "patient")

    @cached_property
    def slice_view(self) -> DataView:
        """The same slices dealt by chance."""
        return self.view_of(views.by_slice(self.patient_splits), "by-slice", "slice")

    def view_of(self, splits: views.Splits, name: str, split_by: str) -> DataView:
        """Another choice or split of the data."""
        folder = views.write_view(self.data, splits, self.settings.out / "data", name=name, split_by=split_by)
        return DataView(folder, folder.name, split_by)

    def train(
        self,
        model: str,
        *,
        epochs: int | None = None,
        minutes: float | None = None,
        view: DataView | None = None,
        seeds: int | None = None,
        **given: Any,
    ) -> list[FinishedRun]:
        """A run of each seed with the thesis's settings but for those given; trained where it is not there yet.

        epochs: as in the thesis, before scaling [its default]; minutes: in place of epochs. given: other fields of
        `TrainConfig`. Raises DataError for a U-Net on data without masks.
        """
        found = []
        for seed in range(seeds or self.settings.seeds):
            wanted = self.wanted(model, seed, epochs=epochs, minutes=minutes, view=view, **given)
            run, busy = trained(wanted, self.settings.out / "runs", self.watch)
            self.watch.say(f"  {run.name}: {run.epochs} epochs {'trained' if busy else 'there already'}")
            self.runs[run.name] = run
            found.append(run)
        return found

    def wanted(
        self,
        model: str,
        seed: int,
        *,
        epochs: int | None = None,
        minutes: float | None = None,
        view: DataView | None = None,
        **given: Any,
    ) -> WantedRun:
        """The training that `train` makes with one seed; raises as it does."""
        info, scale = network(model), self.scale
        if info.task == "segment" and not self.data.has_masks:
            raise DataError(f"{self.data.root} has no masks.", fix="a U-Net needs masks/, not targets.csv")
        landmark = scale.epochs_of(EPOCHS if info.task == "classify" else UNET_EPOCHS)
        data = view or self.view
        config = TrainConfig(
            model=model,
            data=data.folder,
            epochs=landmark if epochs is None else scale.epochs_of(epochs),
            max_minutes=minutes,
            width=scale.width if model == "unet" else None,
            seed=seed,
            contract=InputContract(window_hu=self.settings.window_hu or self.data.layout.window_hu, crop=info.crop),
            **{name: getattr(self.settings, name) for name in ("class_weights", "device", "amp", "workers")},
            **given,
        )
        return WantedRun(config=config, view=data.key, split_by=data.split_by, landmark=landmark, slim=scale.slim)

    def weight_decay(self, choice: float) -> float:
        """The weight decay of an experiment about which the thesis is silent: what the user says, or `choice`."""
        return choice if self.settings.weight_decay is None else self.settings.weight_decay

    @property
    def mark(self) -> str:
        """For headings: of which split an accuracy is."""
        return f"split by {self.view.split_by}"

    def table(
        self,
        name: str,
        title: str,
        columns: Sequence[RecipeColumn],
        rows: Iterable[Any],
        *notes: str,
        by_split: bool = True,
    ) -> None:
        """Write a table as NAME.md and NAME.csv and put it on the page.

        rows: dictionaries of cells, or items that the columns make cells of (`RecipeColumn.of`). by_split: whether what
        was trained depends on how the data is split in one way for all rows, and the table says it.
        """
        found = [row if isinstance(row, dict) else row_of(columns, row) for row in rows]
        split_by = self.view.split_by if by_split and self.recipe.trains else None
        table = RecipeTable(name=name, title=title, columns=tuple(columns), rows=found, notes=notes, split_by=split_by)
        self.tables.append(table)
        text = f"{table.markdown()}\n{self.footnote}\n"
        write_printable(self.folder / f"{table.name}.md", text)
        write_text(self.folder / f"{table.name}.csv", table.csv())

    @contextlib.contextmanager
    def figure(
        self,
        name: str,
        title: str,
        *,
        columns: int = 1,
        rows: int = 1,
        ct: bool = False,
        size: tuple[float, float] | None = None,
    ) -> Iterator[Sequence[Axes]]:
        """The axes of a new figure, row by row; drawn when the block ends, written to NAME.png and put on the page.

        ct: whether it shows slices of the data. size: inches [as many columns need].
        """
        from matplotlib.figure import Figure

        from train.recipes.lab import figures

        inches = size or {1: (7.5, 4.6), 2: (11, 4.4)}.get(columns, (12.5, 4.4))
        drawing = Figure(figsize=inches, layout="compressed")
        yield list(drawing.subplots(rows, columns, squeeze=False).flat)
        figures.save(drawing, self.folder / f"{name}.png", title, self.footnote)
        self.pictures.append({"file": f"{name}.png", "title": title, "ct": ct})

    def curves(self, name: str, title: str, *panels: Panel) -> None:
        """A figure of curves over epochs, side by side."""
        from train.recipes.lab import figures

        with self.figure(name, title, columns=len(panels)) as axes:
            for one, panel in zip(axes, panels, strict=True):
                figures.curves(one, panel)

    def note(self, text: str) -> None:
        """A sentence that a reader of the results must know."""
        self.notes.append(text)

    @property
    def scale_line(self) -> str:
        """Whether and by how much the recipe was scaled down."""
        if not self.recipe.trains:
            return "Not scaled." if self.recipe.reads else "Not scaled: needs no data."
        scale = self.scale
        if scale.full:
            return "Full scale."
        counts = [f"{len(self.splits[split]):,} of {len(self.data.layout.splits[split]):,} {split}" for split in SPLITS]
        parts = [f"{', '.join(counts)} slices", f"epochs × {scale.epochs:.2g} (2 at least)"]
        if self.recipe.id in ("table9", "gallery"):
            parts.append(f"U-Net width {scale.width} of {UNET_WIDTH}")
        if self.recipe.id == "table8" and self.settings.budget == "minutes":
            parts.append(f"minutes × {scale.minutes:.3g}")
        return f"SCALED DOWN (--scale {scale.name}): {'; '.join(parts)}."

    @property
    def data_line(self) -> str:
        """Which data, split how; nothing for a recipe that reads none."""
        if not self.recipe.reads:
            return ""
        layout = self.data.layout
        split = "split BY SLICE (accuracies are too high)" if layout.split_by == "slice" else "split by patient"
        return ", ".join([f"Data {self.data.name}", *[MARK] * layout.synthetic, f"{split}."])

    @property
    def footnote(self) -> str:
        """The line below every table and figure."""
        parts = [self.scale_line, self.data_line]
        if self.recipe.trains and self.settings.seeds > 1:
            parts.append(f"{self.settings.seeds} seeds: mean, and standard deviation or range.")
        return " ".join(part for part in [*parts, DISCLAIMER] if part)
