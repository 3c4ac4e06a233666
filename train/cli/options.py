"""Options that several commands of `train` have (see `lits_deploy.cli.run_options`)."""

from __future__ import annotations

import typer

DEVICE = typer.Option("auto", help="auto, cpu, cuda or cuda:N.")
DATA = "Data set in the training layout."
WINDOW = typer.Option(None, metavar="LOW HIGH", help="Window of the slices in HU, if dataset.json does not say.")
PROCESSES = typer.Option(None, "--workers", min=1, help="Processes. [default: one per processor]")
SEED = typer.Option(0, min=0, help="Another seed, other initial weights and order of slices.")
