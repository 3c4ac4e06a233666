"""What the user named → its listing: folders of this machine are walked, objects of a store are listed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from lits_deploy.errors import UserError
from lits_deploy.scans.discover import Discovery
from lits_deploy.scans.listing import Listing
from lits_deploy.storage import PathOrUrl


def list_scans(
    roots: Sequence[PathOrUrl],
    *,
    recursive: bool = True,
    skip: Sequence[PathOrUrl] = (),
    only: Collection[str] | None = None,
    unfinished: tuple[str, ...] = (),
    follow_links: bool = False,
    hidden: bool = False,
) -> Listing:
    """The scans below these; arguments as of `discover.Discovery`. Raises UserError for what cannot be listed."""
    paths = [root for root in roots if isinstance(root, Path)]
    if len(paths) == len(roots):
        return Discovery(
            paths,
            recursive=recursive,
            skip=[one for one in skip if isinstance(one, Path)],
            only=only,
            unfinished=unfinished,
            follow_links=follow_links,
            hidden=hidden,
        )
    if paths or only is not None:
        raise UserError("Scans of one run lie in folders or in an object store, not in both.", fix="a run for each")
    from lits_deploy.scans.objects import ObjectDiscovery

    return ObjectDiscovery(
        [str(root) for root in roots],
        recursive=recursive,
        skip=[one for one in skip if isinstance(one, str)],
        hidden=hidden,
    )
