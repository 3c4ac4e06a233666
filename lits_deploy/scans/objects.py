"""Which objects of a store, and inside its zips, are scans: what `discover` finds in folders, found in a bucket.

Records, names and rules are the same; keys are paths. A store knows neither links nor mounts. An object's ETag stands
where a file has its time of change: asked for object by object, since no listing of pyarrow's tells it, many at once.
A zip is read by range: its directory, then each entry alone.
"""

from __future__ import annotations

import posixpath
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from lits_deploy.errors import SliceError, StorageError, UserError
from lits_deploy.scans import READERS, ZIP, kinds
from lits_deploy.scans.fetch import TAIL, ObjectArchive, is_there, why, why_not
from lits_deploy.scans.own_results import holds_masks, holds_results
from lits_deploy.scans.paths import escape, unescape
from lits_deploy.scans.records import UNREADABLE, ScanRecord, by_suffix, counted_as, member_of, why_none
from lits_deploy.storage import SCHEME, FolderEntry, location_of

if TYPE_CHECKING:
    from lits_deploy.storage.s3 import ObjectReader

R = TypeVar("R")

THREADS = 32
"""Objects asked for at once: each answer takes tens of ms, however fast the store."""

_FOLDERS, _AHEAD = 8, 4 * THREADS  # listings and objects that are asked for before their turn
_GAP = "a key with an empty part (`//`) is no path"


class _Zip(NamedTuple):
    path: str
    reader: ObjectReader
    named: bool


_Seen = list[ScanRecord | str] | _Zip


