"""Failures that somebody knows of and accepts: they stay rows with their reasons, and are no news.

Patterns are shell patterns over paths as the tables write them; `*` matches `/`, too. They are kept in the ledger, so
that the same command without them goes on to ignore. A pattern may be a patient's id: where paths are hashed, what is
kept is the hashed paths of the failed files that it matched, and a file that fails later is news until the pattern is
given again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import translate
from functools import cached_property

from lits_deploy.files import canonical_json
from lits_deploy.ledger import Ledger

IGNORED = "ignored"
"""What the ledger notes of it: patterns, or hashed paths."""


@dataclass(frozen=True, kw_only=True)
class Ignored:
    """patterns: kept ones and those of this start, in clear; paths: hashed ones, where paths are hashed."""

    patterns: tuple[str, ...] = ()
    paths: frozenset[str] = frozenset()

    @classmethod
    def of(cls, ledger: Ledger, given: Sequence[str], *, hidden: bool, forget: bool) -> Ignored:
        """What the ledger keeps (forget: drop it first), with the given patterns; kept at once, but for hidden ones."""
        noted = None if forget else ledger.noted(IGNORED)
        kept = {"patterns": [], "paths": []} if noted is None else json.loads(noted)
        patterns = () if hidden else tuple(dict.fromkeys([*kept["patterns"], *given]))
        ignored = cls(patterns=patterns, paths=frozenset(kept["paths"]))
        ignored._note(ledger)
        return ignored

    def settled(self, ledger: Ledger, given: Sequence[str], *, hidden: bool) -> tuple[Ignored, list[int]]:
        """Once all is answered: the same with the failed files that given patterns match, which the ledger then counts
        as acknowledged; and which of the patterns, from 1, match none."""
        matching, idle = [re.compile(translate(pattern)) for pattern in given], set(range(1, len(given) + 1))
        paths = set(self.paths)
        for path, place in ledger.failed_places() if given else ():
            if matched := [n for n, one in enumerate(matching, start=1) if one.match(place)]:
                idle.difference_update(matched)
                paths.update([path] if hidden else ())
        ignored = replace(self, paths=frozenset(paths))
        if ignored != self:
            ignored._note(ledger)
        ledger.acknowledge(ignored.holds)
        return ignored, sorted(idle)

    def holds(self, path: str) -> bool:
        """Whether a failure of the file of that path, as it is written, is acknowledged."""
        return path in self.paths or any(one.match(path) for one in self._compiled)

    @cached_property
    def _compiled(self) -> list[re.Pattern[str]]:
        return [re.compile(translate(pattern)) for pattern in self.patterns]

    def _note(self, ledger: Ledger) -> None:
        ledger.note(IGNORED, canonical_json({"patterns": self.patterns, "paths": sorted(self.paths)}))
