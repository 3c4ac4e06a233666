"""Scans that are gone since the last run: told from scans that only seem so, before anything of theirs is dropped.

A folder that cannot be listed, a share that is not mounted, a folder that was emptied by mistake: the next run would
drop every result below it and end well. It is stopped instead, unless it was asked to go on. Where paths are hashed,
nothing of a folder's name is kept, so that counts have to do: more folders without scans or that cannot be listed than
last time, or fewer mounts, while results would go.
"""

from __future__ import annotations

import json
from typing import Any

from lits_deploy.errors import OutputError
from lits_deploy.files import canonical_json
from lits_deploy.ledger import Ledger
from lits_deploy.scans.listing import Listing

SEEN = "seen"
"""What the ledger notes for the next run: mount points among the folders (where paths are hashed, how many), how many
folders could not be listed, and how many top-level folders held no scan."""


def note_seen(ledger: Ledger, listing: Listing) -> None:
    """Keep it, of a walk that has ended and is staged in the ledger."""
    mounts = sorted(listing.mounts)
    seen = {
        "mounts": len(mounts) if listing.hidden else mounts,
        "unlisted": len(listing.unlisted),
        "empty": len(_empty(ledger, listing)),
    }
    ledger.note(SEEN, canonical_json(seen))


def check_removed(ledger: Ledger, listing: Listing) -> None:
    """Raise OutputError where results would leave because their scans seem to be gone. To be called before `adopt`."""
    there, gone = ledger.results_to_go()
    if not gone:
        return
    why = "none of them was found" if gone == there else _why(ledger, listing)
    if why is not None:
        raise OutputError(
            f"{gone:,} of {there:,} scans with results seem to be gone: {why}.",
            fix="mount or repair the folder; or --allow-removed, which drops their results",
        )


def _empty(ledger: Ledger, listing: Listing) -> set[str]:
    """The top-level folders without a scan."""
    return set(listing.tops) - ledger.folders_found(listing.tops)


def _why(ledger: Ledger, listing: Listing) -> str | None:
    noted = ledger.noted(SEEN)
    nothing: dict[str, Any] = {"mounts": 0 if listing.hidden else [], "unlisted": 0, "empty": 0}
    before = nothing if noted is None else json.loads(noted)
    empty = _empty(ledger, listing)
    if listing.hidden:
        unlisted = list(listing.unlisted.values())[: max(0, len(listing.unlisted) - before["unlisted"])]
        unmounted = len(listing.mounts) < before["mounts"]
        emptied = len(empty) > before["empty"] and ledger.parts_to_go() > 0
    else:
        unlisted = [why for folder, why in listing.unlisted.items() if ledger.goes_below(folder)]
        unmounted = any(ledger.goes_below(folder) for folder in {*before["mounts"]} - listing.mounts)
        emptied = any(ledger.goes_below(folder) for folder in empty)
    if unlisted:
        return f"one of their folders cannot be listed ({unlisted[0]})"
    if unmounted:
        return "one of their folders was a mount point and is none now"
    return "one of their top-level folders no longer holds a scan" if emptied else None
