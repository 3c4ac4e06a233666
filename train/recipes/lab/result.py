"""The result of a recipe as one JSON document: what its README and the page are made from."""

from __future__ import annotations

import inspect
import re
import statistics
from pathlib import Path
from typing import Any

from lits_deploy import DISCLAIMER
from lits_deploy.spreadsheet import csv_text
from train.recipes.lab.bench import Bench
from train.recipes.lab.runs import FinishedRun
from train.recipes.registry import PARTS, Recipe
from train.run import provenance


def account(recipe: Recipe) -> dict[str, str]:
    """What the recipe's docstring says under each of PARTS."""
    text = inspect.getdoc(recipe.function) or ""
    found = {}
    for paragraph in re.split(r"\n\s*\n", text):
        head, colon, rest = paragraph.partition(":")
        if colon and head in PARTS:
            said = " ".join(rest.split())
            found[head] = said[:1].upper() + said[1:]
    return found


def document(bench: Bench, command: str, seconds: float) -> dict[str, Any]:
    """Everything to be said about a recipe that ran through."""
    data = {**bench.data.layout.describe(), "identity": bench.data.identity} if bench.recipe.reads else None
    return {
        "id": bench.recipe.id,
        "summary": bench.recipe.summary,
        "finished": True,
        "account": account(bench.recipe),
        "trains": bench.recipe.trains,
        "scale": bench.scale.name if bench.recipe.trains else "1",
        "scale_line": bench.scale_line,
        "data_line": bench.data_line,
        "data": data,
        "used": {split: len(samples) for split, samples in bench.splits.items()} if bench.recipe.trains else None,
        "seeds": bench.settings.seeds if bench.recipe.trains else 0,
        "tables": [table.to_json() for table in bench.tables],
        "pictures": bench.pictures,
        "notes": bench.notes,
        "runs": [_run(run) for run in bench.runs.values()],
        "command": command,
        "seconds": round(seconds, 1),
        "made_with": provenance(),
        "disclaimer": DISCLAIMER,
    }


def _run(run: FinishedRun) -> dict[str, Any]:
    settings = ("model", "lr", "weight_decay", "init", "class_weights", "width", "batch_size", "seed", "amp")
    return {
        **{name: getattr(run.config, name) for name in settings},
        **{name: getattr(run, name) for name in ("name", "epochs", "split_by", "device")},
        "seconds_per_epoch": statistics.fmean(run.row("seconds")) if run.rows else None,
    }


def epochs_csv(runs: list[FinishedRun]) -> str:
    """Every epoch of every run of a recipe: figures on validate and test, by patient or slice, as a table."""
    figures = ("loss", "accuracy", "balanced_accuracy", "liver_accuracy", "lesion_auroc")
    lists = ("class_accuracy", "dice", "iou")
    splits = ("validate", "test")
    header = ["run", "seed", "split_by", "epoch", "seconds", "train_loss", "train_accuracy"]
    header += [f"{split}_{name}" for split in splits for name in figures]
    header += [f"{split}_{name}{k}" for split in splits for name in lists for k in range(3)]
    rows: list[list[Any]] = [header]
    for run in runs:
        for row, line in zip(run.rows, run.lines, strict=True):
            values = [row[name] for name in ("seconds", "train_loss", "train_accuracy")]
            values += [line[split].get(name) for split in splits for name in figures]
            values += [(line[split].get(n) or [None] * 3)[k] for split in splits for n in lists for k in range(3)]
            numbers = ["" if value is None else f"{value:.7g}" for value in values]
            rows.append([run.name, run.config.seed, run.split_by, row["epoch"], *numbers])
    return csv_text(rows)


def link_runs(bench: Bench) -> None:
    """OUT/<id>/runs/NAME → OUT/runs/NAME, for exactly the runs that the recipe used."""
    folder = bench.folder / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_symlink():
            path.unlink()
    for name in bench.runs:
        (folder / name).symlink_to(Path("..") / ".." / "runs" / name)
