"""Figure 4: a slice, its target, and what ResNet18 says of it."""

from __future__ import annotations

from lits_deploy.pipeline.decide import softmax
from train.recipes.lab.bench import Bench
from train.recipes.lab.slices import draw, examples, logits, show


def fig4(bench: Bench) -> None:
    """Show logits and probabilities of a trained ResNet18.

    Thesis: Figure 4 shows one image with its target, the three outputs of a trained ResNet18 and the probabilities
    that softmax makes of them.

    Silent: which slice of which split it is, and how long the network was trained.

    Ours: ResNet18 with the settings of Section 5.2, the weights after its last epoch, seed 0; one slice of test of
    each class, the middle one counted patient after patient.
    """
    (run, *_) = bench.train("resnet18", seeds=1)
    samples = examples(bench.data, bench.data.layout.splits["test"])
    answers = logits(run, samples, bench.device)
    title = f"Figure 4: slice, target, output and probabilities of ResNet18 ({bench.mark})"
    with bench.figure("fig4", title, size=(10, 4.6), columns=len(samples), ct=True) as axes:
        for one, sample, output in zip(axes, samples, answers, strict=True):
            shown = show(bench.data, sample)
            said = ", ".join(f"{value:.2f}" for value in output)
            chance = ", ".join(f"{100 * value:.2f}" for value in softmax(output))
            draw(one, shown, title=f"{shown.name}\ntarget {shown.target}\noutput {said}\nsoftmax {chance} %")
    bench.note(f"Weights after epoch {run.epochs} of {run.name}.")
