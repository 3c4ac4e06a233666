"""File names of masks, made from the paths of their sources: below their folder whatever a path holds, and never two
alike.

A character that some file system forbids, or that could lead out of the folder, is written `%XX`, and so is `%`. A name
too long for a file system is cut and ends in `%~` and a hash of the path, which no encoding gives.
"""

from __future__ import annotations

import re

from lits_deploy.files import sha256_bytes

_UNSAFE = re.compile(r'[\x00-\x1f\x7f%\\<>:"|?*]')
_MOST_PART, _MOST = 200, 800  # bytes of a part, and of the whole
_HASH = 16


def mask_name(path: str, suffix: str) -> str:
    """The name of the mask of a source at `path` (as the ledger writes it); suffix: what tells masks apart."""
    parts = path.split("/")
    parts[-1] += suffix
    named = "/".join(
        _fitting(_safe(part), path, suffix if number == len(parts) - 1 else "") for number, part in enumerate(parts)
    )
    return named if len(named.encode()) <= _MOST else f"%~{_hash(path)}{suffix}"


def other_name(name: str, path: str, suffix: str) -> str:
    """Another name for a mask whose first choice a file system takes for one that is there (`A.png`, `a.png`)."""
    return f"{name.removesuffix(suffix)}%~{_hash(path)}{suffix}"


def _safe(part: str) -> str:
    encoded = _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", part)
    if encoded[:1] in ("", "."):
        encoded = f"%2E{encoded[1:]}" if encoded else "%2F"
    if encoded[-1] in ". ":
        encoded = f"{encoded[:-1]}%{ord(encoded[-1]):02X}"
    return encoded


def _fitting(part: str, path: str, suffix: str) -> str:
    if len(part.encode()) <= _MOST_PART:
        return part
    room = _MOST_PART - _HASH - 2 - len(suffix.encode())
    return f"{part.encode()[:room].decode(errors='ignore')}%~{_hash(path)}{suffix}"


def _hash(path: str) -> str:
    return sha256_bytes(path.encode("utf-8", "surrogatepass"))[:_HASH]
