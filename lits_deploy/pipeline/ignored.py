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
from lits_deploy.pipeline.options import ClassifyOptions

IGNORED = "ignored"
"""What the ledger notes of it: patterns, or hashed paths."""


@dataclass(frozen=True, kw_only=True)
class Ignored:
    """patterns: kept ones and those of this start, in clear; paths: hashed ones, where paths are hashed."""

    patterns: tuple[str, ...] = ()
    paths: frozenset[str] = frozenset()

    @classmethod
    def of(cls, ledger: Ledger, options: ClassifyOptions) -> Ignored:
        """What the ledger keeps (unless it is to be dropped), with the given patterns; kept at once, but for hidden
        ones."""
        noted = None if options.ignore_none else ledger.noted(IGNORED)
        kept = {"patterns": [], "paths": []} if noted is None else json.loads(noted)
        patterns = () if options.pseudonymous else tuple(dict.fromkeys([*kept["patterns"], *options.ignore]))
        ignored = cls(patterns=patterns, paths=frozenset(kept["paths"]))
        ignored._note(ledger)
        return ignored

    def settled(self, ledger: Ledger, options: ClassifyOptions) -> tuple[Ignored, list[int]]:
        """Once all is answered: the same with the failed files that given patterns match, which the ledger then counts
        as acknowledged; and which of the patterns, from 1, match none."""
        matching, idle = _compiled(options.ignore), set(range(1, len(options.ignore) + 1))
        paths = set(self.paths)
        for path, source in ledger.failed_sources() if matching else ():
            if matched := [n for n, one in enumerate(matching, start=1) if one.match(source)]:
                idle.difference_update(matched)
                paths.update([path] if options.pseudonymous else ())
        ignored = replace(self, paths=frozenset(paths))
        if ignored != self:
            ignored._note(ledger)
        ledger.acknowledge(ignored.holds)
        return ignored, sorted(idle)

    def holds(self, path: str) -> bool:
        """Whether a failure of the file of that path, as it is written, is acknowledged."""
        return path in self.paths or any(one.match(path) for one in self._matching)

    @cached_property
    def _matching(self) -> list[re.Pattern[str]]:
        return _compiled(self.patterns)

    def _note(self, ledger: Ledger) -> None:
        ledger.note(IGNORED, canonical_json({"patterns": self.patterns, "paths": sorted(self.paths)}))


def _compiled(patterns: Sequence[str]) -> list[re.Pattern[str]]:
    return [re.compile(translate(pattern)) for pattern in patterns]
