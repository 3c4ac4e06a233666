"""`lits-deploy demo`: call `benchmarks.demo`, print what came out and where to look."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import typer

from lits_deploy import DISCLAIMER
from lits_deploy.cli import logging_options
from lits_deploy.errors import MissingExtra


@logging_options.reported("demo")
def demo(
    out: Path = typer.Option(Path("demo-out"), help="Folder for everything the demo makes."),
    patients: int = typer.Option(24, min=6, help="Synthetic patients."),
    epochs: int = typer.Option(5, min=1, help="Passes over the training slices."),
    seed: int = typer.Option(0, min=0, help="Another seed, other patients and initial weights."),
) -> None:
    """Run everything once on synthetic data: train, export, verify, classify, benchmark.

    Takes under 10 minutes on 2 CPU cores, and needs the train and export extras.
    """
    for module, extra in (("torch", "train"), ("onnx", "export"), ("onnxscript", "export")):
        if importlib.util.find_spec(module) is None:  # before minutes of work, not after
            raise MissingExtra(module, extra)
    from benchmarks.demo import AIMS, run_demo
    from lits_deploy.cli.console import console

    result = run_demo(out, console.print, patients=patients, epochs=epochs, seed=seed)
    figures = result["figures"]
    console.print()
    console.print(f"On {figures['slices']} slices of synthetic patients the network never saw:")
    for name, text in (("liver_accuracy", "liver / no liver accuracy"), ("lesion_auroc", "lesion-slice AUROC")):
        if (figure := figures[name]) is None:
            console.print(f"  {text}: not defined here")
            continue
        reached = figure >= AIMS[name]
        console.print(f"  {text}: {figure:.3f} ({'aim' if reached else 'BELOW the aim'}: ≥ {AIMS[name]})")
    if figures["balanced_accuracy"] is not None:
        console.print(f"  balanced accuracy of the three classes: {figures['balanced_accuracy']:.3f}")
    minutes = sum(result["seconds"].values()) / 60
    parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result["seconds"].items())
    console.print(f"{minutes:.1f} minutes ({parts})")
    console.print("Look at:")
    for path, what in (
        ("data/test/images", "synthetic slices"),
        ("run/curves.png", "learning curves"),
        ("run/confusion.png", "confusion matrix on validate"),
        ("bundle/README.md", "model card"),
        ("results/slices.csv", "one row a slice"),
        ("benchmark/latency.png", "latency beside PyTorch"),
    ):
        if (out / path).exists():
            console.print(f"  {out / path}: {what}")
    console.print(DISCLAIMER)
