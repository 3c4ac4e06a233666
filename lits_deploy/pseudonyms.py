"""Names for what must not be named: keyed hashes of studies, series and (if asked) paths and files.

A pseudonym is the first 12 hex digits of HMAC-SHA256 under the run's salt: equal inputs of one run get equal names, and
without the salt nobody can try out a hospital's list of identifiers. With it anybody can: whoever has the salt can find
a seven-digit id in seconds. It lies in the output folder, in a file of its own that only its owner reads, or in a file
elsewhere that the user names (`--salt-file`): delete it, or never pass it on, and the names lead nowhere. Twelve digits
tell 10,000 series apart with a chance of 2·10⁻⁷ that two coincide.

A salt file of 32 hex digits or more, as `salt_of` makes them, holds the key's bytes; any other text is the key itself,
as every version has had it, so that nobody's pseudonyms change. A text that can be guessed keeps no secret.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from lits_deploy import private
from lits_deploy.errors import OutputError, UserError
from lits_deploy.files import write_text

SALT_FILE = ".lits-deploy.salt"
_DIGITS, _BASE_DIGITS = 12, 3
_MADE = re.compile(r"(?:[0-9a-f]{2}){16,}")
_MOST_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class Pseudonyms:
    """identify: studies and series keep their UIDs, and patients are named. paths: paths and files are hashed, too."""

    salt: bytes
    identify: bool = False
    paths: bool = False

    def of(self, kind: str, text: str) -> str:
        """The pseudonym of a text; `kind` keeps a study apart from a series of the same identifier."""
        return self._keyed(kind, text)[:_DIGITS]

    def path(self, path: str) -> str:
        """What is written of a path: itself, or its pseudonym."""
        return self.of("path", path) if self.paths else path

    def sha256(self, digest: str | None) -> str | None:
        """What is written of a file's hex SHA-256: itself, or 64 other digits that tell equal files by.

        The archive's owner could look the file up by its own.
        """
        return self._keyed("file", digest) if self.paths and digest is not None else digest

    def base(self, folder: str) -> str:
        """A mark of the folder that the user named, to tell another one by.

        A folder may be named for its patient. Three digits fit one in 4,096 folders: enough for a slip, and too few to
        find an id by, salt or not.
        """
        return self.of("base", folder)[:_BASE_DIGITS]

    @property
    def mark(self) -> str:
        """Tells salts apart, and clear names from hashed ones, without telling the salt."""
        return f"{self.of('mark', '')[:6]}{'-identified' if self.identify else ''}{'-paths' if self.paths else ''}"

    def _keyed(self, kind: str, text: str) -> str:
        message = f"{kind}\0{text}".encode("utf-8", "surrogatepass")
        return hmac.new(self.salt, message, hashlib.sha256).hexdigest()


def key_of(text: str) -> bytes:
    """The key that the text of a salt file stands for."""
    return bytes.fromhex(text) if _MADE.fullmatch(text) else text.encode("utf-8", "surrogatepass")


def salt_of(folder: Path, given: str | bytes | None, file: Path | None = None) -> bytes:
    """The salt to use: the user's, as a text, as the key itself or in a file; else the one that lies in the folder, or
    a new one, which is put there (mode 600).

    Raises OutputError where the folder's can be neither read nor written, UserError for a file that will not do.
    """
    if file is not None:
        return key_of(_private_text(file))
    if given is not None:
        return given if isinstance(given, bytes) else given.encode("utf-8", "surrogatepass")
    path = folder / SALT_FILE
    try:
        if path.exists():
            private.set_mode(path, 0o600)
            return bytes.fromhex(path.read_text(encoding="ascii").strip())
        salt = secrets.token_bytes(16)
        with private.private():
            write_text(path, salt.hex() + "\n")
    except (OSError, ValueError) as error:
        raise OutputError(
            f"The salt {path} cannot be used ({error}).", fix="--salt-file FILE, or --out elsewhere"
        ) from error
    return salt


def _private_text(path: Path) -> str:
    """What a salt file holds, without white space around it. Raises UserError; no message quotes the salt."""
    make = f"(umask 077; openssl rand -hex 16 > {path})"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            data = os.read(descriptor, _MOST_BYTES + 1) if stat.S_ISREG(status.st_mode) else b""
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UserError(f"The salt file {path} cannot be read ({error.strerror}).", fix=f"make it: {make}") from error
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"The salt file {path} is no file.", fix=f"make one: {make}")
    if status.st_mode & 0o077:
        raise UserError(
            f"The salt file {path} can be read by others (mode {stat.S_IMODE(status.st_mode):04o}): who has it can "
            "undo the pseudonyms.",
            fix=f"chmod 600 {path}",
        )
    try:
        text = data.decode("utf-8").strip()
    except UnicodeDecodeError:
        text = ""
    if not text or len(data) > _MOST_BYTES:
        raise UserError(f"The salt file {path} holds no salt: one line of text.", fix=f"make it: {make}")
    return text
