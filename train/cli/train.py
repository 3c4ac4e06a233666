"""`lits-deploy train`: parse, call `train.run.train`, draw its progress, print the next command."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import Any

import typer

from lits_deploy import DISCLAIMER
from lits_deploy.cli import logging_options, run_options
from lits_deploy.cli.extras import needs
from lits_deploy.contract import ResizeKernel
from lits_deploy.errors import OutputError, UserError
from train import runs_folder
from train.choices import OnOff
from train.cli import options
from train.config import Augmentation, Optimiser, Recipe, Sampling, Schedule, Weights
from train.models.registry import Init


@logging_options.reported("train")
def train(
    data: Path = typer.Option(Path("data"), help="Folder with train/, validate/ and test/."),
    model: str = typer.Option("resnet18", help="A name that `lits-deploy models` lists."),
    out: Path | None = typer.Option(None, help="Folder of the run. [default: runs/MODEL-TIME]"),
    recipe: Recipe = typer.Option(
        "thesis",
        help="The thesis's settings, or those that did best on unseen patients; single options override either.",
    ),
    epochs: int | None = typer.Option(None, min=1, help="Passes over the training slices. [thesis: 15]"),
    batch_size: int = typer.Option(32, min=1, help="Slices in a batch."),
    lr: float | None = typer.Option(None, help="Learning rate. [thesis: 1e-4]"),
    weight_decay: float | None = typer.Option(None, help="L2 penalty inside Adam, or AdamW's decay. [thesis: 1e-5]"),
    optimiser: Optimiser | None = typer.Option(None, help="How weights are updated. [thesis: adam]"),
    augment: Augmentation | None = typer.Option(
        None,
        help="The thesis's flips, jitter and random crop; upright: small rotations and zooms in place of flips, for "
        "slices that all have one orientation; strong: more of these, and shifts, elastic deformation, window and "
        "gamma; the crop alone; or nothing. [thesis: thesis]",
    ),
    schedule: Schedule | None = typer.Option(
        None, help="Learning rate: constant, or cosine down to 0. [thesis: constant]"
    ),
    class_weights: Weights | None = typer.Option(None, help="Weights of the cross-entropy. [thesis: none]"),
    sampling: Sampling | None = typer.Option(
        None, help="Every slice once per epoch, or every class equally often. [thesis: all]"
    ),
    average: float | None = typer.Option(
        None, min=0.0, max=0.99999, help="Decay of the moving average of weights; 0: none. [thesis: 0]"
    ),
    masks: float | None = typer.Option(
        None, "--mask-weight", min=0.0, help="Weight of the masks as a classifier's second target. [thesis: 0]"
    ),
    dice: float | None = typer.Option(
        None, min=0.0, help="Weight of the Dice loss beside a U-Net's cross-entropy. [thesis: 0]"
    ),
    mixup: float | None = typer.Option(
        None, min=0.0, help="Blend slices with others of their batch: parameter of the Beta distribution. [thesis: 0]"
    ),
    coarse: float | None = typer.Option(
        None,
        min=0.0,
        max=1.0,
        help="Share of the epochs, the first ones, with slices of half the side at a quarter of the cost. [thesis: 0]",
    ),
    init: Init = typer.Option("default", help="Initial weights: PyTorch's, or Kaiming normal (Section 5.3)."),
    width: int | None = typer.Option(None, min=1, help="Channels of the U-Net's first stage. [default: 64]"),
    window: tuple[float, float] | None = options.WINDOW,
    size: int | None = typer.Option(
        None,
        min=64,
        max=512,
        help="Side of the slices that the network is given, now and later; crop and cost scale with it. [thesis: 256]",
    ),
    channels: int | None = typer.Option(
        None, min=1, max=9, help="Slices the network sees at once: neighbours around the one it classifies. [thesis: 1]"
    ),
    resize: ResizeKernel = typer.Option("box", help="How square slices of another size are resized, now and later."),
    max_minutes: float | None = typer.Option(None, help="Start no new epoch after this many minutes of training."),
    seed: int = options.SEED,
    device: str = options.DEVICE,
    amp: OnOff = typer.Option("auto", help="bf16 autocast; auto: if the hardware has it."),
    compile_: OnOff = typer.Option("auto", "--compile", help="torch.compile; auto: on a GPU, if it works."),
    workers: int = typer.Option(0, min=0, help="Processes that load slices, if they do not fit on the GPU."),
    folds: int | None = typer.Option(
        None,
        min=2,
        help="Train this many networks, each without one fold of the patients of train and validate, and keep its "
        "answers on that fold.",
    ),
    final: bool = typer.Option(
        False,
        "--final",
        help="With --folds: one more network, trained on all of these patients, for `export --from all`.",
    ),
    resume: bool = typer.Option(False, "--resume", help="Continue the run in OUT."),
    as_json: bool = run_options.AS_JSON,
) -> None:
    """Train a network of the thesis on CT slices.

    The defaults are the thesis's (Section 5.2): Adam, 15 epochs, batch 32, flips, colour jitter, random crop to 224.
    """
    given = dict(locals())  # first: nothing but the parameters
    from lits_deploy.cli.console import console, print_json
    from train.models.registry import network

    info = network(model)
    if final and folds is None:
        raise UserError("--final goes with --folds.", fix="add --folds K, or leave it out")
    with needs("train"):
        from train import distributed
        from train.cli.bars import Bars
        from train.device import compiled, torch_device, use_amp
        from train.folds.run import train_folds
        from train.run import train as train_run
        from train.settings import configure

    if distributed.wanted() > 1:
        if out is None:
            raise UserError("Several processes need one folder.", fix="give --out RUN")
        console.quiet = distributed.launched_rank() > 0  # one process speaks for all
    target = torch_device(device)
    marker = "config.json" if folds is None else runs_folder.FOLDED
    folder = out or (runs_folder.newest(marker, model=model) if resume else runs_folder.new_folder(model))
    if folder is None:
        raise OutputError(
            f"There is no run of {model} in runs/ to resume.", fix="give --out RUN, or leave --resume out"
        )
    if folds is None and runs_folder.is_folded(folder):
        raise OutputError(f"{folder} is a folded run.", fix="add --folds, or give another --out")
    resolved = {"device": str(target), "amp": use_amp(amp, target), "compiled": compiled(compile_, target)}
    config = configure(info, given, **resolved)
    what = f"{info.parameters:,} parameters" if width is None else f"width {width}"
    if config.contract.channels > 1:
        what = f"{config.contract.channels} slices at once" + ("" if width is None else f", {what}")
    console.print(f"{model}: {what} ({info.source}), {target}, run {folder}")
    with Bars() as bars:
        try:
            if folds is None:
                figures = train_run(config, folder, resume=resume, observer=bars)
            else:
                train_folds(config, folder, folds, final=final, resume=resume, observer=bars)
        except KeyboardInterrupt:
            console.print(f"stopped; finished epochs are kept. Go on with the same command and --out {folder} --resume")
            raise
    if console.quiet:  # another process speaks for all
        return
    if as_json:
        found = {"figures": figures} if folds is None else _out_of_fold(folder)
        print_json({"run": str(folder), **found, "disclaimer": DISCLAIMER})
    elif folds is None:
        _summary(figures, folder)
    else:
        _folded(folder, final)


def _summary(figures: dict[str, Any], folder: Path) -> None:
    from lits_deploy.cli.console import console
    from lits_deploy.synthetic import MARK
    from train.cli.bars import figure

    mark = f" ({MARK} data)" if figures.get("synthetic") else ""
    if "dice" in figures:
        liver, tumour = figures["dice"][1:]
        console.print(
            f"test{mark}, split by {figures['split_by']}: Dice liver {figure(liver)}, tumour {figure(tumour)}"
        )
    else:
        console.print(
            f"test{mark}, split by {figures['split_by']}, best checkpoint: accuracy {figures['accuracy']:.3f}, "
            f"balanced {figures['balanced_accuracy']:.3f}, "
            f"liver/no-liver {figures['liver_accuracy']:.3f}, lesion AUROC {figure(figures['lesion_auroc'])}"
        )
    console.print(f"{folder}: config.json, metrics.csv, curves.png, confusion.png, TensorBoard events, checkpoints")
    console.print(DISCLAIMER)
    console.print(f"next:  lits-deploy export {folder}")


def _out_of_fold(folder: Path) -> dict[str, Any]:
    """Of a folded run's own answers: the figures of all patients, and of each fold's."""
    from train.folds.figures import by_fold, figures_of
    from train.out_of_fold import of_run

    answers = of_run(folder)
    return {"figures": figures_of(answers), "folds": by_fold(answers)}


def _folded(folder: Path, final: bool) -> None:
    from lits_deploy.cli.console import console, table
    from lits_deploy.synthetic import MARK
    from train.cli.bars import figure
    from train.folds.figures import by_fold, figures_of
    from train.out_of_fold import of_run

    answers = of_run(folder)
    shown: dict[str, Callable[[dict[str, Any]], float | None]]
    if answers.task == "segment":
        shown = {"Dice liver": lambda row: row["dice"][1], "Dice tumour": lambda row: row["dice"][2]}
    else:
        names = ("accuracy", "balanced_accuracy", "liver_accuracy", "lesion_auroc")
        shown = {name.replace("_", " "): itemgetter(name) for name in names}
    rows = [("all" if "fold" not in row else str(row["fold"]), row) for row in [*by_fold(answers), figures_of(answers)]]
    cells = [
        [name, str(row["patients"]), f"{row['slices']:,}", *(figure(get(row)) for get in shown.values())]
        for name, row in rows
    ]
    header = ["fold", "patients", "slices", *shown]
    mark = f", {MARK} data" if answers.record["synthetic"] else ""
    table(header, cells, right=header[1:], title=f"out of fold, last epochs{mark}")
    console.print(f"{folder}: folds.json, out_of_fold.npz, fold-1 to fold-{answers.folds}{', final' if final else ''}")
    console.print(DISCLAIMER)
    console.print(f"next:  lits-deploy evaluate {folder}")
    choices = "best|average|all" if final else "best|average"
    console.print(f"       lits-deploy export {folder} --from {choices}")
