"""Figures 1 and 2: a slice of each class, and a slice with its two masks."""

from __future__ import annotations

from lits_deploy.contract import CLASSES
from train.recipes.lab.bench import Bench
from train.recipes.lab.slices import draw, draw_map, examples, largest, show


def fig1_2(bench: Bench) -> None:
    """Show what the networks are given.

    Thesis: Figure 1 shows a slice of each class (above the liver; with liver; with a lesion at the top of the liver),
    Figure 2 a slice with its liver and its tumour mask.

    Silent: which slices they are, of which split.

    Ours: of train, the middle slice of classes 0 and 1, counted patient after patient, and the slice with the largest
    lesion for class 2; the same slice stands in Figure 2. The pictures are made in OUT only: they are slices of your
    data, under its licence.
    """
    data = bench.data
    samples = data.layout.splits["train"]
    chosen = {data.classes[sample.image]: sample for sample in examples(data, samples)}
    lesions = [sample for sample in samples if data.classes[sample.image] == 2]
    lesion = largest(lesions, 2) if lesions else None
    if lesion is not None:
        chosen[2] = lesion
    with bench.figure("fig1", "Figure 1: a slice of each class", size=(10, 4.1), columns=3, ct=True) as axes:
        for target, one in enumerate(axes):
            if target in chosen:
                shown = show(data, chosen[target])
                draw(one, shown, title=f"{target}: {CLASSES[target]}\n{shown.name}")
            else:
                one.set_title(f"{target}: {CLASSES[target]}\nnone in train", fontsize=9.5)
                one.set_axis_off()
    if lesion is None:
        bench.note("No slice of train shows a lesion: there is no Figure 2.")
        return
    shown = show(data, lesion)
    assert shown.mask is not None
    title = "Figure 2: a slice and its two segmentation targets"
    with bench.figure("fig2", title, size=(10, 4.1), columns=3, ct=True) as (image, liver, tumour):
        draw(image, shown, title=shown.name)
        draw_map(liver, shown.mask >= 1, title="target: liver (with its lesions)")
        draw_map(tumour, shown.mask == 2, title="target: tumour")
