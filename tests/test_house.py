"""Names: one class a name, modules that say what they hold, DICOM attributes by keyword, few arguments."""

from __future__ import annotations

import ast
import re
from collections import Counter
from itertools import combinations
from pathlib import Path

from pydicom.datadict import keyword_dict

ROOT = Path(__file__).parent.parent
FILES = [path for name in ("lits_deploy", "train", "export", "benchmarks") for path in (ROOT / name).rglob("*.py")]
TREES = {path.relative_to(ROOT): ast.parse(path.read_text(encoding="utf-8")) for path in FILES}

SAYS_NOTHING = set(
    "words kept found place places talk told said tuned tuning judge judged beside near against both drawn held"  # noqa: SIM905
    " look lie turn turned where within one points numbers misc util utils helpers".split()
)
ENDINGS = re.compile(r"(?:ings?|ed|er|es|s|e)$")
MOST_PARAMETERS = 9  # self among them; the Python API names its options, as commands do


def test_no_two_classes_have_one_name() -> None:
    names = Counter(node.name for tree in TREES.values() for node in tree.body if isinstance(node, ast.ClassDef))
    assert len(names) > 300
    assert [name for name, times in names.items() if times > 1] == []


def test_modules_are_named_for_what_they_hold_and_not_by_an_ending() -> None:
    by_folder: dict[Path, set[str]] = {}
    for path in TREES:
        by_folder.setdefault(path.parent, set()).add(path.stem)
    assert {name for names in by_folder.values() for name in names} & SAYS_NOTHING == set()
    pairs = [
        (str(folder), one, other)
        for folder, names in by_folder.items()
        for one, other in combinations(sorted(names), 2)
        if ENDINGS.sub("", one) == ENDINGS.sub("", other)
    ]
    assert pairs == []


def test_dicom_attributes_are_named_by_keyword() -> None:
    """Not by a bare tag; and what a header is asked for is in the dictionary."""
    readers = {"tag", "holds", "text", "texts", "number", "numbers", "integer", "binary", "items", "holding", "first"}
    asked: set[str] = set()
    for path, tree in TREES.items():
        assert not re.search(r"\b0x(?!F{8})[0-9A-Fa-f]{8}\b", (ROOT / path).read_text(encoding="utf-8")), path
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and getattr(call.func, "attr", getattr(call.func, "id", "")) in readers:
                texts = [one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
                asked |= {text for text in texts if re.fullmatch("[A-Z][A-Za-z]+[a-z][A-Za-z]*", text)}
    assert len(asked) > 50
    assert asked - set(keyword_dict) == set()


def test_a_function_takes_few_arguments() -> None:
    """Outside the command lines, whose signatures are their options."""
    long = {
        f"{path}: {node.name}": count
        for path, tree in TREES.items()
        if not {"cli", "api", "api.py"} & set(path.parts)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and (count := len([*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs])) > MOST_PARAMETERS
    }
    assert long == {}


def test_no_identifier_is_a_private_word() -> None:
    """A path, position, rank, index, orientation or neighbour is called so."""
    used = {
        (str(path), name)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        for name in (getattr(node, key, None) for key in ("id", "arg", "attr", "name"))
        if name in {"beside", "near", "place", "places", "turn", "turned", "lies"}
    }
    assert used == set()
