"""Locations as users type them: a path of this machine, `file:///…` or `s3://bucket/key`; nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from lits_deploy.errors import UserError

SCHEME = "s3://"
"""What the URL of an object begins with, wherever it stands in place of a path."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_FIX = "a path, file:///… or s3://bucket/…"


@dataclass(frozen=True)
class Location:
    """path: on this machine; else bucket and key (without slashes at its ends; "" for all of the bucket)."""

    path: Path | None = None
    bucket: str = ""
    key: str = ""

    def __str__(self) -> str:
        """As a user would type it."""
        return str(self.path) if self.path is not None else f"{SCHEME}{self.bucket}/{self.key}".rstrip("/")


def location_of(text: str) -> Location:
    """What a user's text names. Raises UserError for another scheme, and for credentials, which belong elsewhere."""
    scheme = _SCHEME.match(text)
    if scheme is None:
        return Location(path=Path(text))
    kind, rest = scheme[1].lower(), text[scheme.end() :]
    if kind == "file":
        if not rest.startswith("/"):
            raise UserError("A file:// location is a path of this machine.", fix="file:///folder, or the path itself")
        return Location(path=Path(unquote(rest)))
    if kind != "s3":
        raise UserError(f"`{kind}://` is not read: no such store could be tested yet.", fix=_FIX)
    bucket, _, key = rest.partition("/")
    if "@" in bucket:  # not quoted: there may be a secret in front of it
        raise UserError(
            "An s3:// location holds no credentials.",
            fix="s3://bucket/…, with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a profile",
        )
    if not _BUCKET.fullmatch(bucket):
        raise UserError(f"`{text}` names no bucket.", fix="s3://bucket/…")
    if any(part in ("", ".", "..") for part in key.strip("/").split("/")) and key.strip("/"):
        raise UserError("Keys with empty parts, `.` or `..` are no folders.", fix="s3://bucket/folder")
    return Location(bucket=bucket, key=key.strip("/"))


PathOrUrl = Path | str
"""A path of this machine, or an object's URL (`s3://…`); what is text is never a path."""


def path_or_url(text: str) -> PathOrUrl:
    """What a user's text names. Raises as `location_of`."""
    where = location_of(text)
    return where.path if where.path is not None else str(where)
