"""What a run asks of a list of scans, whoever made it: a walk of folders, a bucket's listing, rows of a plan.

    discover.Discovery     walks folders of this machine
    sharding.listed        gives the rows of one shard of a plan, or of all of them, as the walk that made it saw them

A listing is iterated once; what it counts is complete then. Knows nothing about the ledger.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Set
from typing import TYPE_CHECKING, Protocol

from lits_deploy.errors import UserError
from lits_deploy.scans.containment import Within

if TYPE_CHECKING:
    from lits_deploy.scans.discover import ScanRecord


class Listing(Protocol):
    """Scans, as records, and what was seen besides them. Attributes as in `discover.Discovery`.

    base: what paths of records are relative to; a mark of it is part of a run's identity. names: of the roots, escaped,
    for a report of patients who are named. only: names directly below the root, where nothing else was looked at.
    """

    def __iter__(self) -> Iterator[ScanRecord]:
        """The records, in any order; a path that comes twice counts once."""
        ...

    def real_path(self, path: str) -> str:
        """Where the file of a record's path can be read: the operating system's path, or an object's URL."""
        ...

    @property
    def base(self) -> str: ...  # noqa: D102 - as in Discovery

    @property
    def names(self) -> list[str]: ...  # noqa: D102

    @property
    def within(self) -> Within: ...  # noqa: D102

    @property
    def where(self) -> str: ...  # noqa: D102

    @property
    def recursive(self) -> bool: ...  # noqa: D102

    @property
    def hidden(self) -> bool: ...  # noqa: D102

    @property
    def only(self) -> Collection[str] | None: ...  # noqa: D102

    @property
    def others(self) -> Counter[str]: ...  # noqa: D102

    @property
    def own(self) -> int: ...  # noqa: D102

    @property
    def tops(self) -> Set[str]: ...  # noqa: D102

    @property
    def mounts(self) -> Set[str]: ...  # noqa: D102

    @property
    def unlisted(self) -> Mapping[str, str]: ...  # noqa: D102


def no_scans(listing: Listing) -> UserError:
    """The error for a listing, gone through, that had nothing."""
    others = f" ({sum(listing.others.values())} other files)" if listing.others else ""
    return UserError(
        f"No scans {listing.where}{others}: looked for DICOM, NIfTI, PNG and JPEG, also in zips.",
        fix="name another folder" + ("" if listing.recursive else ", or --recursive"),
    )
