"""`lits-deploy reproduce`: parse, call `train.recipes.lab.reproduce`, print its tables. A command for each recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from lits_deploy import DISCLAIMER, exits
from lits_deploy.cli import logging_options, patients, run_options
from lits_deploy.cli.extras import needs
from lits_deploy.cli.lazy import Panelled
from lits_deploy.errors import UserError
from train.choices import Budget
from train.cli import options
from train.config import Weights
from train.recipes.registry import RECIPES

_ALL = ("all", "Every one of these, and the page over them.")

DEFAULTS = {"scale": "1", "seeds": 1, "device": "auto", "budget": "v100", "class_weights": "none", "folds": 0}


class _RecipeCommands(TyperGroup):
    """Shows every recipe's line in full."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help or "") for name, command in self.commands.items()])


app = typer.Typer(
    cls=_RecipeCommands,
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Reproduce the thesis's tables and figures, printed beside measured: one of them, or `all`. A training that "
    f"two of them need is done once. If it is interrupted, the same command continues. {DISCLAIMER}",
)


@logging_options.reported("reproduce")
@patients.guarded  # its tables name patients, its figures show them
def _reproduce(
    ctx: typer.Context,
    data: Path = typer.Option(Path("data"), help=options.DATA),
    out: Path = typer.Option(Path("reproduction"), help="Folder of the results, one for all recipes."),
    scale: str = typer.Option(
        "1",
        help="Amount of work: 1 as in the thesis, 0.1 about a tenth (fewer slices and epochs), or tiny to try it out.",
    ),
    seeds: int = typer.Option(1, min=1, help="Runs of every training; tables show mean and standard deviation."),
    device: str = options.DEVICE,
    budget: Budget = typer.Option(
        "v100", help="For table8: the epochs that the thesis's V100 does in its minutes, or minutes on this machine."
    ),
    weight_decay: float | None = typer.Option(
        None, min=0.0, help="For fig18 and table8, where the thesis is silent. [default: 0 and 1e-5]"
    ),
    class_weights: Weights = typer.Option("none", help="Weights of the loss."),
    folds: int = typer.Option(
        0,
        metavar="N",
        help="For table6, table9 and split: also train N folds of the patients and once by slice, and show printed,"
        " measured, out of fold and by slice side by side. [default: none]",
        show_default=False,
    ),
    window: tuple[float, float] | None = options.WINDOW,
    as_json: bool = run_options.AS_JSON,
) -> None:
    given = {name: value for name, value in locals().items() if name not in ("ctx", "as_json")}  # parameters alone
    from lits_deploy.cli.console import console, print_json

    with needs("train"):
        from train.cli.bars import Bars
        from train.device import torch_device, use_amp
        from train.recipes.lab.bench import BenchSettings
        from train.recipes.lab.page import PAGE
        from train.recipes.lab.reproduce import reproduce
        from train.recipes.lab.scale import parse_scale

    if folds == 1 or folds < 0:
        raise UserError(f"--folds {folds} holds nobody out.", fix="2 or more, or leave it out")
    recipes = list(RECIPES.values()) if ctx.info_name == "all" else [RECIPES[str(ctx.info_name)]]
    target = torch_device(device)
    settings = BenchSettings(
        out=out,
        scale=parse_scale(scale),
        seeds=seeds,
        device=str(target),
        amp=use_amp("auto", target),
        workers=8 if target.type == "cuda" else 0,
        window_hu=window,
        class_weights=class_weights,
        weight_decay=weight_decay,
        budget=budget,
        folds=folds,
    )
    with Bars() as bars:
        try:
            results = reproduce(recipes, data, settings, watch=bars, arguments=_arguments(given))
        except KeyboardInterrupt:
            console.print("stopped; finished trainings and epochs are kept. Go on with the same command.")
            raise
    if as_json:
        print_json({"out": str(out), "page": str(out / PAGE), "results": results, "disclaimer": DISCLAIMER})
    else:
        if len(results) == 1:
            _print(results[0])
        console.print(f"{out / PAGE}: every table and figure so far, on one page")
        console.print(f"{out}/ID: README.md, tables as CSV and Markdown, figures as PNG, runs")
        console.print(DISCLAIMER)
    raise typer.Exit(exits.DONE if all(result["finished"] for result in results) else exits.SOME_FAILED)


for _id, _summary in (*((recipe.id, recipe.summary) for recipe in RECIPES.values()), _ALL):
    app.command(_id, cls=Panelled, help=_summary, epilog=exits.in_help("0 done", "1 a recipe is unfinished"))(
        _reproduce
    )


@app.command("list")
def list_(as_json: bool = run_options.AS_JSON) -> None:
    """Name the recipes, one per line."""
    from lits_deploy.cli.console import print_json, table

    if as_json:
        print_json([{"id": one.id, "summary": one.summary, "trains": one.trains} for one in RECIPES.values()])
        return
    rows = [(recipe.id, recipe.summary, "yes" if recipe.trains else "no") for recipe in RECIPES.values()]
    table(("id", "what it makes", "trains"), rows)


@app.command()
def report(
    out: Path = typer.Argument(..., help="Folder that `reproduce` made."), as_json: bool = run_options.AS_JSON
) -> None:
    """Gather everything in OUT into one page, OUT/report.html."""
    from lits_deploy.cli.console import console, print_json
    from train.recipes.lab.page import write_page

    page = write_page(out)
    if as_json:
        print_json({"page": str(page), "disclaimer": DISCLAIMER})
        return
    console.print(f"{page}: one file, to be opened in a browser")
    console.print(DISCLAIMER)


def _print(result: dict[str, Any]) -> None:
    from lits_deploy.cli.console import console, table

    console.print(f"{result['scale_line']} {result['data_line']}")
    console.print()
    for drawn in result["tables"]:
        right = [name for name, numeric in zip(drawn["header"], drawn["numeric"], strict=True) if numeric]
        table(drawn["header"], drawn["rows"], right=right, title=drawn["title"])
        for note in drawn["notes"]:
            console.print(note)
        console.print()
    for note in result["notes"]:
        console.print(f"note: {note}")


def _arguments(chosen: dict[str, Any]) -> list[str]:
    """The options that are not the defaults, as they would be typed, for the READMEs."""
    arguments = []
    for name, value in chosen.items():
        if value != DEFAULTS.get(name):
            values = value if isinstance(value, tuple) else (value,)
            arguments += [f"--{name.replace('_', '-')}", *(str(part) for part in values)]
    return arguments
