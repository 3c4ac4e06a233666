"""Which files below the given roots, and inside their zips, are scans; one record each, as a stream.

The order is the file system's: the ledger sorts by path, so that a folder of a million files needs no list in memory.
Hidden files and folders are skipped, and so is the output folder. Symbolic links that stay below the roots are
followed, but every folder is walked once: under its real name if that lies below a root, else under its first link; so
loops end. A link that leads out of the roots is a failed row, unless links are to be followed. Roots may be links.
The kind follows from the suffix or, where that leaves it open, from the first bytes (`scans.kinds`). A zip is a folder,
listed and never unpacked (`scans.archive`).
Knows nothing about whether the files are whole.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lits_deploy.errors import SliceError, UserError
from lits_deploy.scans import READERS, ZIP, kinds
from lits_deploy.scans.archive import Archive
from lits_deploy.scans.containment import OUTSIDE, check_within, is_within, real_names
from lits_deploy.scans.own_results import is_masks, is_out
from lits_deploy.scans.paths import escape, unescape
from lits_deploy.scans.records import UNREADABLE, ScanRecord, by_suffix, counted_as, member_of, why_none

__all__ = ["UNFINISHED", "UNREADABLE", "Discovery", "ScanRecord"]

UNFINISHED = (".part", ".partial", ".filepart", ".tmp", ".temp", ".crdownload", ".download", ".incomplete", ".swp", "~")
"""Ends of the names that programs give to files while they copy them; rsync's start with a dot and are hidden."""


