"""Text from outside made safe to print: file names, manifest strings, class names, messages of libraries.

A terminal obeys escape sequences, a reader is misled by right-to-left and zero-width marks, and a log takes a line feed
for a new event. Whatever did not come from this source code goes through `printable` before it is printed, logged or
drawn. `scans.paths.escape` is the reversible form for file names and uses the same rule. Where it goes through:

    errors.LitsError       every message of ours, so every reason in a table too
    cli.console, say       every line, table and bar of a command or script; tests/test_output.py forbids other ways
    printable_json         JSON that is printed or written for people; its values stay exact
    report, benchmarks     what a template inserts (`finalize=`), and every text of a plot
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable
from typing import IO, Any

_UNPRINTABLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Controls, format characters (bidirectional and zero-width marks), surrogates (undecodable bytes), line and paragraph
separators. Not the unassigned: which they are depends on Python's version, and a path must not."""


def printable(text: str, *, multiline: bool = False) -> str:
    """The text with every unprintable character written `\\xHH` per UTF-8 byte; multiline: line feeds stay.

    >>> printable("a\\x1b[31mred")
    'a\\\\x1b[31mred'
    """
    if text.isprintable():  # nearly always
        return text
    return "".join(c if multiline and c == "\n" else escape_character(c) for c in text)


def escape_character(character: str) -> str:
    """The character itself, or `\\xHH` for each of its UTF-8 bytes where it is not printable."""
    if unicodedata.category(character) not in _UNPRINTABLE:
        return character
    undecoded = "\udc80" <= character <= "\udcff"  # a byte of a file name that is not UTF-8
    encoded = character.encode("utf-8", "surrogateescape" if undecoded else "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in encoded)


def say(*lines: str, to: IO[str] | None = None) -> None:
    """Print lines, each made printable; to standard output or `to`. For what runs without `cli.console`."""
    print("\n".join(map(printable, lines)), file=to or sys.stdout, flush=True)


def say_error(*lines: str) -> None:
    """The same to standard error: progress and errors."""
    say(*lines, to=sys.stderr)


def printable_json(value: Any, *, sort_keys: bool = False, allow_nan: bool = True) -> str:
    """Indented JSON in which every unprintable character is a `\\u` escape: readers get the exact value back.

    Surrogates too, so text that is not Unicode can be written as UTF-8.
    """
    text = json.dumps(value, indent=2, sort_keys=sort_keys, ensure_ascii=False, allow_nan=allow_nan)
    return "\n".join(map(_json_escaped, text.split("\n")))  # json's own: in strings a line feed is an escape already


def json_line(value: Any) -> str:
    """The same as one line, for JSON lines: nothing in it ends a line for any reader."""
    return _json_escaped(json.dumps(value, ensure_ascii=False))


def _json_escaped(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(json.dumps(c)[1:-1] if unicodedata.category(c) in _UNPRINTABLE else c for c in line)


def printable_values(value: Any, escape: Callable[[str], str] = printable) -> Any:
    """The same lists and dictionaries with every text made printable, keys included."""
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, dict):
        return {printable_values(key, escape): printable_values(one, escape) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable_values(one, escape) for one in value]
    return value


def plottable(value: Any) -> Any:
    """The same for matplotlib, which takes text between two dollar signs for a formula, and dies of a wrong one."""
    return printable_values(value, lambda text: printable(text, multiline=True).replace("$", r"\$"))
