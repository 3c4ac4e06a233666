"""Text from outside made safe to print: file names, manifest strings, class names, messages of libraries.

A terminal obeys escape sequences, a reader is misled by right-to-left and zero-width marks, and a log takes a line feed
for a new event. Whatever did not come from this source code goes through `printable` before it is printed, logged or
drawn. `scans.paths.escape` is the reversible form for file names and uses the same rule.
"""

from __future__ import annotations

import unicodedata

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
