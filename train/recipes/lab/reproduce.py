"""One recipe, or all of them: into OUT/<id>/, with the page OUT/report.html over everything that OUT holds.

    OUT/ reproduce.json  report.html  <id>/ README.md *.md *.csv *.png epochs.csv result.json runs/ → ../../runs/…
         runs/  every training, once    data/  parts and other splits of DATA, as links

Interrupted at any moment, the same call goes on: finished runs are not repeated, tables and figures are made again.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lits_deploy import __version__
from lits_deploy.errors import OutputError, UserError
from lits_deploy.files import write_json, write_printable, write_text
from lits_deploy.locks import folder_held
from train.recipes.lab.bench import Bench, BenchSettings
from train.recipes.lab.dataset import DataSet
from train.recipes.lab.page import read_result, readme, write_page
from train.recipes.lab.result import document, epochs_csv, link_runs
from train.recipes.registry import RESULT, Recipe
from train.session import Observer

MARK, LOCK = "reproduce.json", ".lock"


def reproduce(
    recipes: Sequence[Recipe], data: Path, settings: BenchSettings, *, watch: Observer, arguments: Sequence[str]
) -> list[dict[str, Any]]:
    """Run recipes one after another and write the page; returns their results, as in result.json.

    arguments: of the command line, for the READMEs. Of several recipes, one that ends in a UserError (a U-Net on data
    without masks) is noted as not made, and the others go on; a single one raises it. Raises DataError for unusable
    data, and OutputError where OUT holds something else, or a recipe's result on other data or of another scale.
    """
    out = settings.out
    _open(out)
    busy = OutputError(f"Another `lits-deploy reproduce` is at work in {out}.", fix="wait for it")
    with folder_held(out, LOCK, busy):  # two would train one run into one folder
        source = DataSet(data, out / "data")
        for recipe in recipes:
            _refuse_other(recipe, source, settings)
        if any(recipe.trains for recipe in recipes) and settings.window_hu is None and source.layout.window_hu is None:
            watch.say(f"note: {data} declares no window; recorded as unknown (--window LOW HIGH declares it).")
        if any(recipe.reads for recipe in recipes) and source.layout.split_by == "slice":
            watch.say(f"warning: {data} is split by slice; accuracies will be too high.")
        results = []
        for recipe in recipes:
            watch.say(f"{recipe.id}: {recipe.summary}")
            command = shlex.join(["lits-deploy", "reproduce", recipe.id, *arguments])
            try:
                results.append(_make(recipe, source, settings, watch, command))
            except UserError as error:
                if len(recipes) == 1:
                    raise
                watch.say(f"  not made: {error}")
                results.append(_not_made(recipe, settings, str(error)))
        write_page(out)
        return results


def _make(recipe: Recipe, source: DataSet, settings: BenchSettings, watch: Observer, command: str) -> dict[str, Any]:
    began = time.perf_counter()
    bench = Bench(recipe, settings, source, watch)
    bench.folder.mkdir(parents=True, exist_ok=True)
    recipe.function(bench)
    result = document(bench, command, time.perf_counter() - began)
    if bench.runs:
        link_runs(bench)
        write_text(bench.folder / "epochs.csv", epochs_csv(list(bench.runs.values())))
    write_printable(bench.folder / "README.md", readme(result, bench.tables))
    write_json(bench.folder / RESULT, result)
    return result


def _not_made(recipe: Recipe, settings: BenchSettings, reason: str) -> dict[str, Any]:
    result = {"id": recipe.id, "summary": recipe.summary, "finished": False, "reason": reason}
    write_json(settings.out / recipe.id / RESULT, result)
    return result


def _open(out: Path) -> None:
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file()):
        raise OutputError(f"{out} holds something else than reproduced results.", fix="give another --out")
    write_json(out / MARK, {"made_by": "lits-deploy reproduce", "lits_deploy": __version__})


def _refuse_other(recipe: Recipe, source: DataSet, settings: BenchSettings) -> None:
    """Results of two scales or two data sets in one folder would be taken for one another."""
    before: dict[str, Any] | None = read_result(settings.out / recipe.id)
    if before is None or not before["finished"]:
        return
    where = settings.out / recipe.id
    if recipe.reads and before["data"]["identity"] != source.identity:
        raise OutputError(f"{where} holds the result on other data.", fix="give another --out, or remove it")
    if recipe.trains and before["scale"] != settings.scale.name:
        raise OutputError(f"{where} holds the result of --scale {before['scale']}.", fix="give another --out")