@dataclass
class ObjectDiscovery:
    """Lists the roots when iterated; attributes as in `discover.Discovery`.

    roots: `s3://` locations in one bucket; skip: locations that are not looked into. Raises UserError for a root that
    does not exist, StorageError for a store that cannot be used.
    """

    roots: Sequence[str]
    recursive: bool = True
    skip: Sequence[str] = ()
    hidden: bool = False
    own: int = 0
    others: Counter[str] = field(default_factory=Counter)
    tops: set[str] = field(default_factory=set)
    mounts: frozenset[str] = frozenset()
    unlisted: dict[str, str] = field(default_factory=dict)
    only: None = None
    within: None = None

    def __post_init__(self) -> None:
        from lits_deploy.storage.s3 import object_at

        where = [location_of(root) for root in self.roots]
        if len({one.bucket for one in where}) != 1 or any(one.path is not None for one in where):
            raise UserError("The scans of one run lie in one bucket.", fix="name locations of the same bucket")
        self._bucket = f"{SCHEME}{where[0].bucket}"
        self._store, _ = object_at(self._bucket)
        self._folders, self._files = set[str](), set[str]()  # keys, with a slash in front
        for number, one in enumerate(where, start=1):
            kind = self._store.kind(one.key)
            if kind is None:
                which = f": number {number} of the {len(self.roots)} named" if len(self.roots) > 1 else ""
                what = f"such file or folder{which}" if self.hidden else f"{one}"
                raise UserError(f"There is no {what}.", fix="check the location of the scans")
            (self._files if kind == "file" else self._folders).add(f"/{one.key}")
        self.names = [escape(posixpath.basename(one.key) or one.bucket) for one in where]
        self._base = posixpath.commonpath(self._folders | {posixpath.dirname(file) for file in self._files})
        self._prefix = len(self._base.rstrip("/")) + 1
        self.base = f"{self._bucket}{self._base}".rstrip("/")
        self._skipped = {
            f"/{one.key}" for one in map(location_of, self.skip) if f"{SCHEME}{one.bucket}" == self._bucket
        }

    @property
    def where(self) -> str:
        """For messages: the roots as the user named them; the location is left out where it may be a patient's."""
        if self.hidden:
            return "where you pointed"
        return f"in {self.roots[0]}" if len(self.roots) == 1 else f"in {self.roots[0]} and {len(self.roots) - 1} more"

    def real_path(self, path: str) -> str:
        """The URL of a record's path."""
        return f"{self.base}/{unescape(path)}"

    def __iter__(self) -> Iterator[ScanRecord]:
        is_there.cache_clear()
        pool = ThreadPoolExecutor(THREADS, "list")
        try:
            for seen in _ahead(pool, self._tasks(pool)):
                for one in [seen] if isinstance(seen, _Zip) else seen:
                    if isinstance(one, ScanRecord):
                        yield one
                    elif isinstance(one, str):
                        self.others[one] += 1
                    else:
                        yield from self._members(pool, one)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _tasks(self, pool: ThreadPoolExecutor) -> Iterator[Callable[[], _Seen]]:
        """What is to be asked of each object, in any order."""
        for file in sorted(self._files):
            yield partial(self._file, file, named=True)
        walked = self._skipped - self._folders
        stack, coming = sorted(self._folders), deque[tuple[str, Future[list[FolderEntry]]]]()
        while stack or coming:
            while stack and len(coming) < _FOLDERS:
                folder = stack.pop()
                if folder not in walked:
                    walked.add(folder)
                    coming.append((folder, pool.submit(self._entries, folder)))
            if coming:
                folder, entries = coming.popleft()
                try:
                    yield from self._folder(folder, entries.result(), stack)
                except (OSError, StorageError) as error:
                    reason = why(error)
                    name = f"{self._relative(folder)}/"
                    yield partial(self._not_listed, name, f"the folder cannot be listed ({reason})", reason)

    def _entries(self, folder: str) -> list[FolderEntry]:
        return list(self._store.entries(folder[1:]))

    def _folder(self, folder: str, entries: list[FolderEntry], stack: list[str]) -> Iterator[Callable[[], _Seen]]:
        files = {entry.name for entry in entries if not entry.is_folder}
        if holds_masks(files.__contains__):
            self.own += 1
            return
        self.own += folder not in self._folders and holds_results(files.__contains__)
        if folder != self._base and not {folder, posixpath.dirname(folder)}.isdisjoint(self._folders):
            self.tops.add(self._relative(folder))
        for entry in entries:
            path = f"{folder.rstrip('/')}/{entry.name}"
            if entry.name.startswith("."):
                continue
            if entry.is_folder:
                if self.recursive and entry.name:
                    stack.append(path)
                elif self.recursive:  # named as in a zip (`archive.label`)
                    yield partial(self._not_listed, f"{self._relative(path)}\\x2f/", _GAP)
            else:
                yield partial(self._file, path)

    def _not_listed(self, name: str, reason: str, why: str | None = None) -> _Seen:
        self.unlisted[name.rstrip("/")] = why or reason
        return [ScanRecord(name, UNREADABLE, 0, reason, unlisted=True)]

    def _file(self, path: str, *, named: bool = False) -> _Seen:
        """The record of an object, what it is counted as if it is no scan, or a zip that is to be gone through."""
        name, relative = posixpath.basename(path), self._relative(path)
        suffix, reader = kinds.suffix_of(name), None
        try:
            content = by_suffix(suffix, name)
            if content is None:
                reader = self._store.reader(path[1:])
                content = kinds.by_content(reader.read_at(0, kinds.HEAD))
            if content.kind == ZIP:
                reader = reader or self._store.reader(path[1:])
                reader.keep_end(TAIL)
                return _Zip(relative, reader, named)
            if content.kind in READERS:
                reader = reader or self._store.reader(path[1:])
                return [ScanRecord(relative, reader.size, reader.version, kind=content.kind or "", etag=reader.etag)]
        except (OSError, StorageError) as error:
            return [ScanRecord(relative, UNREADABLE, 0, why_not(error))]
        if content.reason:
            return [ScanRecord(relative, UNREADABLE, 0, content.reason)]
        counted = counted_as(content, suffix)
        return [counted, ScanRecord(relative, UNREADABLE, 0, why_none(name))] if named else [counted]

    def _members(self, pool: ThreadPoolExecutor, of: _Zip) -> Iterator[ScanRecord]:
        some = False
        try:
            archive = ObjectArchive(of.reader)
            for seen in _ahead(pool, (partial(member_of, archive, of.path, one) for one in archive.members())):
                if isinstance(seen, ScanRecord):
                    some = True
                    yield seen
                else:
                    self.others[seen] += 1
        except SliceError as error:
            yield ScanRecord(of.path, UNREADABLE, 0, str(error))
        except (OSError, StorageError) as error:
            self.unlisted[of.path] = why(error)
            yield ScanRecord(of.path, UNREADABLE, 0, why_not(error), unlisted=True)
        else:
            if not some:
                self.others[kinds.common_suffix(kinds.suffix_of(of.path))] += 1
            if not some and of.named:
                yield ScanRecord(of.path, UNREADABLE, 0, why_none(of.path))

    def _relative(self, path: str) -> str:
        return escape(path[self._prefix :])


def _ahead(pool: ThreadPoolExecutor, tasks: Iterable[Callable[[], R]]) -> Iterator[R]:
    """What the tasks give, in their order; some are begun before their turn."""
    tasks, begun = iter(tasks), deque[Future[R]]()
    while True:
        begun.extend(pool.submit(task) for task in islice(tasks, _AHEAD - len(begun)))
        if not begun:
            return
        yield begun.popleft().result()
