"""Tables: printed beside measured, for readers and for programs."""

from __future__ import annotations

import csv
import io

from train.recipes.lab.tables import RecipeColumn, RecipeTable

TABLE = RecipeTable(
    name="t",
    title="A table",
    columns=(
        RecipeColumn(key="network", title="network"),
        RecipeColumn(key="printed", title="printed (%)"),
        RecipeColumn(key="measured", title="measured (%)"),
        RecipeColumn(key="n", title="slices"),
    ),
    rows=[
        {"network": "a|b", "printed": 98.35, "measured": [98.0, 99.0], "n": 35_484},
        {"network": "c", "printed": None, "measured": [None], "n": 2},
        {"network": "d", "printed": 1.0, "measured": [-0.5]},
    ],
    notes=["A note."],
)


def test_markdown() -> None:
    assert TABLE.markdown().splitlines() == [
        "**A table**",
        "",
        "| network | printed (%) | measured (%) | slices |",
        "|---|---:|---:|---:|",
        "| a\\|b | 98.35 | 98.50 ± 0.71 | 35,484 |",
        "| c | — | — | 2 |",
        "| d | 1.00 | −0.50 | — |",
        "",
        "A note.",
    ]


def test_csv_holds_numbers_in_full_and_the_spread_of_seeds() -> None:
    rows = list(csv.DictReader(io.StringIO(TABLE.csv())))
    assert rows[0] == {
        "network": "a|b",
        "printed": "98.35",
        "measured": "98.5",
        "measured_sd": "0.7071068",
        "n": "35484",
    }
    assert rows[1]["measured"] == rows[1]["measured_sd"] == rows[1]["printed"] == ""
    assert rows[2]["measured_sd"] == ""


def test_what_depends_on_the_split_says_it() -> None:
    one = RecipeTable(
        name="t", title="T", columns=(RecipeColumn(key="x", title="x"),), rows=[{"x": 1}], split_by="slice"
    )
    assert one.csv() == "x,split_by\n1,slice\n"
    assert one.markdown().startswith("**T (split by slice)**")
    assert one.to_json()["title"] == "T (split by slice)"


def test_one_seed_needs_no_column_of_spread() -> None:
    one = RecipeTable(name="t", title="", columns=(RecipeColumn(key="x", title="x"),), rows=[{"x": [1.5]}, {"x": 2}])
    assert one.csv() == "x\n1.5\n2\n"
    assert one.to_json()["rows"] == [["1.50"], ["2"]]
