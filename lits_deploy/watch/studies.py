"""What a watch says of each study that is done: counts and rank, its name in studies.csv, and its entry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

from lits_deploy.ledger import Ledger
from lits_deploy.studies import SeriesSummary, by_number


@dataclass(frozen=True, kw_only=True)
class StudyLine:
    """One study of an entry.

    study: its pseudonym; None for files of the entry that belong to none, or if it holds no scan at all.
    entry: its printable name, or its pseudonym where paths have one. slices, failed, excluded: rows in slices.csv, of
    them failed, of them kept from the network. acknowledged: of the failed ones (`--ignore`).
    rank, ranked: place of its most suspicious series among all that were answered so far; suspicion: as in studies.csv.
    copy_of: a series that its own are wholly copies of, where none of them is ranked.
    """

    entry: str
    study: str | None = None
    slices: int = 0
    failed: int = 0
    acknowledged: int = 0
    excluded: int = 0
    rank: int | None = None
    ranked: int = 0
    suspicion: float | None = None
    copy_of: str | None = None

    def __str__(self) -> str:
        if not self.slices:
            return f"entry {self.entry}: no scans"
        parts = [f"{self.slices:,} slices" if self.slices > 1 else "1 slice"]
        if self.rank is not None:
            parts.append(f"rank {self.rank:,} of {self.ranked:,} (suspicion {self.suspicion:.3f})")
        elif self.copy_of is not None:
            parts.append(f"a copy of series {self.copy_of}, not ranked")
        news = self.failed - self.acknowledged
        counts = ((self.excluded, "excluded"), (news, "failed"), (self.acknowledged, "failed, acknowledged"))
        parts += [f"{n:,} {what}" for n, what in counts if n]
        study = f"study {self.study}, " if self.study else ""
        return f"{study}entry {self.entry}: {', '.join(parts)}"


def study_lines(ledger: Ledger, entries: Mapping[str, str]) -> list[StudyLine]:
    """A line for every study in the entries that the ledger's last run was over.

    entries: an entry's name, escaped → what it is called in the lines.
    """
    volumes = ledger.volumes()
    found = dict(by_number(ledger.rows_by_volume(), volumes))
    ranked = sum(summary.rank is not None for summary in found.values())
    lines, seen = [], set()
    for (part, study), group in groupby(ledger.entries(), key=lambda row: (row.part, row.study)):
        rows = list(group)
        seen.add(part)
        own = [found[row.volume] for row in rows if row.volume is not None]
        best = _first(own)
        lines.append(
            StudyLine(
                entry=entries[part],
                study=study,
                slices=sum(row.rows for row in rows),
                failed=sum(row.failed for row in rows),
                acknowledged=sum(row.acknowledged for row in rows),
                excluded=sum(row.excluded for row in rows),
                rank=best.rank if best else None,
                ranked=ranked,
                suspicion=best.suspicion if best else None,
                copy_of=next((one.copy_of for one in own if one.copy_of is not None), None),
            )
        )
    return lines + [StudyLine(entry=entry, ranked=ranked) for part, entry in entries.items() if part not in seen]


def _first(candidates: Iterable[SeriesSummary]) -> SeriesSummary | None:
    """The most suspicious one that has a rank."""
    ranked = [(summary.rank, summary) for summary in candidates if summary.rank is not None]
    return min(ranked, key=lambda pair: pair[0])[1] if ranked else None
