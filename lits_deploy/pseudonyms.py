"""Names for what must not be named: salted hashes of studies, series and (if asked) paths.

A pseudonym is the first 12 hex digits of HMAC-SHA256 under the run's salt: equal inputs of one run get equal names, and
without the salt nobody can try out a hospital's list of identifiers. The salt lies in the output folder, in a file of
its own that only its owner reads: delete it, or never pass it on, and the names lead nowhere. Twelve digits tell
10,000 series apart with a chance of 2·10⁻⁷ that two coincide.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from lits_deploy.errors import OutputError

SALT_FILE = ".lits-deploy.salt"
_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class Pseudonyms:
    """identify: studies and series keep their UIDs, and patients are named. paths: paths are hashed, too."""

    salt: bytes
    identify: bool = False
    paths: bool = False

    def of(self, kind: str, text: str) -> str:
        """The pseudonym of a text; `kind` keeps a study apart from a series of the same identifier."""
        message = f"{kind}\0{text}".encode("utf-8", "surrogatepass")
        return hmac.new(self.salt, message, hashlib.sha256).hexdigest()[:_DIGITS]

    def path(self, path: str) -> str:
        """What is written of a path: itself, or its pseudonym."""
        return self.of("path", path) if self.paths else path

    @property
    def mark(self) -> str:
        """Tells salts apart, and clear names from hashed ones, without telling the salt."""
        return f"{self.of('mark', '')[:6]}{'-identified' if self.identify else ''}{'-paths' if self.paths else ''}"


def salt_of(folder: Path, given: str | None) -> bytes:
    """The salt to use: the user's, or the one that lies in the folder, or a new one, which is put there (mode 600).

    Raises OutputError where it can be neither read nor written.
    """
    if given is not None:
        return given.encode()
    path = folder / SALT_FILE
    try:
        if path.exists():
            return bytes.fromhex(path.read_text(encoding="ascii").strip())
        salt = secrets.token_bytes(16)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(salt.hex() + "\n")
    except (OSError, ValueError) as error:
        raise OutputError(
            f"The salt {path} cannot be used ({error}).", fix="--salt TEXT, or --out elsewhere"
        ) from error
    return salt
