"""Table 9 and Figures 10, 24 and 25: the U-Net."""

from __future__ import annotations

import numpy as np

from lits_deploy.pipeline.decide import softmax
from train.recipes import thesis_numbers
from train.recipes.lab.bench import Bench
from train.recipes.lab.figures import CLASS_COLOURS, Line, Panel
from train.recipes.lab.folds import ComparedNetwork, Figure, side_by_side
from train.recipes.lab.runs import FinishedRun
from train.recipes.lab.slices import Shown, draw, draw_map, largest, logits, show
from train.recipes.lab.tables import Cell, RecipeColumn

FIGURES = (("dice", 0), ("iou", 0), ("dice", 1), ("iou", 1), ("dice", 2), ("iou", 2))
"""In the order of Table 9."""

TITLES = {"dice": "Dice", "iou": "IoU"}
REGIONS = ("background", "liver", "tumour")


def table9(bench: Bench) -> None:
    """Train the U-Net for six epochs and measure every class on validate.

    Thesis: a U-Net with pixel-wise cross-entropy, Adam and learning rate 1e-4, six epochs of about 460 seconds. Table 9
    and Figure 24 give Dice and IoU of background, liver and tumour on validate after each epoch; Figure 25 shows a
    test slice with the liver's contour, the U-Net's output for the liver and its softmax, Figure 10 the three output
    maps.

    Silent: the channels, normalisation layers, whether slices are cropped, and whether Dice is over all pixels or a
    mean over slices or batches. The printed Dice and IoU do not obey IoU = Dice / (2 − Dice), so it is a mean of
    some kind.

    Ours: channels 64, 128, 256 and 512 at the bottom with BatchNorm (7,701,955 parameters), whole slices of 256×256,
    flips and jitter as for the classifiers; Dice and IoU over all pixels of all slices, class by class. The figures
    show the slice of test with the most tumour.
    """
    runs = bench.train("unet", epochs=len(thesis_numbers.TABLE9))
    _table(bench, runs)
    side_by_side(bench, [_compared(runs)])
    panels = []
    for figure, title in TITLES.items():
        lines = []
        for k, region in enumerate(REGIONS):
            measured = [run.percent("validate", figure, k) for run in runs]
            lines.append(Line(label=region, curves=measured, colour=CLASS_COLOURS[k]))
            printed = [row[FIGURES.index((figure, k))] for row in thesis_numbers.TABLE9]
            lines.append(Line(label=f"{region}, printed", curves=[printed], colour=CLASS_COLOURS[k], dashed=True))
        panels.append(Panel(lines=lines, title=f"{title} on validate, {bench.mark}", ylabel=f"{title} (%)", first=0))
    bench.curves("fig24", "Figure 24: validation Dice and IoU of the U-Net (dashed: printed in Table 9)", *panels)
    tumours = [sample for sample in bench.data.layout.splits["test"] if bench.data.classes[sample.image] == 2]
    if not tumours:
        bench.note("No slice of test shows a tumour: there are no Figures 10 and 25.")
        return
    _pictures(bench, runs[0], show(bench.data, largest(tumours, 2)))


def _compared(runs: list[FinishedRun]) -> ComparedNetwork:
    figures = [Figure(title=f"{TITLES[name]} {REGIONS[k]} (%)", name=name, index=k) for name, k in FIGURES]
    last = {figure.title: value for figure, value in zip(figures, thesis_numbers.TABLE9[-1], strict=True)}
    given = {"epochs": len(thesis_numbers.TABLE9)}
    return ComparedNetwork(label="U-Net", runs=runs, figures=figures, split="validate", printed=last, given=given)


def _table(bench: Bench, runs: list[FinishedRun]) -> None:
    rows: list[dict[str, Cell]] = [
        {"epoch": str(epoch)} for epoch in range(max(len(thesis_numbers.TABLE9), runs[0].epochs))
    ]
    for row, values in zip(rows, thesis_numbers.TABLE9, strict=False):
        row |= {f"{figure}{k}_printed": value for (figure, k), value in zip(FIGURES, values, strict=True)}
        row["seconds_printed"] = thesis_numbers.TABLE9_SECONDS
    for epoch in range(runs[0].epochs):
        for figure, k in FIGURES:
            rows[epoch][f"{figure}{k}"] = [run.percent("validate", figure, k)[epoch] for run in runs]
        rows[epoch]["seconds"] = [run.row("seconds")[epoch] for run in runs]
    columns = [RecipeColumn("epoch", "epoch")]
    for figure, k in FIGURES:
        columns.append(RecipeColumn(f"{figure}{k}_printed", f"{TITLES[figure]} {k}, printed"))
        columns.append(RecipeColumn(f"{figure}{k}", f"{TITLES[figure]} {k}, measured"))
    columns.append(RecipeColumn("seconds_printed", "seconds, printed (V100, about)", digits=0))
    columns.append(RecipeColumn("seconds", "seconds, measured", digits=1))
    test = runs[0].last("test")
    dice = ", ".join(
        f"{region} {'not there' if value is None else f'{100 * value:.2f}'}"
        for region, value in zip(REGIONS, test["dice"], strict=True)
    )
    notes = (
        "Targets: 0 background, 1 liver, 2 tumour. Epochs are counted from 0, as printed. — is a class in neither "
        "target nor answer, or an epoch that the scale leaves out.",
        f"On test after the last epoch, which the thesis does not print (seed 0): Dice {dice}.",
    )
    bench.table("table9", "Table 9: U-Net on validate, %", columns, rows, *notes)


def _pictures(bench: Bench, run: FinishedRun, shown: Shown) -> None:
    """Figures 25 and 10 of one slice of test."""
    (raw,) = logits(run, [shown.sample], bench.device)
    chances = np.moveaxis(softmax(np.moveaxis(raw, 0, -1)), -1, 0)
    title = f"Figure 25: U-Net output and its softmax, liver ({bench.mark})"
    with bench.figure("fig25", title, size=(11.5, 4.3), columns=3, ct=True) as (left, middle, right):
        draw(left, shown, contours=("liver",), title=f"{shown.name}\ntarget: liver in green")
        draw_map(middle, raw[1], title="output for the liver", limits=None)
        draw_map(right, chances[1], title="the same after softmax")
    title = f"Figure 10: the three output maps of the U-Net after softmax ({bench.mark})"
    with bench.figure("fig10", title, size=(11.5, 4.1), columns=3, ct=True) as axes:
        for one, values, region in zip(axes, chances, REGIONS, strict=True):
            draw_map(one, values, title=region)
