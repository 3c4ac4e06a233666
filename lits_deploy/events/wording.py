"""What a log says of an error: its text as it stands in our source code.

`There is no {folder}. Fix: check the path of the bundle` is kept, and no value: any may be a path or an identifier. So
whoever raises an error has nothing to remember, and what a library or a file's name brought into a message goes into no
log. An error knows the statements that made it (`UserError.made_at`). Where these have a variable, the texts that the
function gives it are looked up, and those that its caller passes in; of several, the one that fits what was said.
"""

from __future__ import annotations

import ast
import functools
import linecache
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, product, takewhile
from pathlib import Path

from lits_deploy.errors import StorageError, UserError
from lits_deploy.printable import printable

CodeLine = tuple[str, str, int]
"""File, function and line."""

_MOST = 500  # wordings of one text that are tried
_NOTHING = ast.Module([], [])
_SOURCE = Path(__file__).parents[2]
_PACKAGES = ("lits_deploy", "train", "export", "benchmarks")


class Quoting(str):
    """A line for a person that quotes names or texts from outside. logged: what a log has in its place."""

    logged: str

    def __new__(cls, text: str, *, logged: str) -> Quoting:  # noqa: D102
        line = super().__new__(cls, text)
        line.logged = logged
        return line


def wording(error: BaseException | None, line: str) -> str:
    """An error without its values; "" where its source is not there. line: the line for a person, which is the wording
    of what is no error of ours: `resource_errors` writes it, without paths."""
    if not isinstance(error, UserError):
        return line
    if isinstance(error, StorageError):
        return f"The store: {error.why}."
    parts = [_text(error, "message", 0, error.message)]
    if error.fix is not None and (fix := _text(error, "fix", None, error.fix)):
        parts.append(f"Fix: {fix}")
    return " ".join(filter(None, parts)) or wording(error.__cause__, "")


def raised_at(error: BaseException | None, most: int = 1) -> list[str]:
    """The last places in the code that an error went through, the one that raised it at the end."""
    frames = [] if error is None else traceback.extract_tb(error.__traceback__)[-most:]
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]


class _Hole(str):
    """What stands in the place of a value."""


Template = tuple[str, ...]
"""Texts of the source and holes."""


def _text(error: UserError, name: str, position: int | None, said: str) -> str:
    """The wording of an argument of the error: that which fits what was said, and has the fewest holes to fill."""
    call = next(_calls(error.made_at[0], {one.__name__ for one in type(error).__mro__}), None)
    value = None if call is None else _argument(call, name, position)
    if value is None:
        return ""
    # What a program of others passes in, be it written in its source, is a value.
    at = [error.made_at[0], *takewhile(_is_ours, error.made_at[1:])]
    found = list(islice(_templates(value, at), _MOST))
    if isinstance(value, ast.Attribute):  # a record that a module which is imported here has filled
        found += _texts_of_folder(error.made_at[0][0])
    fitting = [one for one in found if any(map(str.isalpha, "".join(_literals(one)))) and _fits(one, said)]
    return "".join(max(fitting, key=lambda one: len("".join(_literals(one)))) if fitting else ())


