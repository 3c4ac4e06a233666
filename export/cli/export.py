"""`lits-deploy export`: parse, call `export.run.export`, print the next commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from export.choices import Checkpoint, Flips, Networks
from export.cli import engines
from lits_deploy import DISCLAIMER, exits
from lits_deploy.cli import logging_options, run_options
from lits_deploy.cli.bundle.inspect import to_json
from lits_deploy.cli.extras import needs
from lits_deploy.cli.lazy import exit_codes
from lits_deploy.errors import DataError, UserError

if TYPE_CHECKING:  # the command's help needs no numpy
    from lits_deploy.bundle import Bundle


@exit_codes("0 done", "1 a precision failed its gate")
@logging_options.reported("export")
def export(
    run: Path | None = typer.Argument(
        None, metavar="RUN|BUNDLE", help="Training run; with --trt a bundle too. [default: the newest in runs/]"
    ),
    out: Path | None = typer.Option(None, help="Folder of the bundle. [default: RUN-bundle]"),
    checkpoint: Checkpoint | None = typer.Option(
        None, help="Best on validate, or the last epoch's. [default: best; for a folded run always the last]"
    ),
    networks: Networks | None = typer.Option(
        None,
        "--from",
        help="For a folded run: the network of the median fold; the mean of all folds' networks in one graph; or "
        "the one that was trained on all patients (train --final). [default: best]",
    ),
    weights: Path | None = typer.Option(
        None, help="Export these weights of --model, or this checkpoint, instead of a run."
    ),
    model: str | None = typer.Option(None, help="With --weights: a name that `lits-deploy models` lists."),
    width: int | None = typer.Option(None, help="With --weights: channels of the U-Net's first stage."),
    channels: int | None = typer.Option(
        None, min=1, help="With --weights: slices it was trained to see at once. [default: 1]"
    ),
    size: int | None = typer.Option(
        None, min=64, max=512, help="With --weights: side of the slices it was trained on. [default: 256]"
    ),
    window: tuple[float, float] | None = typer.Option(
        None, metavar="LOW HIGH", help="Window in HU that it was trained with, if the run did not record one."
    ),
    data: Path | None = typer.Option(None, help="Take parity slices from this data set's validate split."),
    slices: int = typer.Option(256, min=256, help="Slices that PyTorch and the bundle are compared on."),
    operating_point: str = typer.Option(
        "argmax",
        metavar="RULE",
        help="Rule by which a slice is called a lesion: argmax, balanced, sensitivity=S or specificity=S; its threshold"
        " is set on patients that the network has not seen.",
    ),
    cam: bool | None = typer.Option(
        None,
        "--cam/--no-cam",
        help="Also export the class-activation map, for reports. [default: if the network has one]",
    ),
    flips: Flips = typer.Option(
        "none", help="Average the answer over mirror images: left-right (sides, 2 passes) or all four."
    ),
    fp16: bool = typer.Option(False, "--fp16", help="Also write an FP16 file, checked against the original."),
    int8: bool = typer.Option(False, "--int8", help="Also write INT8 files: one for CPUs, one for TensorRT."),
    calibration: str | None = typer.Option(
        None, metavar="DATA[:train]", help="Calibrate on this data set's training patients. [default: the run's own]"
    ),
    calibration_slices: int = typer.Option(
        512, min=8, help="Slices to calibrate on, spread over classes and patients."
    ),
    gates: list[str] | None = typer.Option(
        None,
        "--gate",
        metavar="PRECISION.NAME=SHARE",
        help="Change a limit of a gate, such as int8.accuracy=0.98; it is recorded.",
    ),
    allow_failing: bool = typer.Option(False, "--allow-failing", help="Keep files that fail their gate, marked."),
    report: Path | None = typer.Option(
        None, "--gate-report", help="Folder for flipped slices (they show patients). [default: OUT-gates]"
    ),
    trt: bool = typer.Option(False, "--trt", help="Build TensorRT engines, too; from a bundle this needs no PyTorch."),
    precision: str | None = typer.Option(
        None, help="With --trt: precisions to build, such as fp16,int8. [default: all that are for TensorRT]"
    ),
    max_batch: int | None = typer.Option(
        None, min=1, help="With --trt: most slices that an engine takes at once. [default: by the GPU's memory, ≤ 64]"
    ),
    opt_batch: int | None = typer.Option(
        None, min=1, help="With --trt: batch size that it is tuned for. [default: 32, or the most]"
    ),
    engine_cache: Path | None = typer.Option(
        None,
        help="With --trt: folder of engines. [default: $LITS_DEPLOY_ENGINE_CACHE or ~/.cache/lits-deploy/engines]",
    ),
    compute_capability: str | None = typer.Option(
        None, help="With --trt: build for these GPUs instead of the one here, such as sm86,sm89 (TensorRT for RTX)."
    ),
    trt_flavour: str | None = typer.Option(None, help="With --trt: auto, tensorrt or rtx. [default: auto]"),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace a bundle at OUT."),
    as_json: bool = run_options.AS_JSON,
) -> None:
    """Turn a training run into a bundle that proves itself.

    Preprocessing is inside the graph; the export fails if ONNX Runtime and PyTorch disagree. Other precisions are
    checked on the validate split, on the runtimes they are for; one that fails its gate is left out and the exit code
    is 1.
    """
    if weights is not None and (networks or checkpoint):
        raise UserError("--from and --checkpoint are for runs, not for --weights.", fix="leave them out")
    if weights is None and (model or width or channels or size):
        raise UserError(
            "--model, --width, --channels and --size go with --weights.", fix="leave them out; the run knows"
        )
    if not (fp16 or int8) and (calibration or gates or allow_failing or report):
        raise UserError(
            "--calibration, --gate, --allow-failing, --gate-report go with --fp16 or --int8.", fix="add one"
        )
    from lits_deploy.bundle import Bundle
    from lits_deploy.bundle_zip import looks_like_bundle
    from lits_deploy.cli.console import console, print_json, progress_bar
    from lits_deploy.operating_point import ARGMAX, parse_rule
    from lits_deploy.trt.bundle_engines import EngineOptions

    rule = parse_rule(operating_point)
    options = EngineOptions(
        precision=precision,
        max_batch=max_batch,
        opt_batch=opt_batch,
        engine_cache=engine_cache,
        compute_capability=compute_capability,
        flavour=trt_flavour,
    )
    if trt:
        options.tools()  # before anything that takes time: is there a library, and a GPU to build for?
    elif options != EngineOptions():
        raise UserError("An option for engines was given without --trt.", fix="add --trt, or leave it out")
    if run is not None and run.exists() and looks_like_bundle(run):
        others = (fp16, int8, out, weights, data, window, networks, cam is not None, flips != "none", rule != ARGMAX)
        if not trt or any(others):
            raise UserError(f"{run} is a bundle already.", fix="build its engines with --trt alone, or export its run")
        records = engines.build(run, options, as_json=as_json)
        if as_json:
            print_json({**to_json(Bundle.open(run), [], packed=run.is_file()), "engines": records})
        return
    with needs("export"):
        from export.cli.artifacts import show_artifacts
        from export.gate import override
        from export.open_run import as_asked, original_of
        from export.precision.add import WantedPrecisions
        from export.precision.calibration_set import parse
        from export.progress import ExportProgress
        from export.run import export as export_run
        from export.source import open_weights
    from lits_deploy.events.emit import phase
    from lits_deploy.procedure import made_of
    from train import runs_folder

    if weights is None:
        source = run or runs_folder.newest("best.safetensors", "out_of_fold.npz")
        if source is None:
            raise DataError(
                "There is no training run in runs/.", fix="make one with `lits-deploy train`, or name a RUN"
            )
        kind = f"{networks or 'best'}-bundle" if runs_folder.is_folded(source) else "bundle"
        original = original_of(source, networks=networks, checkpoint=checkpoint, data=data).with_window(window)
        target = out or source.with_name(f"{source.resolve().name}-{kind}")
    else:
        original = open_weights(
            weights, model=model, width=width, channels=channels, size=size, window=window, data=data
        )
        for line in original.training.get("adapted", ()):
            console.print(f"{weights.name}: {line}")
        if (weights.parent / "config.json").is_file() and "settings" in original.training:
            console.print(f"note: `lits-deploy export {weights.parent}` also records the data and figures of that run")
        target = out or weights.with_name(f"{weights.stem}-bundle")
    original = as_asked(original, rule=rule, flips=flips, cam=cam)
    if line := original.window_remark():
        console.print(line)
    if line := made_of(original.training):
        console.print(line)
    limits, overridden = override(gates or [])
    wanted = WantedPrecisions(
        fp16=fp16,
        int8=int8,
        calibration=None if calibration is None else parse(calibration),
        calibration_slices=calibration_slices,
        allow_failing=allow_failing,
        limits=limits,
        overridden=tuple(overridden),
        report=report or target.with_name(f"{target.resolve().name}-gates"),
    )
    with progress_bar() as bar:
        task = bar.add_task("export", total=None, rate=0.0, note="")

        def begin(name: str, total: int) -> None:
            phase(name)
            bar.reset(task, description=name, total=total)

        observer = ExportProgress(say=console.print, phase=begin, progress=lambda n: bar.update(task, advance=n))
        bundle = export_run(
            original, target, overwrite=overwrite, slices=slices, wanted=wanted, operating_point=rule, observer=observer
        )
    if not as_json:
        if wanted:
            show_artifacts(bundle)
        _print(bundle, against=None if weights or original.folded else source)
    records = engines.build(target, options, as_json=as_json) if trt else {}
    if as_json:
        print_json({**to_json(bundle, [], packed=False), "engines": records})
    if bundle.manifest.left_out:
        raise typer.Exit(exits.SOME_FAILED)


def _print(bundle: Bundle, *, against: Path | None) -> None:
    """What was made, and the commands that come next. against: the run that a benchmark can compare it with."""
    from lits_deploy.cli.console import console

    target, task = bundle.folder, bundle.manifest.task
    shape = "×".join(map(str, bundle.manifest.contract.shape))
    console.print(f"bundle {target} ({bundle.sha256[:12]}), {shape} in")
    console.print(DISCLAIMER)
    console.print(f"next:  lits-deploy verify {target}")
    console.print(f"       lits-deploy {task} {target} SCANS --out OUT")
    if task == "classify" and any(artifact.name == "int8-cpu" for artifact in bundle.manifest.artifacts):
        console.print(f"       lits-deploy classify {target} SCANS --out OUT --precision int8")
    console.print(f"       lits-deploy benchmark {target}{'' if against is None else f' --against {against}'}")
