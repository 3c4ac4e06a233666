"""Table 9 and Figures 10, 24 and 25: the U-Net."""

from __future__ import annotations

import numpy as np

from lits_deploy.pipeline.judge import softmax
from train.recipes import printed
from train.recipes.lab.bench import Bench
from train.recipes.lab.figures import CLASS_COLOURS, Line, curves
from train.recipes.lab.runs import Run
from train.recipes.lab.slices import Shown, draw, draw_map, largest, logits, show
from train.recipes.lab.tables import Cell, Column, Table
from train.recipes.lab.words import split_mark

FIGURES = (("dice", 0), ("iou", 0), ("dice", 1), ("iou", 1), ("dice", 2), ("iou", 2))
"""In the order of Table 9."""

WORDS = {"dice": "Dice", "iou": "IoU"}
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
    runs = bench.train("unet", epochs=len(printed.TABLE9))
    mark = split_mark(runs[0].split_by)
    bench.keep(_table(runs))
    title = "Figure 24: validation Dice and IoU of the U-Net (dashed: printed in Table 9)"
    with bench.figure("fig24", title, size=(11, 4.6), columns=2) as axes:
        for one, figure in zip(axes, ("dice", "iou"), strict=True):
            lines = []
            for k, region in enumerate(REGIONS):
                measured = [run.curve("validate", figure, k) for run in runs]
                lines.append(Line(label=region, curves=measured, colour=CLASS_COLOURS[k], factor=100))
                told = [row[FIGURES.index((figure, k))] for row in printed.TABLE9]
                lines.append(Line(label=f"{region}, printed", curves=[told], colour=CLASS_COLOURS[k], dashed=True))
            curves(one, lines, title=f"{WORDS[figure]} on validate, {mark}", ylabel=f"{WORDS[figure]} (%)", first=0)
    tumours = [sample for sample in bench.data.layout.splits["test"] if bench.data.classes[sample.image] == 2]
    if not tumours:
        bench.note("No slice of test shows a tumour: there are no Figures 10 and 25.")
        return
    shown = show(bench.data, largest(tumours, 2))
    _pictures(bench, runs[0], shown)


def _table(runs: list[Run]) -> Table:
    rows: list[dict[str, Cell]] = []
    for epoch in range(max(len(printed.TABLE9), runs[0].epochs)):
        row: dict[str, Cell] = {"epoch": str(epoch)}
        for place, (figure, k) in enumerate(FIGURES):
            if epoch < len(printed.TABLE9):
                row[f"{figure}{k}_printed"] = printed.TABLE9[epoch][place]
            if epoch < runs[0].epochs:
                values = [run.curve("validate", figure, k)[epoch] for run in runs]
                row[f"{figure}{k}"] = [None if value is None else 100 * value for value in values]
        if epoch < runs[0].epochs:
            row["seconds"] = [run.row("seconds")[epoch] for run in runs]
        row["seconds_printed"] = printed.TABLE9_SECONDS if epoch < len(printed.TABLE9) else None
        rows.append(row)
    columns = [Column(key="epoch", title="epoch")]
    for figure, k in FIGURES:
        columns.append(Column(key=f"{figure}{k}_printed", title=f"{WORDS[figure]} {k}, printed"))
        columns.append(Column(key=f"{figure}{k}", title=f"{WORDS[figure]} {k}, measured"))
    columns.append(Column(key="seconds_printed", title="seconds, printed (V100, about)", digits=0))
    columns.append(Column(key="seconds", title="seconds, measured", digits=1))
    test = runs[0].last("test")
    told = ", ".join(
        f"{region} {'not there' if value is None else f'{100 * value:.2f}'}"
        for region, value in zip(REGIONS, test["dice"], strict=True)
    )
    notes = [
        "Targets: 0 background, 1 liver, 2 tumour. Epochs are counted from 0, as printed. — is a class in neither "
        "target nor answer, or an epoch that the scale leaves out.",
        f"On test after the last epoch, which the thesis does not print (seed 0): Dice {told}.",
    ]
    title, split_by = "Table 9: U-Net on validate, %", runs[0].split_by
    return Table(name="table9", title=title, columns=tuple(columns), rows=rows, notes=notes, split_by=split_by)


def _pictures(bench: Bench, run: Run, shown: Shown) -> None:
    """Figures 25 and 10 of one slice of test."""
    (raw,) = logits(run, [shown.sample], bench.device)
    chances = np.moveaxis(softmax(np.moveaxis(raw, 0, -1)), -1, 0)
    mark = split_mark(run.split_by)
    title = f"Figure 25: U-Net output and its softmax, liver ({mark})"
    with bench.figure("fig25", title, size=(11.5, 4.3), columns=3, ct=True) as (left, middle, right):
        draw(left, shown, contours=("liver",), title=f"{shown.name}\ntarget: liver in green")
        draw_map(middle, raw[1], title="output for the liver", limits=None)
        draw_map(right, chances[1], title="the same after softmax")
    title = f"Figure 10: the three output maps of the U-Net after softmax ({mark})"
    with bench.figure("fig10", title, size=(11.5, 4.1), columns=3, ct=True) as axes:
        for one, values, region in zip(axes, chances, REGIONS, strict=True):
            draw_map(one, values, title=region)
