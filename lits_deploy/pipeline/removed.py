"""Scans that are gone since the last run: told from scans that only seem so, before anything of theirs is dropped.

A folder that cannot be listed, a share that is not mounted, a folder that was emptied by mistake: the next run would
drop every result below it and end well. It is stopped instead, unless it was asked to go on. Where paths are hashed,
nothing of a folder's name is kept, so that counts have to do: more folders without scans or that cannot be listed than
last time, or fewer mounts, while results would go.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from lits_deploy.errors import OutputError
from lits_deploy.files import canonical_json
from lits_deploy.ledger import Ledger
from lits_deploy.scans.discover import Discovery

SEEN = "seen"
"""What the ledger notes of the folders of a run (`Seen`)."""


@dataclass(frozen=True)
class Seen:
    """What is noted for the next run: mount points among the folders (where paths are hashed, how many), and how many
    folders could not be listed, and how many top-level folders held no scan."""

    mounts: tuple[str, ...] | int
    unlisted: int
    empty: int

    @classmethod
    def of(cls, discovery: Discovery, ledger: Ledger, *, hidden: bool) -> Seen:
        """Of a walk that has ended and is staged in the ledger."""
        mounts = sorted(discovery.mounts)
        return cls(
            mounts=len(mounts) if hidden else tuple(mounts),
            unlisted=len(discovery.unlisted),
            empty=len(discovery.tops - ledger.folders_found(discovery.tops)),
        )

    def note(self, ledger: Ledger) -> None:
        """Keep it for the next run."""
        ledger.note(SEEN, canonical_json({"mounts": self.mounts, "unlisted": self.unlisted, "empty": self.empty}))


def check_removed(ledger: Ledger, discovery: Discovery, *, hidden: bool) -> None:
    """Raise OutputError where results would leave because their scans seem to be gone. To be called before `adopt`.

    hidden: the ledger has hashes of paths (`pseudonyms`).
    """
    there, gone = ledger.results_to_go()
    if not gone:
        return
    why = "none of their scans is there any more" if gone == there else _why(ledger, discovery, hidden=hidden)
    if why is not None:
        raise OutputError(
            f"{gone:,} of {there:,} scans with results seem to be gone: {why}.",
            fix="mount or mend the folder; --allow-removed if they may leave the results",
        )


def _why(ledger: Ledger, discovery: Discovery, *, hidden: bool) -> str | None:
    noted = ledger.noted(SEEN)
    before = json.loads(noted) if noted is not None else {"mounts": 0 if hidden else [], "unlisted": 0, "empty": 0}
    empty = discovery.tops - ledger.folders_found(discovery.tops)
    if hidden:
        unlisted = list(discovery.unlisted.values())[: max(0, len(discovery.unlisted) - before["unlisted"])]
        unmounted = len(discovery.mounts) < before["mounts"]
        emptied = len(empty) > before["empty"] and ledger.parts_to_go() > 0
    else:
        unlisted = [why for folder, why in discovery.unlisted.items() if ledger.goes_below(folder)]
        unmounted = any(ledger.goes_below(folder) for folder in {*before["mounts"]} - discovery.mounts)
        emptied = any(ledger.goes_below(folder) for folder in empty)
    if unlisted:
        return f"a folder of theirs cannot be listed ({unlisted[0]})"
    if unmounted:
        return "a folder of theirs was a mount and is none now"
    return "a top-level folder of theirs holds no scan any more" if emptied else None
