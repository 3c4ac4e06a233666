"""`lits-deploy train`: parse, call `train.run.train`, draw its progress, print the next command."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lits_deploy import DISCLAIMER
from lits_deploy.errors import DataError, DeviceError, MissingExtra, OutputError

if TYPE_CHECKING:
    import torch

    from lits_deploy.contract import InputContract
    from train.metrics import Meter

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class ClassWeights(str, Enum):
    """--class-weights."""

    none = "none"
    balanced = "balanced"


class Schedule(str, Enum):
    """--schedule."""

    constant = "constant"
    cosine = "cosine"


class Augmentation(str, Enum):
    """--augment."""

    thesis = "thesis"
    upright = "upright"
    crop = "crop"
    none = "none"


class Init(str, Enum):
    """--init."""

    default = "default"
    kaiming = "kaiming"


class Resize(str, Enum):
    """--resize."""

    box = "box"
    bilinear = "bilinear"
    never = "never"


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
    epochs: int = typer.Option(15, min=1),
    batch_size: int = typer.Option(32, min=1),
    lr: float = typer.Option(1e-4, help="Adam's learning rate."),
    weight_decay: float = typer.Option(1e-5, help="L2 penalty inside Adam."),
    augment: Augmentation = typer.Option(
        Augmentation.thesis,
        help="The thesis's flips, jitter and random crop; upright: small turns and zooms in place of flips, for slices "
        "that all stand one way; the crop alone; or nothing.",
    ),
    schedule: Schedule = typer.Option(Schedule.constant, help="Learning rate: constant, or cosine down to 0."),
    class_weights: ClassWeights = typer.Option(ClassWeights.none, help="Weights of the cross-entropy."),
    init: Init = typer.Option(Init.default, help="Initial weights: PyTorch's, or Kaiming normal (Section 5.3)."),
    width: int | None = typer.Option(None, min=1, help="Channels of the U-Net's first stage. [default: 64]"),
    window: tuple[float, float] | None = typer.Option(
        None, metavar="LOW HIGH", help="Window of the slices in HU, where dataset.json does not say."
    ),
    resize: Resize = typer.Option(Resize.box, help="What to do with square slices of another size, here and later."),
    max_minutes: float | None = typer.Option(None, help="Start no epoch after so many minutes of training."),
    seed: int = typer.Option(0, min=0),
    device: str = typer.Option("auto", help="auto, cpu, cuda or cuda:N."),
    amp: Amp = typer.Option(Amp.auto, help="bf16 autocast; auto: on a GPU that has it."),
    workers: int = typer.Option(-1, help="Processes that augment; -1: none on the CPU, up to 8 on a GPU."),
    resume: bool = typer.Option(False, "--resume", help="Go on with the run in OUT."),
) -> None:
    """Train a network of the thesis on CT slices.

    The defaults are the thesis's (Section 5.2): Adam, 15 epochs, batch 32, flips, colour jitter, random crop to 224.
    """
    from train.models.registry import network

    info = network(model)
    contract = _contract(data, info.crop, window, resize.value)
    try:
        from train.config import TrainConfig
        from train.run import train as train_run
    except ImportError as error:
        if (error.name or "").split(".")[0] not in ("torch", "torchvision", "safetensors", "matplotlib"):
            raise
        raise MissingExtra(str(error.name), "train") from error

    from lits_deploy.cli.console import console

    target = torch_device(device)
    folder = out or (_newest_run(model) if resume else Path("runs") / f"{model}-{time.strftime('%Y%m%d-%H%M%S')}")
    config = TrainConfig(
        model=model, data=data, epochs=epochs, batch_size=batch_size, lr=lr, weight_decay=weight_decay,
        schedule=schedule.value, augment=augment.value,
        class_weights=class_weights.value, init=init.value, width=width, max_minutes=max_minutes, seed=seed,
        device=str(target), amp=use_amp(amp, target),
        workers=workers if workers >= 0 else (8 if target.type == "cuda" else 0),
        contract=contract,
    )  # fmt: skip
    console.print(f"{model}: {info.parameters:,} parameters ({info.source}), {target}, run {folder}")
    with Bars() as bars:
        try:
            figures = train_run(config, folder, resume=resume, observer=bars)
        except KeyboardInterrupt:
            console.print(f"stopped; finished epochs are kept. Go on with the same command and --out {folder} --resume")
            raise
    _summary(figures, folder)


def _contract(data: Path, crop: int | None, window: tuple[float, float] | None, resize: Any) -> InputContract:
    from lits_deploy.contract import InputContract
    from train.data.layout import read_layout

    declared = read_layout(data).window_hu
    if window is not None and declared is not None and window != declared:
        raise DataError(f"{data} declares the window {declared} HU, not {window}.", fix="leave --window out")
    return InputContract(window_hu=window or declared, crop=crop, resize=resize)


def torch_device(text: str) -> torch.device:
    """The device of that name, `auto` the GPU if there is one; DeviceError where it is not there."""
    import torch

    from lits_deploy.runtime.device import Device

    found = Device.parse(text, auto=Device("cuda") if torch.cuda.is_available() else Device("cpu"))
    if found.kind == "cuda" and found.index >= torch.cuda.device_count():
        raise DeviceError(f"{found} was asked for; PyTorch sees {torch.cuda.device_count()} GPUs.", fix="--device cpu")
    return torch.device(str(found))


def use_amp(amp: Amp, device: torch.device) -> bool:
    """Whether to compute in bf16."""
    import torch

    if amp is Amp.auto:
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return amp is Amp.on


def _newest_run(model: str) -> Path:
    runs = sorted(Path("runs").glob(f"{model}-*/config.json"), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise OutputError(
            f"There is no run of {model} in runs/ to resume.", fix="give --out RUN, or leave --resume out"
        )
    return runs[-1].parent


def _summary(figures: dict[str, Any], folder: Path) -> None:
    from lits_deploy.cli.console import console

    if "dice" in figures:
        liver, tumour = figures["dice"][1:]
        console.print(f"test, split by {figures['split_by']}: Dice liver {_figure(liver)}, tumour {_figure(tumour)}")
    else:
        console.print(
            f"test, split by {figures['split_by']}, best checkpoint: accuracy {figures['accuracy']:.3f}, "
            f"balanced {figures['balanced_accuracy']:.3f}, "
            f"liver/no-liver {figures['liver_accuracy']:.3f}, lesion AUROC {_figure(figures['lesion_auroc'])}"
        )
    console.print(f"{folder}: config.json, metrics.csv, curves.png, confusion.png, TensorBoard events, checkpoints")
    console.print(DISCLAIMER)
    console.print(f"next:  lits-deploy export {folder}")


def _figure(value: float | None) -> str:
    return "not defined here" if value is None else f"{value:.3f}"


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
        self._began = time.perf_counter()
        self._task = self._progress.add_task(what, total=slices, rate=0.0, note="")

    def batch(self, meter: Meter) -> None:
        """A batch is done."""
        rate = meter.slices / (time.perf_counter() - self._began)
        if meter.slices // 32 % 8 == 0:  # reading the loss waits for a GPU: not at each batch
            self._progress.update(self._task, note=f"loss {meter.mean_loss():.3f}")
        self._progress.update(self._task, completed=meter.slices, rate=rate)

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
            f"epoch {epoch}/{epochs}: train loss {row['train_loss']:.4f}, validate loss {row['validate_loss']:.4f}, "
            f"{figures}; {row['seconds']:.0f} s, {row['slices_per_second']:.1f} slices/s"
        )
