"""The stubs that `make lint` mends: what is broken as published becomes Python, and what the rules miss is told."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def stubs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("type_stubs", ROOT / "scripts" / "type_stubs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_keywords_as_names_and_missing_defaults_are_mended(stubs: ModuleType) -> None:
    published = (
        "class A:\n"
        "    def size(self, in: list[int], out: list[int]) -> int:\n"
        '        """:arg in: what comes in: a list."""\n'
        "    def scale(self, shift: int = None, channel_axis: int) -> int: ...\n"
        "    def plain(self, inputs: list[int], min: int) -> int: ...\n"
    )
    with pytest.raises(SyntaxError):
        ast.parse(published)
    mended = stubs.mend(published)
    assert mended == published.replace("(self, in:", "(self, in_:").replace("axis: int)", "axis: int = ...)")
    assert stubs.mend(mended) == mended


def test_what_the_rules_do_not_know_is_an_error(stubs: ModuleType) -> None:
    with pytest.raises(SyntaxError):
        stubs.mend("def f(class: int) -> int: ...\n")


def test_lint_cannot_run_without_them() -> None:
    """mypy takes a missing `tensorrt` for Any, so only make can see to it that the stubs are there."""
    makefile = (ROOT / "Makefile").read_text()
    assert "lint: setup $(STUBS)" in makefile
    assert ".venv/stubs" in (ROOT / "pyproject.toml").read_text()
