"""What a log says of an error: the text of the statement that raised it, as it stands in our source code.

`There is no {root}. Fix: check the path of the scans` is told, and no value: any may be a path or an identifier. So
whoever raises an error has nothing to remember, and what a library or a file's name brought into a message goes into no
log.
"""

from __future__ import annotations

import ast
import linecache
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from lits_deploy.errors import StorageError, UserError


class Quoting(str):
    """A line for a person that quotes names or texts from outside. logged: what a log has in its place."""

    logged: str

    def __new__(cls, text: str, *, logged: str) -> Quoting:  # noqa: D102
        line = super().__new__(cls, text)
        line.logged = logged
        return line


def wording(error: BaseException | None, told: str) -> str:
    """An error without its values; "" where its source is not there. told: the line for a person, which is the wording
    of what is no error of ours: `resource_errors` writes it, without paths."""
    if not isinstance(error, UserError):
        return told
    if isinstance(error, StorageError):
        return f"The store: {error.why}."
    text = ""
    for frame, line in [*traceback.walk_tb(error.__traceback__)][-1:]:
        call = _raised("".join(linecache.getlines(frame.f_code.co_filename, frame.f_globals)), line)
        text = " ".join(_texts(call)) if isinstance(call, ast.Call) else ""
    return text or wording(error.__cause__, "")


def raised_at(error: BaseException | None, most: int = 1) -> list[str]:
    """The last places in the code that an error went through, the one that raised it at the end."""
    frames = [] if error is None else traceback.extract_tb(error.__traceback__)[-most:]
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]


def _raised(source: str, line: int) -> ast.expr | None:
    """What the raise statement at this line raises; None where the source is that of another version by now."""
    with suppress(SyntaxError):
        around = [one for one in ast.walk(ast.parse(source)) if isinstance(one, ast.Raise) and _spans(one, line)]
        return max(around, key=lambda one: one.lineno).exc if around else None
    return None


def _spans(node: ast.Raise, line: int) -> bool:
    return node.lineno <= line <= (node.end_lineno or node.lineno)


def _texts(call: ast.Call) -> Iterator[str]:
    """Its arguments that are texts; the names of simple values in braces."""
    for name, value in [("", one) for one in call.args] + [(one.arg, one.value) for one in call.keywords]:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            text = value.value
        elif isinstance(value, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else _hole(part) for part in value.values)
        else:
            continue
        yield f"Fix: {text}" if name == "fix" else text


def _hole(part: ast.expr) -> str:
    value = part.value if isinstance(part, ast.FormattedValue) else part
    return f"{{{ast.unparse(value)}}}" if isinstance(value, ast.Name | ast.Attribute) else "{…}"