def _templates(value: ast.expr, at: Sequence[CodeLine]) -> Iterator[Template]:
    """What an expression in the innermost of these lines may say."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield (value.value,)
    elif isinstance(value, ast.JoinedStr):
        yield from _joined(value.values, at)
    elif isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        yield from _joined((value.left, value.right), at)
    elif isinstance(value, ast.FormattedValue):
        hole = (_hole(value.value),)
        inner = _templates(value.value, at) if value.format_spec is None and value.conversion == -1 else ()
        yield from [one if _literals(one) else hole for one in inner] or [hole]
    elif isinstance(value, ast.IfExp):
        yield from chain(_or_hole(value.body, at), _or_hole(value.orelse, at))
    elif isinstance(value, ast.BoolOp):
        yield from chain.from_iterable(_or_hole(one, at) for one in value.values)
    elif isinstance(value, ast.Name) and at:
        yield from _of_name(value.id, at)


def _or_hole(value: ast.expr, at: Sequence[CodeLine]) -> list[Template]:
    return list(islice(_templates(value, at), _MOST)) or [(_hole(value),)]


def _joined(parts: Sequence[ast.expr], at: Sequence[CodeLine]) -> Iterator[Template]:
    each = [_or_hole(part, at) for part in parts]
    yield from (tuple(chain.from_iterable(one)) for one in islice(product(*each), _MOST))


def _of_name(name: str, at: Sequence[CodeLine]) -> Iterator[Template]:
    """What a variable may say: as its function, its module or its caller gives it."""
    function = _function(at[0])
    for node in ast.walk(function) if function else ():
        if isinstance(node, ast.Assign) and name in [getattr(one, "id", "") for one in node.targets]:
            used = {one.id for one in ast.walk(node.value) if isinstance(one, ast.Name)}
            yield from _or_hole(node.value, at) if name not in used else ()  # of itself: there would be no end
    if function is not None and len(at) > 1:
        names = [one.arg for one in (*function.args.posonlyargs, *function.args.args)]
        of_class = bool(names) and names[0] in ("self", "cls")
        position = names.index(name) - of_class if name in names else None
        if name in names or name in [one.arg for one in function.args.kwonlyargs]:
            for call in _calls(at[1], {function.name} if function.name != "__init__" else None):
                if (value := _argument(call, name, position)) is not None:
                    yield from _or_hole(value, at[1:])
    if name.isupper() and _is_ours(at[0]):
        yield from ((value,) for value in _constants(at[0][0], name))


def _constants(filename: str, name: str) -> Iterator[str]:
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) == filename and isinstance(value := getattr(module, name, None), str):
            yield value


def _texts_of_folder(filename: str) -> Iterator[Template]:
    """All texts of more than a word in a file, and in the modules that it imports names from."""
    imports = [one for one in ast.walk(_tree(filename) or _NOTHING) if isinstance(one, ast.ImportFrom)]
    modules = [sys.modules.get(one.module or "") for one in imports]
    for path in {filename, *(str(getattr(one, "__file__", "")) for one in modules)}:
        for node in ast.walk((_is_ours((path, "", 0)) and _tree(path)) or _NOTHING):
            if isinstance(node, ast.Constant | ast.JoinedStr):
                yield from (one for one in _templates(node, ()) if " " in "".join(_literals(one)).strip())


def _is_ours(code: CodeLine) -> bool:
    path = Path(code[0])
    return path.is_relative_to(_SOURCE) and path.relative_to(_SOURCE).parts[0] in _PACKAGES


def _calls(code: CodeLine, names: set[str] | None) -> Iterator[ast.Call]:
    """The calls in a line that may have gone to one of these functions (None: to any), the innermost first."""
    line = code[2]
    for node in reversed(list(ast.walk(_tree(code[0]) or _NOTHING))):
        if isinstance(node, ast.Call) and node.lineno <= line <= (node.end_lineno or node.lineno):
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if names is None or called in names or called == "__init__":
                yield node


def _argument(call: ast.Call, name: str, position: int | None) -> ast.expr | None:
    named = next((one.value for one in call.keywords if one.arg == name), None)
    if named is None and position is not None and position < len(call.args):
        return call.args[position]
    return named


def _function(code: CodeLine) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """The innermost function of that name around a line."""
    filename, name, line = code
    around = [
        node
        for node in ast.walk(_tree(filename) or _NOTHING)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name == name
        and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    return max(around, key=lambda one: one.lineno, default=None)


@functools.lru_cache(64)
def _tree(filename: str) -> ast.Module | None:
    """Of a source file; None where it is gone or no Python."""
    try:
        return ast.parse("".join(linecache.getlines(filename)))
    except SyntaxError:
        return None


def _fits(template: Template, said: str) -> bool:
    """Whether these words may have become what was said."""
    at, texts = 0, [part if isinstance(part, _Hole) else printable(part) for part in template]
    if not texts or (not isinstance(template[0], _Hole) and not said.startswith(texts[0])):
        return False
    for part, text in zip(template, texts, strict=True):
        if not isinstance(part, _Hole):
            if (found := said.find(text, at)) < 0:
                return False
            at = found + len(text)
    return isinstance(template[-1], _Hole) or said.endswith(texts[-1])


def _literals(template: Iterable[str]) -> list[str]:
    return [part for part in template if not isinstance(part, _Hole)]


def _hole(value: ast.expr) -> _Hole:
    return _Hole(f"{{{ast.unparse(value)}}}" if isinstance(value, ast.Name | ast.Attribute) else "{…}")
