"""Results for readers: report.html, everything in OUT on one page with its figures inside; README.md of each recipe.

The page goes through a Jinja template with autoescape: names are text, never markup.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from lits_deploy.errors import OutputError
from lits_deploy.files import write_text
from lits_deploy.pages import render
from train.recipes.lab.tables import RecipeColumn, RecipeTable
from train.recipes.registry import PARTS, RECIPES, RESULT

PAGE = "report.html"
_RUNS = (
    RecipeColumn("name", "run"),
    RecipeColumn("model", "network"),
    RecipeColumn("lr", "learning rate"),
    RecipeColumn("weight_decay", "weight decay"),
    RecipeColumn("init", "initialisation"),
    RecipeColumn("class_weights", "class weights"),
    RecipeColumn("seed", "seed"),
    RecipeColumn("epochs", "epochs"),
    RecipeColumn("split_by", "split by"),
    RecipeColumn("seconds_per_epoch", "seconds an epoch"),
    RecipeColumn("device", "device"),
)


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result of a recipe's folder, or None where there is none."""
    if not (folder / RESULT).is_file():
        return None
    found: dict[str, Any] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    return found


def write_page(out: Path) -> Path:
    """Gather the results in OUT into OUT/report.html; returns its path. OutputError where there is none."""
    results = [found for name in RECIPES if (found := read_result(out / name)) is not None]
    if not results:
        raise OutputError(f"{out} holds no reproduced result.", fix="run `lits-deploy reproduce ID --out OUT` first")
    write_text(out / PAGE, page(results, out))
    return out / PAGE


def page(results: list[dict[str, Any]], out: Path) -> str:
    """The whole page as text."""
    done = [result for result in results if result["finished"]]
    return render(
        Path(__file__).parent,
        results=results,
        missing=[recipe for name, recipe in RECIPES.items() if name not in {result["id"] for result in results}],
        scaled=sorted({r["scale"] for r in done if r["trains"] and r["scale"] != "1"}),
        ct=any(picture["ct"] for r in done for picture in r["pictures"]),
        by_slice=any(r["data"] and r["data"]["split_by"] == "slice" for r in done),
        accounts=lambda result: [(title, result["account"][part]) for part, title in PARTS.items()],
        texts=lambda table: [column for column, numeric in enumerate(table["numeric"]) if not numeric],
        made_with=made_with,
        runs_table=runs_table,
        source=lambda result, file: _data_uri(out / result["id"] / file),
    )


def _data_uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def readme(result: dict[str, Any], tables: list[RecipeTable]) -> str:
    """The text of the README."""
    lines = [f"# {result['id']}: {result['summary']}", "", f"**{result['disclaimer']}**", ""]
    lines += [f"**{result['scale_line']}** {result['data_line']}".rstrip(), ""]
    for part, title in PARTS.items():
        lines += [f"## {title}", "", result["account"][part], ""]
    if result["notes"]:
        lines += ["## To know when reading this", "", *(f"- {note}" for note in result["notes"]), ""]
    if tables:
        lines += ["## Tables", ""]
        for table in tables:
            lines += [table.markdown(), f"As CSV: `{table.name}.csv`", ""]
    if result["pictures"]:
        lines += ["## Figures", ""]
        for picture in result["pictures"]:
            ct = " (shows slices of the data: mind their licence before passing it on)" if picture["ct"] else ""
            lines += [f"{picture['title']}{ct}", "", f"![{picture['title']}]({picture['file']})", ""]
    if result["runs"]:
        lines += ["## Runs", "", runs_table(result).markdown(), ""]
        lines += ["Each run's folder is in `runs/`; every epoch of all of them in `epochs.csv`.", ""]
    lines += ["## Made with", "", *(f"- {name}: {text}" for name, text in made_with(result)), ""]
    return "\n".join(lines)


def runs_table(result: dict[str, Any]) -> RecipeTable:
    """The runs a recipe used."""
    rows = []
    for run in result["runs"]:
        row = {**run, "lr": f"{run['lr']:g}", "weight_decay": f"{run['weight_decay']:g}", "seed": str(run["seed"])}
        rows.append({**row, "device": run["device"] + (", bf16" if run["amp"] else "")})
    return RecipeTable(name="runs", title="Trainings", columns=_RUNS, rows=rows)


def made_with(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Data, split, seeds, device, versions and the command, as (name, text)."""
    data, made = result["data"], result["made_with"]
    found = []
    if data is not None:
        slices = ", ".join(f"{split} {count:,}" for split, count in data["slices"].items())
        patients = ", ".join(f"{split} {len(names)}" for split, names in data["patients"].items())
        found = [
            ("data", f"{data['name']} (source: {data['source'] or 'not declared'}; identity {data['identity']})"),
            ("slices", slices),
            ("patients", patients),
            ("split", f"by {data['split_by']}"),
        ]
    if result["trains"]:
        found += [
            ("slices used", ", ".join(f"{split} {count:,}" for split, count in result["used"].items())),
            ("seeds", ", ".join(map(str, range(result["seeds"])))),
            ("devices", "; ".join(sorted({run["device"] for run in result["runs"]})) or "none"),
            ("epochs", ", ".join(sorted({str(run["epochs"]) for run in result["runs"]}, key=int))),
        ]
    found += [
        ("versions", f"lits-deploy {made['lits_deploy']}, torch {made['torch']}, Python {made['python']}"),
        ("git revision", made["git"] or "not known"),
        ("day", made["date"]),
        ("command", f"`{result['command']}`"),
    ]
    return found
