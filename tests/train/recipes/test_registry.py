"""The list of recipes: every one is a documented function in the module of its name, found without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import train.recipes
from train.recipes.lab.result import account
from train.recipes.registry import PARTS, RECIPES


def test_ids_are_those_of_the_thesis() -> None:
    assert list(RECIPES) == [
        "table1",
        "fig1-2",
        "table5",
        "fig4",
        "fig6-7",
        "table6",
        "fig16-17",
        "fig18",
        "fig19-22",
        "table8",
        "table9",
        "gallery",
        "split",
    ]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_says_what_the_thesis_did_and_what_we_chose(name: str) -> None:
    parts = account(RECIPES[name])
    assert list(parts) == list(PARTS)
    assert all(len(text) > 20 and text[0].isupper() for text in parts.values())
    assert RECIPES[name].function.__name__ == name.replace("-", "_")


def test_every_module_beside_the_registry_is_a_recipe() -> None:
    (folder,) = map(Path, train.recipes.__path__)
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__", "registry", "thesis_numbers"}
    assert modules == {name.replace("-", "_") for name in RECIPES}


def test_listing_needs_no_torch() -> None:
    code = "import sys, train.cli.reproduce; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
