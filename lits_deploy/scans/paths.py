"""File names as text that can be printed, compared and turned back into the very same bytes.

On Linux a file name is bytes. Nearly all are UTF-8 and stand in the tables as they are. A backslash is written `\\\\`;
a control, format character, line separator or byte that is not UTF-8 is written `\\xHH` per byte. So every path in
a table is one printable line, two files never share one, and `unescape` finds the file again whatever the locale.
"""

from __future__ import annotations

import os
import re

from lits_deploy.printable import escape_character

_ESCAPED = re.compile(rb"\\(?:\\|x([0-9a-f]{2}))")


def escape(path: str) -> str:
    """The printable, unique, reversible form of a path as the operating system gave it."""
    if "\\" not in path and path.isprintable():
        return path  # nearly every path
    text = os.fsencode(path).decode("utf-8", "surrogateescape")
    return "".join("\\\\" if character == "\\" else escape_character(character) for character in text)


def unescape(text: str) -> str:
    """The operating system's path of an escaped one."""
    return os.fsdecode(_ESCAPED.sub(lambda m: bytes([int(m[1], 16)]) if m[1] else b"\\", text.encode()))
