"""`lits-deploy train`: parse, call `train.run.train`, draw its progress, print the next command."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from lits_deploy import DISCLAIMER
from lits_deploy.errors import DataError, DeviceError, MissingExtra, OutputError, UserError

if TYPE_CHECKING:
    import torch

    from lits_deploy.contract import InputContract
    from train.meter import Meter
    from train.models.registry import Network

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class ClassWeights(str, Enum):
    """--class-weights."""

    none = "none"
    balanced = "balanced"


class Recipe(str, Enum):
    """--recipe."""

    thesis = "thesis"
    strong = "strong"


class Schedule(str, Enum):
    """--schedule."""

    constant = "constant"
    cosine = "cosine"


class Augmentation(str, Enum):
    """--augment."""

    thesis = "thesis"
    upright = "upright"
    strong = "strong"
    crop = "crop"
    none = "none"


class Sampling(str, Enum):
    """--sampling."""

    all = "all"
    balanced = "balanced"


class Optimiser(str, Enum):
    """--optimiser."""

    adam = "adam"
    adamw = "adamw"


class Init(str, Enum):
    """--init."""

    default = "default"
    kaiming = "kaiming"


class Resize(str, Enum):
    """--resize."""

    box = "box"
    bilinear = "bilinear"
    never = "never"


class Compile(str, Enum):
    """--compile."""

    auto = "auto"
    on = "on"
    off = "off"


class Amp(str, Enum):
    """--amp."""

    auto = "auto"
    on = "on"
    off = "off"


@app.command()
def train(
    data: Path = typer.Option(Path("data"), help="Folder with train/, validate/ and test/."),
    model: str = typer.Option("resnet18", help="A name that `lits-deploy models` lists."),
    out: Path | None = typer.Option(None, help="Folder of the run. [default: runs/MODEL-TIME]"),
    recipe: Recipe = typer.Option(
        Recipe.thesis,
        help="The thesis's settings, or those that did best on patients never seen; single options override either.",
    ),
    epochs: int | None = typer.Option(None, min=1, help="[thesis: 15]"),
    batch_size: int = typer.Option(32, min=1),
    lr: float | None = typer.Option(None, help="Learning rate. [thesis: 1e-4]"),
    weight_decay: float | None = typer.Option(None, help="L2 penalty inside Adam, or AdamW's decay. [thesis: 1e-5]"),
    optimiser: Optimiser | None = typer.Option(None, help="[thesis: adam]"),
    augment: Augmentation | None = typer.Option(
        None,
        help="The thesis's flips, jitter and random crop; upright: small turns and zooms in place of flips, for slices "
        "that all stand one way; strong: more of that, shifts, elastic, window and gamma; the crop alone; or nothing. "
        "[thesis: thesis]",
    ),
    schedule: Schedule | None = typer.Option(
        None, help="Learning rate: constant, or cosine down to 0. [thesis: constant]"
    ),
    class_weights: ClassWeights | None = typer.Option(None, help="Weights of the cross-entropy. [thesis: none]"),
    sampling: Sampling | None = typer.Option(None, help="Every slice once an epoch, or classes alike. [thesis: all]"),
    average: float | None = typer.Option(
        None, min=0.0, max=0.99999, help="Decay of the moving average of weights; 0: none. [thesis: 0]"
    ),
    masks: float | None = typer.Option(
        None, min=0.0, help="Weight of the masks as a classifier's second target. [thesis: 0]"
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
        help="Share of the epochs, the first ones, on slices of half the side, at a quarter of the cost. [thesis: 0]",
    ),
    init: Init = typer.Option(Init.default, help="Initial weights: PyTorch's, or Kaiming normal (Section 5.3)."),
    width: int | None = typer.Option(None, min=1, help="Channels of the U-Net's first stage. [default: 64]"),
    window: tuple[float, float] | None = typer.Option(
        None, metavar="LOW HIGH", help="Window of the slices in HU, where dataset.json does not say."
    ),
    size: int | None = typer.Option(
        None,
        min=64,
        max=512,
        help="Side of the slices that the network is given, here and later; crop, and cost, go with it. [thesis: 256]",
    ),
    channels: int | None = typer.Option(
        None, min=1, max=9, help="Slices the network sees at once, neighbours around the one it judges. [thesis: 1]"
    ),
    resize: Resize = typer.Option(Resize.box, help="What to do with square slices of another size, here and later."),
    max_minutes: float | None = typer.Option(None, help="Start no epoch after so many minutes of training."),
    seed: int = typer.Option(0, min=0),
    device: str = typer.Option("auto", help="auto, cpu, cuda or cuda:N."),
    amp: Amp = typer.Option(Amp.auto, help="bf16 autocast; auto: where the hardware has it."),
    compile_: Compile = typer.Option(Compile.auto, "--compile", help="torch.compile; auto: on a GPU, where it works."),
    workers: int = typer.Option(0, min=0, help="Processes that fetch slices, where they do not fit on the GPU."),
    resume: bool = typer.Option(False, "--resume", help="Go on with the run in OUT."),
) -> None:
    """Train a network of the thesis on CT slices.

    The defaults are the thesis's (Section 5.2): Adam, 15 epochs, batch 32, flips, colour jitter, random crop to 224.
    """
    from train.models.registry import network

    info = network(model)
    try:
        from train import distributed
        from train.config import TrainConfig
        from train.run import train as train_run
        from train.settings import FULL_SIZE, RECIPES
    except ImportError as error:
        if (error.name or "").split(".")[0] not in ("torch", "torchvision", "safetensors", "matplotlib"):
            raise
        raise MissingExtra(str(error.name), "train") from error

    from lits_deploy.cli.console import console

    if distributed.wanted() > 1:
        if out is None:
            raise UserError("Several processes need one folder.", fix="give --out RUN")
        console.quiet = distributed.launched_rank() > 0  # one process speaks for all
    target = torch_device(device)
    folder = out or (_newest_run(model) if resume else Path("runs") / f"{model}-{time.strftime('%Y%m%d-%H%M%S')}")
    given = {
        "epochs": epochs, "lr": lr, "weight_decay": weight_decay, "optimiser": optimiser, "augment": augment,
        "schedule": schedule, "class_weights": class_weights, "sampling": sampling, "average": average, "masks": masks,
        "dice": dice, "mixup": mixup, "coarse": coarse,
    }  # fmt: skip
    settings = RECIPES[recipe.value](info) | {
        name: value.value if isinstance(value, Enum) else value for name, value in given.items() if value is not None
    }
    shape = {"size": FULL_SIZE, "channels": 1}
    shape = {name: settings.pop(name, usual) for name, usual in shape.items()}
    shape |= {name: value for name, value in {"size": size, "channels": channels}.items() if value is not None}
    contract = _contract(data, info, shape["size"], shape["channels"], window, resize.value)
    config = TrainConfig(
        model=model, data=data, batch_size=batch_size, init=init.value, width=width, max_minutes=max_minutes,
        seed=seed, device=str(target), amp=use_amp(amp, target), compiled=_compiled(compile_, target), workers=workers,
        recipe=recipe.value, contract=contract, **settings,
    )  # fmt: skip
    what = f"{info.parameters:,} parameters" if width is None else f"width {width}"
    if contract.channels > 1:
        what = f"{contract.channels} slices at once" + ("" if width is None else f", {what}")
    console.print(f"{model}: {what} ({info.source}), {target}, run {folder}")
    with Bars() as bars:
        try:
            figures = train_run(config, folder, resume=resume, observer=bars)
        except KeyboardInterrupt:
            console.print(f"stopped; finished epochs are kept. Go on with the same command and --out {folder} --resume")
            raise
    _summary(figures, folder)


def _contract(
    data: Path, info: Network, size: int, channels: int, window: tuple[float, float] | None, resize: Any
) -> InputContract:
    from train.data.layout import read_layout
    from train.settings import input_contract

    declared = read_layout(data).window_hu
    if window is not None and declared is not None and window != declared:
        raise DataError(f"{data} declares the window {declared} HU, not {window}.", fix="leave --window out")
    return input_contract(info, window=window or declared, size=size, channels=channels, resize=resize)


def torch_device(text: str) -> torch.device:
    """The device of that name, `auto` the GPU if there is one; DeviceError where it is not there."""
    import torch

    from lits_deploy.runtime.device import Device
    from train import distributed

    if distributed.wanted() > 1 and text == "auto" and torch.cuda.is_available():
        text = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    found = Device.parse(text, auto=Device("cuda") if torch.cuda.is_available() else Device("cpu"))
    if found.kind == "cuda" and found.index >= torch.cuda.device_count():
        raise DeviceError(f"{found} was asked for; PyTorch sees {torch.cuda.device_count()} GPUs.", fix="--device cpu")
    return torch.device(str(found))


def use_amp(amp: Amp, device: torch.device) -> bool:
    """Whether to compute in bf16."""
    import torch

    if amp is Amp.auto:
        # A CPU without instructions for bf16 emulates it, slowly.
        cuda = device.type == "cuda"
        native: bool = torch.cuda.is_bf16_supported() if cuda else torch.cpu._is_avx512_bf16_supported()
        return native
    return amp is Amp.on


def _compiled(choice: Compile, device: torch.device) -> bool | Literal["auto"]:
    if choice is Compile.auto:
        return "auto" if device.type == "cuda" else False
    return choice is Compile.on


def _newest_run(model: str) -> Path:
    runs = sorted(Path("runs").glob(f"{model}-*/config.json"), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise OutputError(
            f"There is no run of {model} in runs/ to resume.", fix="give --out RUN, or leave --resume out"
        )
    return runs[-1].parent


def _summary(figures: dict[str, Any], folder: Path) -> None:
    from lits_deploy.cli.console import console
    from lits_deploy.synthetic import MARK

    mark = f" ({MARK} data)" if figures.get("synthetic") else ""
    if "dice" in figures:
        liver, tumour = figures["dice"][1:]
        console.print(
            f"test{mark}, split by {figures['split_by']}: Dice liver {_figure(liver)}, tumour {_figure(tumour)}"
        )
    else:
        console.print(
            f"test{mark}, split by {figures['split_by']}, best checkpoint: accuracy {figures['accuracy']:.3f}, "
            f"balanced {figures['balanced_accuracy']:.3f}, "
            f"liver/no-liver {figures['liver_accuracy']:.3f}, lesion AUROC {_figure(figures['lesion_auroc'])}"
        )
    console.print(f"{folder}: config.json, metrics.csv, curves.png, confusion.png, TensorBoard events, checkpoints")
    console.print(DISCLAIMER)
    console.print(f"next:  lits-deploy export {folder}")


def _figure(value: float | None, digits: int = 3) -> str:
    return "not defined here" if value is None else f"{value:.{digits}f}"


LOSS_EVERY = 0.5
"""Seconds between two looks at the loss: each waits for a GPU."""


class Bars:
    """The observer that draws: one bar a pass, one line an epoch."""

    def __init__(self) -> None:
        from lits_deploy.cli.console import console, progress_bar

        self._console, self._progress = console, progress_bar()
        self._task: Any = None

    def __enter__(self) -> Any:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def measure(self, epoch: int, validate: dict[str, Any], evaluate: Callable[[str], dict[str, Any]]) -> None:
        """Nothing more is measured."""

    def say(self, line: str) -> None:
        """A line for the user."""
        self._console.print(line)

    def start(self, what: str, slices: int) -> None:
        """A pass over the data begins: its bar replaces the one before."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._began, self._read = time.perf_counter(), -math.inf
        self._task = self._progress.add_task(what, total=slices, rate=0.0, note="")

    def batch(self, meter: Meter) -> None:
        """A batch is done."""
        now = time.perf_counter()
        if now - self._read >= LOSS_EVERY:
            self._progress.update(self._task, note=f"loss {_figure(meter.mean_loss())}")
            self._read = time.perf_counter()
        self._progress.update(self._task, completed=meter.slices, rate=meter.slices / (now - self._began))

    def end_epoch(self, epoch: int, epochs: int, row: dict[str, Any]) -> None:
        """An epoch is done: its line."""
        figures = f"accuracy {row['validate_accuracy']:.3f}, balanced {row['validate_balanced_accuracy']:.3f}"
        if row.get("validate_dice1") is not None:
            figures = f"Dice liver {row['validate_dice1']:.3f}, tumour {_figure(row.get('validate_dice2'))}"
        elif row.get("validate_lesion_auroc") is not None:
            figures += f", lesion AUROC {row['validate_lesion_auroc']:.3f}"
        if row.get("split_by") == "slice":
            figures += " (split by slice)"
        self._console.print(
            f"epoch {epoch}/{epochs}: train loss {_figure(row['train_loss'], 4)}, "
            f"validate loss {_figure(row['validate_loss'], 4)}, {figures}; {row['seconds']:.0f} s, "
            f"{row['slices_per_second']:.1f} slices/s"
        )
