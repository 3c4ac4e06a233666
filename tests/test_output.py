"""No way around `cli.console`, `printable.say` and `pages`: the source shows who prints and makes pages."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("lits_deploy", "train", "export", "benchmarks")

ALLOWED = {
    "lits_deploy/printable.py": "say",
    "lits_deploy/exits.py": "one constant line, before anything that only Linux has is imported",
    "lits_deploy/cli/console.py": "the consoles",
    "lits_deploy/doctor/child.py": "a line of ASCII JSON for the parent, in a process of its own",
    "benchmarks/fresh.py": "a line of ASCII JSON for the parent, in a process of its own",
    "lits_deploy/pages/__init__.py": "the one jinja environment",
    "lits_deploy/sealed.py": "into memory that it made itself, never a stream",
    "lits_deploy/signals.py": "one word of its own, from a signal handler, where no stream may be written to",
}
"""File → why it may print, import rich or make pages itself."""

FORBIDDEN_IMPORTS = ("rich", "jinja2", "colorama", "pprint")
FORBIDDEN_CALLS = (
    "print",
    "typer.echo",
    "typer.secho",
    "click.echo",
    "click.secho",
    "sys.stdout.write",
    "sys.stderr.write",
    "warnings.warn",
    "os.write",
    "traceback.print_exc",
)


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def offences(source: str) -> Iterator[str]:
    """What a module does that only the allowed may, with its line."""
    tree = ast.parse(source)
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and _dotted(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)) and id(node) not in typing_only:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            found = [name for name in names if name.split(".")[0] in FORBIDDEN_IMPORTS]
            if isinstance(node, ast.ImportFrom) and node.module == "markupsafe":
                found += [alias.name for alias in node.names if alias.name == "escape"]
            yield from (f"line {node.lineno}: imports {name}" for name in found)
        elif isinstance(node, ast.Call) and _dotted(node.func) in FORBIDDEN_CALLS:
            yield f"line {node.lineno}: calls {_dotted(node.func)}"
        elif isinstance(node, ast.Name) and node.id == "print" and isinstance(node.ctx, ast.Load):
            yield f"line {node.lineno}: passes print on"


def test_only_the_allowed_print_draw_or_make_pages() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): lines
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if (lines := list(offences(path.read_text(encoding="utf-8"))))
    }
    assert {name: lines for name, lines in found.items() if name not in ALLOWED} == {}
    assert set(ALLOWED) <= set(found)  # what needs no leave has none


@pytest.mark.parametrize(
    "source",
    [
        "print(name)",
        "from rich.text import Text",
        "import rich",
        "typer.echo(name)",
        "sys.stderr.write(name)",
        "run(say=print)",
        "from markupsafe import Markup, escape",
        "import jinja2",
    ],
)
def test_a_way_around_is_noticed(source: str) -> None:
    assert list(offences(source))


def test_types_alone_may_be_imported() -> None:
    assert not list(offences("if TYPE_CHECKING:\n    from rich.progress import Progress"))
