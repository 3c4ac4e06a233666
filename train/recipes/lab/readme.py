"""README.md of a recipe's folder, from its result."""

from __future__ import annotations

from typing import Any

from train.recipes.lab.tables import Column, Table
from train.recipes.lab.words import PARTS

_RUNS = (
    Column("name", "run"),
    Column("model", "network"),
    Column("lr", "learning rate"),
    Column("weight_decay", "weight decay"),
    Column("init", "initialisation"),
    Column("class_weights", "class weights"),
    Column("seed", "seed"),
    Column("epochs", "epochs"),
    Column("split_by", "split by"),
    Column("seconds_per_epoch", "seconds an epoch"),
    Column("device", "device"),
)


def readme(result: dict[str, Any], tables: list[Table]) -> str:
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


def runs_table(result: dict[str, Any]) -> Table:
    """The runs a recipe used."""
    rows = []
    for run in result["runs"]:
        row = {**run, "lr": f"{run['lr']:g}", "weight_decay": f"{run['weight_decay']:g}", "seed": str(run["seed"])}
        rows.append({**row, "device": run["device"] + (", bf16" if run["amp"] else "")})
    return Table(name="runs", title="Trainings", columns=_RUNS, rows=rows)


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
