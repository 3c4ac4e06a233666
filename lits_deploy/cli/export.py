"""`lits-deploy export`: parse, call `export.run.export`, print the next commands."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lits_deploy import DISCLAIMER
from lits_deploy.errors import DataError, MissingExtra, UserError

if TYPE_CHECKING:
    from export.source import Original

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class Checkpoint(str, Enum):
    """--checkpoint."""

    best = "best"
    last = "last"


@app.command()
def export(
    run: Path | None = typer.Argument(None, help="Folder of a training run. [default: the newest in runs/]"),
    out: Path | None = typer.Option(None, help="Folder of the bundle. [default: RUN-bundle]"),
    checkpoint: Checkpoint = typer.Option(Checkpoint.best, help="Best by validate, or the last epoch's."),
    weights: Path | None = typer.Option(None, help="Export a plain state dict of --model instead of a run."),
    model: str | None = typer.Option(None, help="With --weights: a name that `lits-deploy models` lists."),
    width: int | None = typer.Option(None, help="With --weights: channels of the U-Net's first stage."),
    window: tuple[float, float] | None = typer.Option(
        None, metavar="LOW HIGH", help="With --weights: the window in HU it was trained through."
    ),
    data: Path | None = typer.Option(None, help="Take parity slices from this data set's validate split."),
    slices: int = typer.Option(256, min=256, help="Slices that PyTorch and the bundle are compared on."),
    trt: bool = typer.Option(False, "--trt", help="Also build TensorRT engines (not in this version)."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace a bundle at OUT."),
) -> None:
    """Turn a training run into a bundle that proves itself.

    Preprocessing is inside the graph; the export fails if ONNX Runtime and PyTorch disagree.
    """
    if weights is None and (model or width or window):
        raise UserError("--model, --width and --window go with --weights.", fix="leave them out; the run knows")
    try:
        from export.run import export as export_run
    except ImportError as error:
        if (error.name or "").split(".")[0] in ("lits_deploy", "train", "export"):
            raise
        raise MissingExtra(str(error.name), "export") from error
    from lits_deploy.cli.console import console, progress_bar

    if data is not None:  # asked for by name: never phantoms in its place
        from train.data.layout import read_layout

        read_layout(data, ("validate",))
    if weights is None:
        source = run or _newest_run()
        original = _from_run(source, checkpoint, data)
        target = out or source.with_name(f"{source.resolve().name}-bundle")
    else:
        original = _from_weights(weights, model, width, window, data)
        target = out or weights.with_name(f"{weights.stem}-bundle")
    with progress_bar() as bar:
        task = bar.add_task("parity", total=slices, rate=0.0, note="")
        bundle = export_run(
            original, target, overwrite=overwrite, slices=slices,
            say=lambda line: console.print(line, markup=False), progress=lambda n: bar.update(task, advance=n),
        )  # fmt: skip
    console.print(f"bundle {target} ({bundle.sha256[:12]}), {original.contract.size}×{original.contract.size} in")
    console.print(DISCLAIMER)
    console.print(f"next:  lits-deploy verify {target}")
    if original.info.task == "classify":
        console.print(f"       lits-deploy classify {target} SCANS --out OUT")
    console.print(f"       lits-deploy benchmark {target}" + ("" if weights else f" --against {source}"))
    if trt:
        raise UserError(
            f"This version builds no TensorRT engine yet; the ONNX bundle at {target} is whole.",
            fix=f"use it with ONNX Runtime: lits-deploy classify {target} SCANS",
        )


def _newest_run() -> Path:
    runs = sorted(Path("runs").glob("*/best.safetensors"), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise DataError("There is no training run in runs/.", fix="make one with `lits-deploy train`, or name a RUN")
    return runs[-1].parent


def _from_run(run: Path, checkpoint: Checkpoint, data: Path | None) -> Original:
    from dataclasses import replace

    from export.source import from_run

    original = from_run(run, choice=checkpoint.value)
    return replace(original, data=data) if data is not None else original


def _from_weights(
    weights: Path, model: str | None, width: int | None, window: tuple[float, float] | None, data: Path | None
) -> Original:
    from dataclasses import replace

    from export.source import from_weights
    from lits_deploy.contract import InputContract
    from train.models.registry import network

    if model is None:
        raise UserError("--weights needs --model.", fix="name the network, see `lits-deploy models`")
    contract = InputContract(window_hu=window, crop=network(model).crop)
    return replace(from_weights(weights, model, width=width, contract=contract), data=data)
