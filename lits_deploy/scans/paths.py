"""File names as text that can be printed, compared and turned back into the very same bytes.

On Linux a file name is bytes. Nearly all are UTF-8 and stand in the tables as they are. A backslash is written `\\\\`;
a control character, a line separator or a byte that is not UTF-8 is written `\\xHH` per byte. So every path in a
table is one printable line, two files never share one, and `unescape` finds the file again whatever the locale.
"""

from __future__ import annotations

import os
import re
import unicodedata

_ESCAPED = re.compile(rb"\\(?:\\|x([0-9a-f]{2}))")
_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}  # controls, surrogates (undecodable bytes), line and paragraph separators


def escape(path: str) -> str:
    """The printable, unique, reversible form of a path as the operating system gave it."""
    if "\\" not in path and path.isprintable():
        return path  # nearly every path
    text = os.fsencode(path).decode("utf-8", "surrogateescape")
    return "".join(_escape_character(character) for character in text)


def unescape(text: str) -> str:
    """The operating system's path of an escaped one."""
    return os.fsdecode(_ESCAPED.sub(lambda m: bytes([int(m[1], 16)]) if m[1] else b"\\", text.encode()))


def _escape_character(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if unicodedata.category(character) in _UNPRINTABLE:
        return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
    return character
