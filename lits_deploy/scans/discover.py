"""Which files below the given roots are scans, told by their suffix; one record each, as a stream.

The order is the file system's: the ledger sorts by path, so that a folder of a million files needs no list in memory.
Hidden files and folders are skipped, and so is the output folder. Symbolic links are followed, but every folder is
walked once: under its real name if that lies below a root, else under its first link; so loops end.
Knows nothing about what is inside the files.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lits_deploy.errors import UserError
from lits_deploy.scans import FORMATS, Formats
from lits_deploy.scans.paths import escape, unescape

UNREADABLE = -1
"""Size of a record that is a failure already: a later, readable file of that path counts as changed."""

_MAX_SUFFIXES = 50  # kinds of other files told apart; numbered suffixes (.0001, .0002 …) would fill memory


@dataclass(frozen=True)
class Found:
    """A scan file, or one inside a zip.

    path: escaped, relative to the base, with `/`; of a zip's member: the zip's path, `/` and the member's name.
    size: bytes (of a member: unpacked); mtime_ns: the file's (of a member: the zip's).
    reason: why it is a failed row already, or None. kind: which reader it is for (`scans.Formats`).
    container: the zip's path where this is a member, and member its number in the zip's directory.
    """

    path: str
    size: int
    mtime_ns: int
    reason: str | None = None
    kind: str = ""
    container: str | None = None
    member: int | None = None


@dataclass
class Discovery:
    """Walks the roots when iterated; `others` counts the files that are not scans, by suffix.

    roots: files and folders as the user named them; skip: folders never walked into (the output folder).
    base: what paths are relative to: the one root folder, the one file's folder, or the roots' common parent.
    A file that is named twice, or named and found, comes twice. Raises UserError for a root that does not exist.
    """

    roots: Sequence[Path]
    recursive: bool = True
    skip: Sequence[Path] = ()
    formats: Formats = FORMATS
    others: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        if not self.roots:
            raise UserError("No scans were named.", fix="name files or folders")
        self._folders, self._files = set[str](), set[str]()
        for root in self.roots:
            if root.is_dir():
                self._folders.add(os.path.realpath(root))
            elif root.exists():  # a linked file keeps its own name
                self._files.add(os.path.join(os.path.realpath(root.parent), root.name))  # noqa: PTH118
            else:
                raise UserError(f"{root} does not exist.", fix="name files or folders that are there")
        self.base = os.path.commonpath(self._folders | {os.path.dirname(file) for file in self._files})  # noqa: PTH120
        self._prefix = len(self.base.rstrip("/")) + 1

    def real_path(self, path: str) -> str:
        """The operating system's path of a record's path."""
        return os.path.join(self.base, unescape(path))  # noqa: PTH118 - Path would cost more, once per file

    def __iter__(self) -> Iterator[Found]:
        skipped: set[tuple[int, int] | None] = {key for folder in self.skip if (key := _identity(str(folder)))}
        # A root is walked even if it is the output folder.
        walked: set[tuple[int, int] | None] = skipped - {_identity(folder) for folder in self._folders}
        links: list[str] = []
        for file in sorted(self._files):
            yield self._named_file(file)
        yield from self._walk(sorted(self._folders), walked, links)
        while links:  # last and in order, so that real names win whatever the file system's order
            batch, links = sorted(links), []
            yield from self._walk(batch, walked, links)

    def _walk(self, start: Iterable[str], walked: set[tuple[int, int] | None], links: list[str]) -> Iterator[Found]:
        stack = list(start)
        while stack:
            folder = stack.pop()
            key = _identity(folder)
            if key in walked:
                continue
            walked.add(key)
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.name.startswith("."):
                            continue
                        if entry.is_dir(follow_symlinks=False):
                            stack += [entry.path] if self.recursive else []
                        elif entry.is_symlink() and _is_folder(entry):
                            links += [entry.path] if self.recursive else []
                        elif (suffix := _suffix(entry.name)) in self.formats.suffixes:
                            yield self._record(entry.path)
                        else:
                            self._count_other(suffix)
            except OSError as error:
                name = self._relative(folder) + "/"
                yield Found(name, UNREADABLE, 0, f"the folder cannot be listed ({_why(error)})")

    def _named_file(self, path: str) -> Found:
        if _suffix(path) in self.formats.suffixes:
            return self._record(path)
        known = " ".join(sorted(self.formats.suffixes))
        return Found(self._relative(path), UNREADABLE, 0, f"its suffix is none of those that are read: {known}")

    def _record(self, path: str) -> Found:
        relative = self._relative(path)
        try:
            status = os.stat(path)  # noqa: PTH116 - a Path per file costs more than the call
        except OSError as error:
            return Found(relative, UNREADABLE, 0, f"the file cannot be read ({_why(error)})")
        if not stat.S_ISREG(status.st_mode):
            return Found(relative, UNREADABLE, 0, "not a regular file")
        kind = self.formats.suffixes[_suffix(path)]
        return Found(relative, status.st_size, status.st_mtime_ns, kind=kind)

    def _relative(self, path: str) -> str:
        return escape(path[self._prefix :])

    def _count_other(self, suffix: str) -> None:
        known = suffix in self.others or len(self.others) < _MAX_SUFFIXES
        self.others[suffix if known else "(others)"] += 1


def _identity(folder: str) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)  # noqa: PTH116
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122


def _why(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else type(error).__name__
