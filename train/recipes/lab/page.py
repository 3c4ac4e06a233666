"""report.html: everything in OUT on one page without scripts or other files; figures are inside it.

Goes through a Jinja template with autoescape: names are text, never markup.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from lits_deploy.errors import OutputError
from lits_deploy.files import write_text
from lits_deploy.pages import render
from train.recipes.lab.readme import made_with, runs_table
from train.recipes.lab.words import PARTS, RESULT
from train.recipes.registry import RECIPES

PAGE = "report.html"


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
        Path(__file__).parent, results=results,
        missing=[recipe for name, recipe in RECIPES.items() if name not in {result["id"] for result in results}],
        scaled=sorted({r["scale"] for r in done if r["trains"] and r["scale"] != "1"}),
        ct=any(picture["ct"] for r in done for picture in r["pictures"]),
        by_slice=any(r["data"] and r["data"]["split_by"] == "slice" for r in done),
        accounts=lambda result: [(title, result["account"][part]) for part, title in PARTS.items()],
        texts=lambda table: [column for column, numeric in enumerate(table["numeric"]) if not numeric],
        made_with=made_with, runs_table=runs_table,
        source=lambda result, file: _data_uri(out / result["id"] / file),
    )  # fmt: skip


def _data_uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
