"""Which entries of an inbox are complete: those in which nothing has changed for a while.

An *entry* is a file or folder directly below the inbox: a study. Its *state* is a digest of the names, sizes and times
of all files in it. Nobody says when a copy ends, so an entry is taken when its state has stayed the same for `quiet_s`
seconds; should it change later, it is taken again. Names that programs give to files while they copy (`UNFINISHED`) are
no entries, but inside an entry they are part of its state: a growing `slice.dcm.part` keeps it waiting.
Knows no clock (every call says what time it is) and nothing about scans.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from pathlib import Path

from lits_deploy.scans.containment import Within, is_within
from lits_deploy.scans.discover import UNFINISHED

_File = tuple[bytes, int, int, int]  # name, size, mtime, ctime

EMPTY = hashlib.sha256().hexdigest()
"""State of an entry that holds no file."""


@dataclass(kw_only=True)
class _Entry:
    state: str
    since: float
    not_before: float = 0.0
    tries: int = 0


class Inbox:
    """The entries of a folder and how long they have been as they are.

    is_done(name, state): whether this state of an entry has been dealt with. within: see `state_of`. Times are seconds
    of any steady clock.
    """

    def __init__(
        self, folder: Path, *, quiet_s: float, is_done: Callable[[str, str], bool], within: Within = None
    ) -> None:
        self.folder, self.quiet_s, self._is_done, self._within = folder, quiet_s, is_done, within
        self._entries: dict[str, _Entry] = {}

    def look(self, now: float, names: Iterable[str] | None = None) -> None:
        """Take in the state of some entries, or of all there are. Raises OSError where the inbox cannot be listed."""
        if names is None:
            names = {*self._entries, *(path.name for path in self.folder.iterdir())}
        for name in names:
            passed_over = name.startswith(".") or name.lower().endswith(UNFINISHED)
            state = None if passed_over else state_of(self.folder / name, self._within)
            if state is None:
                self._entries.pop(name, None)
            elif name not in self._entries or self._entries[name].state != state:
                self._entries[name] = _Entry(state=state, since=now)

    def complete(self, now: float) -> list[str]:
        """Names of the entries that are complete and not done, looked at once more; longest complete first."""
        due = self._due(now)
        self.look(now, due)
        return sorted(self._due(now), key=lambda name: (self._entries[name].since, name))

    def next_due(self) -> float:
        """When `complete` may have something to say, if nothing changes before; infinity if never."""
        waiting = (entry for name, entry in self._entries.items() if self._waits(name, entry))
        return min(map(self._due_at, waiting), default=inf)

    def to_do(self) -> int:
        """How many entries are not done."""
        return sum(self._waits(name, entry) for name, entry in self._entries.items())

    def set_aside(self) -> int:
        """How many are put off until they change."""
        return sum(entry.not_before == inf for entry in self._entries.values())

    def states(self, names: Iterable[str]) -> dict[str, str]:
        """The states of some entries, as they were last seen."""
        return {name: self._entries[name].state for name in names if name in self._entries}

    def put_off(self, names: Iterable[str], until: float) -> None:
        """Do not call these complete before then, unless they change."""
        for name in names:
            if name in self._entries:
                self._entries[name].not_before = until
                self._entries[name].tries += 1

    def tries(self, name: str) -> int:
        """How often an entry has been put off since it changed."""
        return self._entries[name].tries if name in self._entries else 0

    def __len__(self) -> int:
        return len(self._entries)

    def _due(self, now: float) -> list[str]:
        return [
            name for name, entry in self._entries.items() if now >= self._due_at(entry) and self._waits(name, entry)
        ]

    def _due_at(self, entry: _Entry) -> float:
        return max(entry.since + self.quiet_s, entry.not_before)

    def _waits(self, name: str, entry: _Entry) -> bool:
        return not self._is_done(name, entry.state)


def state_of(path: Path, within: Within = None) -> str | None:
    """A digest of names, sizes and times of the file there, or of all files in the folder; None if nothing is there.

    Links to folders inside it are not followed, nor any link that leads elsewhere than `within` (`scans.containment`):
    these count as what they are. What cannot be listed counts as it is: as something unreadable.
    """
    try:
        out = within is not None and path.is_symlink() and not is_within(os.path.realpath(path), within)
        status = path.stat(follow_symlinks=not out)
    except OSError:
        return None if not path.is_symlink() else EMPTY
    if not stat.S_ISDIR(status.st_mode):
        return _digest([(b"", *_mark(status))])
    files: list[_File] = []
    prefix, stack = len(os.fsencode(path)), [os.fsencode(path)]
    while stack:
        folder = stack.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
                    else:
                        files.append(_file(entry, prefix, within))
        except OSError as error:
            files.append((folder[prefix:], -1, error.errno or 0, 0))
    return _digest(files)


def _file(entry: os.DirEntry[bytes], prefix: int, within: Within) -> _File:
    try:
        out = entry.is_symlink() and not is_within(os.fsdecode(os.path.realpath(entry.path)), within)
        status = entry.stat(follow_symlinks=not out)
    except OSError:  # it has just gone, or is a link to nowhere
        return entry.path[prefix:], -1, 0, 0
    return entry.path[prefix:], *_mark(status)


def _mark(status: os.stat_result) -> tuple[int, int, int]:
    """What a change of a file changes: nobody can give it its old ctime back."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _digest(files: list[_File]) -> str:
    digest = hashlib.sha256()
    for name, size, mtime_ns, ctime_ns in sorted(files):
        digest.update(b"%d %d %d %d %s" % (len(name), size, mtime_ns, ctime_ns, name))
    return digest.hexdigest()
