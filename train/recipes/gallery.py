"""The gallery of Section 6: what both kinds of network say of single slices."""

from __future__ import annotations

import numpy as np

from lits_deploy.pipeline.decide import softmax
from lits_deploy.printable import plottable
from train.recipes.lab.bench import UNET_EPOCHS, Bench
from train.recipes.lab.slices import draw, draw_map, examples, logits, show

EACH, A_PAGE = 2, 3


def gallery(bench: Bench) -> None:
    """Show slices of test with the answers of ResNet34 and of the U-Net.

    Thesis: Section 6 shows, for a number of slices, the target, ResNet34's output vector and its softmax in %, the
    slice with green (liver) and red (cancer) target contours, and the U-Net's output for liver and cancer.

    Silent: how the slices were chosen; presumably of test, as those of Figure 25.

    Ours: two slices of test of each class, evenly over patients, chosen before any network was trained; ResNet34 after
    the epochs of Section 5.2 and the U-Net of Table 9, both with seed 0; the U-Net's maps are after softmax.
    """
    (classifier, *_) = bench.train("resnet34", seeds=1)
    (unet, *_) = bench.train("unet", epochs=UNET_EPOCHS, seeds=1)
    samples = examples(bench.data, bench.data.layout.splits["test"], each=EACH)
    outputs = logits(classifier, samples, bench.device)
    maps = np.moveaxis(softmax(np.moveaxis(logits(unet, samples, bench.device), 1, -1)), -1, 1)
    for page, start in enumerate(range(0, len(samples), A_PAGE), start=1):
        part = range(start, min(start + A_PAGE, len(samples)))
        title = f"Gallery {page}: slices of test with ResNet34's and the U-Net's answers ({bench.mark})"
        size = (12, 2.8 * len(part) + 0.7)
        with bench.figure(f"gallery-{page}", title, size=size, columns=4, rows=len(part), ct=True) as axes:
            for row, i in enumerate(part):
                text, image, liver, tumour = axes[4 * row : 4 * row + 4]
                shown = show(bench.data, samples[i])
                said = "\n".join(
                    f"{k}   output {value:7.2f}   softmax {100 * chance:6.2f} %"
                    for k, (value, chance) in enumerate(zip(outputs[i], softmax(outputs[i]), strict=True))
                )
                answer = int(outputs[i].argmax())
                caption = plottable(f"{shown.name}\n\ntarget {shown.target}, answer {answer}\n\n{said}")
                text.text(0.0, 0.5, caption, va="center", fontsize=9, family="monospace", transform=text.transAxes)
                text.set_axis_off()
                draw(image, shown, contours=("liver", "tumour"), title="target: liver green, tumour red")
                draw_map(liver, maps[i][1], title="U-Net: liver")
                draw_map(tumour, maps[i][2], title="U-Net: tumour")
    bench.note(
        f"ResNet34 after epoch {classifier.epochs} ({classifier.name}), U-Net after epoch {unet.epochs} ({unet.name})."
    )
