"""How changes in an inbox are noticed: by the system's notices (watchfiles), or by looking again and again.

Notices are hints of where to look; what counts is what is then found there. They do not come for changes that another
machine makes on a network share, and the system may run out of them: then looking is the way, which needs no library.
"""

from __future__ import annotations

import os
import re
import select
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from lits_deploy.decode.wakeup import Wakeup
from lits_deploy.errors import MissingExtra, UserError
from lits_deploy.pipeline.stop import Stop
from lits_deploy.scans.containment import Within, is_within

REMOTE = frozenset(
    "9p afs beegfs ceph cifs davfs drvfs fuse glusterfs gpfs lustre nfs nfs4 orangefs prl_fs smb2 smb3 smbfs"  # noqa: SIM905
    " vboxsf virtiofs vmhgfs".split()
)
"""File systems whose changes may come from elsewhere, where no notice tells of them."""

POLL_S = (1.0, 15.0)
"""Shortest and longest time between two looks; half the quiet time in between."""

_STEP_MS = 250  # a wait for notices lasts this long at most, so that the service's own times are kept
_OCTAL = re.compile(r"\\([0-7]{3})")


class ChangeSource(Protocol):
    """A way to notice changes. Use as a context manager where it has one."""

    method: str
    """For people: how it notices."""

    def wait(self, seconds: float) -> set[str] | None:
        """Wait for changes, at most so long, or until asked to stop; names of entries to look at, None for all."""
        ...

    def close(self) -> None:
        """Stop noticing."""
        ...


class Polling:
    """Says every `every_s` seconds that everything is to be looked at."""

    def __init__(self, stop: Stop, every_s: float) -> None:
        self._stop, self._every_s = stop, every_s
        self._wakeup = Wakeup()
        self.method = f"looking every {every_s:g} s"

    def wait(self, seconds: float) -> set[str] | None:
        """Wait for the next look."""
        self._stop.wakes(self._wakeup.wake)  # a run takes it for its own loop
        try:
            if not self._stop.requested:
                select.select([self._wakeup], [], [], max(0.0, min(seconds, self._every_s)))
        finally:
            self._stop.wakes(None)
        return None

    def close(self) -> None:
        """Close the way to be woken."""
        self._wakeup.close()


class Notices:
    """The system's notices, by watchfiles. Raises MissingExtra without it, OSError and others where there are none.

    instead(error): what takes over when they end.
    """

    method = "by the system's notices"

    def __init__(self, folder: Path, stop: Stop, instead: Callable[[Exception], ChangeSource]) -> None:
        try:
            from watchfiles import watch
        except ImportError as error:
            raise MissingExtra("watchfiles", "watch") from error
        self._prefix = len(str(folder).rstrip("/")) + 1
        self._instead = instead
        self._other: ChangeSource | None = None
        self._changes: Generator[set[tuple[Any, str]], None, None] = watch(
            folder,
            watch_filter=None,
            stop_event=_Event(stop),
            rust_timeout=_STEP_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
            force_polling=False,
            ignore_permission_denied=True,
        )
        self._first = next(self._changes)  # begins to listen, and says so if it cannot

    def wait(self, seconds: float) -> set[str] | None:
        """Wait for notices; a quarter of a second at most, whatever is asked for."""
        if self._other is not None:
            return self._other.wait(seconds)
        try:
            seen, self._first = self._first or next(self._changes, set()), set()
        except Exception as error:  # it gives up at a name that is not UTF-8, each time that such a folder is looked at
            self._other = self._instead(error)
            return None
        return {name for _, path in seen if (name := path[self._prefix :].partition("/")[0])}

    def close(self) -> None:
        """Stop listening."""
        self._changes.close()
        if self._other is not None:
            self._other.close()


class _Event:
    def __init__(self, stop: Stop) -> None:
        self._stop = stop

    def is_set(self) -> bool:
        return self._stop.requested


def changes_in(
    folder: Path, stop: Stop, *, quiet_s: float, poll: bool, warn: Callable[[str], None], within: Within = None
) -> ChangeSource:
    """The way to notice changes that works in this folder; `warn` is called where notices do not.

    poll: look again and again in any case; so, too, where links lead elsewhere than `within`: watchfiles would follow
    them, and ask for notices of all that lies there. Raises MissingExtra where watchfiles is needed and not there.
    """
    every_s = min(max(quiet_s / 2, POLL_S[0]), POLL_S[1])
    kind = file_system(folder)
    if poll or kind in REMOTE or kind.startswith("fuse.") or _any_link_out(folder, within):
        return Polling(stop, every_s)

    def instead(error: Exception) -> Polling:
        warn(f"The system gives no notices of changes ({_why(error)}): looking every {every_s:g} s instead.")
        return Polling(stop, every_s)

    try:
        return Notices(folder, stop, instead)
    except UserError:
        raise
    except Exception as error:
        return instead(error)


def _any_link_out(folder: Path, within: Within) -> bool:
    return within is not None and any(
        entry.is_symlink() and not is_within(os.path.realpath(entry), within) for entry in _below(str(folder))
    )


def _below(folder: str) -> Iterator[os.DirEntry[str]]:
    """Everything below a folder; links are not followed."""
    stack = [folder]
    while stack:
        with suppress(OSError), os.scandir(stack.pop()) as entries:
            for entry in entries:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    stack.append(entry.path)


def file_system(folder: Path) -> str:
    """The kind of file system that a folder lies on, as Linux calls it; empty where nobody says."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    path = folder.resolve()
    best, kind = -1, ""
    for line in mounts:
        before, _, after = line.partition(" - ")
        point = Path(_OCTAL.sub(lambda found: chr(int(found[1], 8)), before.split()[4]))
        if (point == path or point in path.parents) and len(point.parts) >= best:
            best, kind = len(point.parts), after.split()[0]
    return kind


def _why(error: Exception) -> str:
    """Without what it says, which may quote a name."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "a name is not UTF-8" if "decode" in str(error) else type(error).__name__