@dataclass
class Discovery:
    """Walks the roots when iterated; `others` counts the files that are not scans, by suffix where it is a common one
    (`kinds.common_suffix`; `DICOMDIR` by name).

    roots: files and folders as the user named them; skip: folders never walked into (the output folder).
    only: names directly below the roots that are looked at, None: all. unfinished: ends of names, in lower case, of
    what is being copied still and is passed over. Both are for inboxes (`lits_deploy.watch`).
    follow_links: also out of the roots. within: real paths of the roots, of which no open file may lie outside
    (`scans.containment`); None where links are followed.
    hidden: messages name no path. own: folders of our own results among the scans; their masks are passed over.
    After the walk: `tops`, the folders among the roots and directly below them, less the base; `mounts`, the folders
    on which a file system is mounted; `unlisted`, folders and zips that could not be listed, and why. All as paths of
    records are, "" for the base.
    names: of the roots, escaped.
    base: what paths are relative to: the one root folder, the one file's folder, or the roots' common parent.
    A file that is named twice, or named and found, comes twice. A file that is named is a record in any case.
    Raises UserError for a root that does not exist.
    """

    roots: Sequence[Path]
    recursive: bool = True
    skip: Sequence[Path] = ()
    only: Collection[str] | None = None
    unfinished: tuple[str, ...] = ()
    follow_links: bool = False
    hidden: bool = False
    own: int = 0
    others: Counter[str] = field(default_factory=Counter)
    tops: set[str] = field(default_factory=set)
    mounts: set[str] = field(default_factory=set)
    unlisted: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.roots:
            raise UserError("No scans were named.", fix="name files or folders")
        self._folders, self._files = set[str](), set[str]()
        for number, root in enumerate(self.roots, start=1):
            if root.is_dir():
                self._folders.add(os.path.realpath(root))
            elif root.exists():  # a linked file keeps its own name
                self._files.add(os.path.join(os.path.realpath(root.parent), root.name))  # noqa: PTH118
            else:
                # Where names are hidden the path may be a patient's.
                which = f": number {number} of the {len(self.roots)} named" if len(self.roots) > 1 else ""
                what = f"such file or folder{which}" if self.hidden else f"{root}"
                raise UserError(f"There is no {what}.", fix="check the path of the scans")
        self.names = [escape(root.resolve().name) for root in self.roots]
        self.base = os.path.commonpath(self._folders | {os.path.dirname(file) for file in self._files})  # noqa: PTH120
        self._prefix = len(self.base.rstrip("/")) + 1
        self.within = None if self.follow_links else real_names([*self._folders, *self._files])

    @property
    def where(self) -> str:
        """For messages: the roots as the user named them; the path is left out where it may be a patient's."""
        if self.hidden:
            return "where you pointed"
        return f"in {self.roots[0]}" if len(self.roots) == 1 else f"in {self.roots[0]} and {len(self.roots) - 1} more"

    def real_path(self, path: str) -> str:
        """The operating system's path of a record's path."""
        return os.path.join(self.base, unescape(path))  # noqa: PTH118 - Path would cost more, once per file

    def __iter__(self) -> Iterator[ScanRecord]:
        skipped: set[tuple[int, int] | None] = {key for folder in self.skip if (key := _identity(str(folder)))}
        # A root is walked even if it is the output folder.
        walked: set[tuple[int, int] | None] = skipped - {_identity(folder) for folder in self._folders}
        links: list[str] = []
        for file in sorted(self._files):
            yield from self._named_file(file)
        yield from self._walk(sorted(self._folders), walked, links)
        while links:  # last and in order, so that real names win whatever the file system's order
            batch, links = sorted(links), []
            yield from self._walk(batch, walked, links)

    def _walk(
        self, start: Iterable[str], walked: set[tuple[int, int] | None], links: list[str]
    ) -> Iterator[ScanRecord]:
        stack = list(start)
        while stack:
            folder = stack.pop()
            key = _identity(folder)
            if key in walked:
                continue
            walked.add(key)
            if is_masks(folder):
                self.own += 1
                continue
            self.own += folder not in self._folders and is_out(folder)
            if os.path.ismount(folder):
                self.mounts.add(self._relative(folder))
            if folder != self.base and not {folder, os.path.dirname(folder)}.isdisjoint(self._folders):  # noqa: PTH120
                self.tops.add(self._relative(folder))
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.name.startswith(".") or entry.name.lower().endswith(self.unfinished):
                            continue
                        if self.only is not None and folder in self._folders and entry.name not in self.only:
                            continue
                        if entry.is_dir(follow_symlinks=False):
                            stack += [entry.path] if self.recursive else []
                        elif entry.is_symlink() and not is_within(os.path.realpath(entry.path), self.within):
                            yield from self._link_out(entry)
                        elif entry.is_symlink() and _is_folder(entry):
                            links += [entry.path] if self.recursive else []
                        else:
                            yield from self._file(entry.path, entry.name)
            except OSError as error:
                yield self._not_listed(folder, f"the folder cannot be listed ({_why(error)})", _why(error))

    def _link_out(self, entry: os.DirEntry[str]) -> Iterator[ScanRecord]:
        """The record of a link that is not followed; none for what no name of a scan is given to."""
        folder = _is_folder(entry)
        if folder and not self.recursive:
            return
        suffix = kinds.suffix_of(entry.name)
        content = None if folder else by_suffix(suffix, entry.name)
        if content is not None and content.kind in (None, kinds.DICOMDIR) and not content.reason:
            self.others[counted_as(content, suffix)] += 1
        elif folder:
            yield self._not_listed(entry.path, OUTSIDE, OUTSIDE)
        else:
            yield ScanRecord(self._relative(entry.path), UNREADABLE, 0, OUTSIDE)

    def _not_listed(self, folder: str, reason: str, why: str) -> ScanRecord:
        self.unlisted[self._relative(folder)] = why
        return ScanRecord(self._relative(folder) + "/", UNREADABLE, 0, reason, unlisted=True)

    def _named_file(self, path: str) -> Iterator[ScanRecord]:
        none = True
        for found in self._file(path, os.path.basename(path)):  # noqa: PTH119
            yield found
            none = False
        if none:
            yield ScanRecord(self._relative(path), UNREADABLE, 0, why_none(os.path.basename(path)))  # noqa: PTH119

    def _file(self, path: str, name: str) -> Iterator[ScanRecord]:
        """The records of one file: one, none if it is no scan, or those of a zip's members."""
        suffix = kinds.suffix_of(name)
        content = by_suffix(suffix, name) or self._look(path)
        if isinstance(content, ScanRecord):
            yield content
        elif content.kind == ZIP:
            yield from self._zip(path, suffix)
        elif content.kind in READERS:
            yield self._record(path, content.kind or "")
        elif content.reason:
            yield ScanRecord(self._relative(path), UNREADABLE, 0, content.reason)
        else:
            self.others[counted_as(content, suffix)] += 1

    def _look(self, path: str) -> kinds.Content | ScanRecord:
        """What a file is by its first bytes; a pipe or device, which is never waited for, is nothing."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    return kinds.Content()
                check_within(fd, self.within)
                return kinds.by_content(os.read(fd, kinds.HEAD))
            finally:
                os.close(fd)
        except SliceError as error:
            return ScanRecord(self._relative(path), UNREADABLE, 0, str(error))
        except OSError as error:
            if error.errno in (errno.ENXIO, errno.ELOOP):  # a socket; a link to itself
                return kinds.Content()
            return ScanRecord(self._relative(path), UNREADABLE, 0, f"the file cannot be read ({_why(error)})")

    def _zip(self, path: str, suffix: str) -> Iterator[ScanRecord]:
        container, some = self._relative(path), False
        try:
            with Archive(path, self.within) as archive:
                for member in archive.members():
                    found = member_of(archive, container, member)
                    if isinstance(found, ScanRecord):
                        some = True
                        yield found
                    else:
                        self.others[found] += 1
        except SliceError as error:
            yield ScanRecord(container, UNREADABLE, 0, str(error))
        except OSError as error:
            self.unlisted[container] = _why(error)
            yield ScanRecord(container, UNREADABLE, 0, f"the file cannot be read ({_why(error)})", unlisted=True)
        else:
            if not some:
                self.others[kinds.common_suffix(suffix)] += 1

    def _record(self, path: str, kind: str) -> ScanRecord:
        relative = self._relative(path)
        try:
            status = os.stat(path)  # noqa: PTH116 - a Path per file costs more than the call
        except OSError as error:
            return ScanRecord(relative, UNREADABLE, 0, f"the file cannot be read ({_why(error)})")
        if not stat.S_ISREG(status.st_mode):
            return ScanRecord(relative, UNREADABLE, 0, "not a regular file")
        return ScanRecord(relative, status.st_size, status.st_mtime_ns, None, kind, ctime_ns=status.st_ctime_ns)

    def _relative(self, path: str) -> str:
        return escape(path[self._prefix :])


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


def _why(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else type(error).__name__
