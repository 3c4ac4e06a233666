"""From a ledger to what the page shows, as plain records; nothing here is markup.

One pass over the rows, series by series; what is kept of a series is its summary, its profile (at most 600 columns)
and its pictures, so memory grows with series and not with slices. Lists are cut where a page would become too large,
and say how much the tables hold beyond.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from lits_deploy.drift.compare import Against, against
from lits_deploy.drift.reference import DriftReference
from lits_deploy.errors import OutputError
from lits_deploy.ledger import (
    ABOUT,
    ABSTAINED,
    EXCLUDED,
    FAILED,
    NAMES,
    PICTURES,
    RAN,
    RUN,
    AnsweredRow,
    FileCounts,
    Ledger,
    PictureRow,
    ResultRow,
)
from lits_deploy.report.choose import Key
from lits_deploy.report.pair import series_text
from lits_deploy.report.pictures import Contours, from_json
from lits_deploy.report.profile import SeriesProfile, profile
from lits_deploy.results import noted_reference
from lits_deploy.scans import NOT_AN_IMAGE
from lits_deploy.studies import SeriesSummary, by_volume, ranked

MOST_SERIES, MOST_STRIPS = 2_000, 500
"""Series listed, and those of them with a strip and details."""

MOST_REASONS, MOST_LISTED = 40, 25
"""Reasons shown of a kind, and slices listed under each."""

NO_IMAGES = f"{NOT_AN_IMAGE}: a report, a presentation state, a plan or an index"
"""One reason for all of these, which are no series on the page."""

KINDS = ("failed", "excluded", "abstained")
_KIND_OF = {FAILED: "failed", EXCLUDED: "excluded", ABSTAINED: "abstained"}


@dataclass(frozen=True, kw_only=True)
class ReportPicture:
    """A pictured slice: its row, its index in the series, the JPEG, and the contours over it."""

    row: ResultRow
    index: int
    jpeg: bytes
    side: int
    contours: Contours


@dataclass(frozen=True, kw_only=True)
class SeriesView:
    """A series as the page shows it. label: what its paths have in common; extent: (first, last) position along it;
    against: how it compares with the series that the network was trained on.
    second: what a pair's U-Net found in it."""

    summary: SeriesSummary
    label: str
    extent: tuple[float, float] | None
    profile: SeriesProfile
    pictures: tuple[ReportPicture, ...] = ()
    against: Against = field(default_factory=Against)
    second: str | None = None

    @property
    def in_mm(self) -> bool:
        """True where positions are mm, and rise towards the head."""
        return bool(self.summary.arranged.get("in_mm"))

    @property
    def tags(self) -> tuple[str, ...]:
        """What a reader can filter by."""
        s = self.summary
        answered = ["lesion" if s.classes[2] else "no-lesion"] if s.answered else ["no-answer"]
        doubtful = ["doubtful"] if s.arranged.get("doubts") or s.copy_of else []
        unlike = ["unlike"] if self.against.marked else []
        return (*answered, *unlike, *doubtful, *(kind for kind in KINDS if getattr(s, kind)))


@dataclass(kw_only=True)
class Reason:
    """Rows of one kind and reason. listed: path, first and last slice of neighbouring rows, by their number along the
    series (0: in none); `more` rows are not."""

    kind: str
    text: str
    rows: int = 0
    listed: list[tuple[str, int, int]] = field(default_factory=list)
    more: int = 0

    def add(self, path: str, number: int) -> None:
        """One more row."""
        self.rows += 1
        if self.listed and not self.more and self.listed[-1][0] == path and self.listed[-1][2] + 1 == number:
            self.listed[-1] = (path, self.listed[-1][1], number)
        elif len(self.listed) < MOST_LISTED:
            self.listed.append((path, number, number))
        else:
            self.more += 1


@dataclass(frozen=True, kw_only=True)
class ReportView:
    """All that the page shows.

    series: the most suspicious first, at most MOST_SERIES; hidden: how many more there are; no_images: files that are
    none of them (`NO_IMAGES`). reasons: by kind, the most frequent first; other_reasons: rows of reasons that are not
    shown, by kind. labels: slices per class. None of these counts the `copies`. compared: series that are
    `unlike` or `like` those of the reference, and why others were not compared. overlay: the note of what is drawn over
    pictures (`report.picture_pass`), or None where none were made. ran: when, where and on which scans
    (`pipeline.about.ran`), or None where nobody noted it.
    """

    classes: tuple[str, ...]
    provenance: dict[str, str]
    about: dict[str, Any] | None
    ran: dict[str, Any] | None
    answered: tuple[AnsweredRow, ...]
    counts: FileCounts
    labels: dict[int, int]
    compared: Counter[str]
    reference: DriftReference | None
    slices: int
    copies: int
    no_images: int
    studies: int
    series: tuple[SeriesView, ...]
    hidden: int
    reasons: dict[str, list[Reason]]
    other_reasons: dict[str, int]
    overlay: dict[str, Any] | None
    identified: bool
    hashed_paths: bool

    @property
    def pair(self) -> dict[str, Any] | None:
        """Of a pair: what its U-Net is (`pipeline.about.about_pair`); None where one network answered."""
        found: dict[str, Any] | None = (self.about or {}).get("pair")
        return found

    @property
    def of_kind(self) -> dict[str, int]:
        """Rows without a class, by kind."""
        return {
            kind: sum(reason.rows for reason in self.reasons[kind]) + self.other_reasons.get(kind, 0) for kind in KINDS
        }


def view(ledger: Ledger) -> ReportView:
    """Read it all. Raises OutputError for a ledger whose run never got as far as its first file."""
    noted = ledger.noted(RUN)
    if noted is None:
        raise OutputError(f"{ledger.path} holds no run yet.", fix="run the command that made it once more")
    run, names = json.loads(noted), ledger.noted(NAMES) or ""
    hashed = names.endswith("-paths")
    troubles = _Troubles()
    volumes, pictures, reference = ledger.volumes(), _Pictures(ledger.pictures()), noted_reference(ledger)
    found: dict[int, SeriesView] = {}
    slices, copies, no_images, labels = 0, 0, 0, Counter[int]()
    for summary, rows in by_volume(ledger.rows_by_volume(), volumes):
        troubles.add(rows)
        copies += summary.copies
        if rows and all(map(_no_image, rows)):
            no_images += len(rows)
            continue
        slices += summary.slices
        labels.update(dict(enumerate(summary.classes)))  # copies count once
        if summary.name is not None:
            found[id(summary)] = _series(summary, rows, pictures, reference, hashed=hashed)
    order = [found[id(summary)] for summary in ranked(series.summary for series in found.values())]
    about, overlay, ran = ledger.noted(ABOUT), ledger.noted(PICTURES), ledger.noted(RAN)
    return ReportView(
        classes=tuple(run["classes"]),
        provenance=run["provenance"],
        about=None if about is None else json.loads(about),
        ran=None if ran is None else json.loads(ran),
        answered=tuple(ledger.answered_with()),
        counts=ledger.counts(),
        labels=dict(labels),
        compared=Counter(
            series.against.why_not or ("unlike" if series.against.marked else "like")
            for series in order
            if series.summary.copy_of is None
        ),
        reference=reference,
        slices=slices,
        copies=copies,
        no_images=no_images,
        studies=len({series.summary.study for series in order}),
        series=tuple(order[:MOST_SERIES]),
        hidden=max(0, len(order) - MOST_SERIES),
        reasons=troubles.shown(),
        other_reasons=troubles.others,
        overlay=None if overlay is None else json.loads(overlay),
        identified="-identified" in names,
        hashed_paths=hashed,
    )


def _no_image(row: ResultRow) -> bool:
    return row.status == EXCLUDED and (row.reason or "").endswith(NOT_AN_IMAGE)


def common_label(paths: Sequence[str]) -> str | None:
    """What paths have in common from their start, `…` for the rest; None where that is nothing."""
    first, last = min(paths), max(paths)
    if first == last:
        return first
    same = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    shared = "".join(character for character, _ in same)
    if all(path[len(shared) : len(shared) + 1].isdigit() for path in (first, last)):
        shared = shared.rstrip("0123456789")  # the rest of a number is no name
    return f"{shared}…" if shared else None


def _series(
    summary: SeriesSummary,
    rows: list[ResultRow],
    pictures: _Pictures,
    reference: DriftReference | None,
    *,
    hashed: bool,
) -> SeriesView:
    label = None if hashed else common_label([row.path for row in rows])
    positions = [row.position for row in rows if row.position is not None]
    return SeriesView(
        summary=summary,
        label=label or f"series {summary.name}",
        extent=(positions[0], positions[-1]) if positions else None,
        profile=profile(rows),
        pictures=pictures.of(rows),
        against=against(reference, summary.portrait),
        second=series_text(rows),
    )


class _Pictures:
    """All pictures of the ledger, at most some hundred, by slice."""

    def __init__(self, rows: Iterable[PictureRow]) -> None:
        self._by_slice: dict[Key, PictureRow] = {(row.file, row.idx): row for row in rows}

    def of(self, rows: Sequence[ResultRow]) -> tuple[ReportPicture, ...]:
        """Those of a series, along it."""
        found = []
        for index, row in enumerate(rows):
            if row.file is not None and (picture := self._by_slice.get((row.file, row.idx))):
                contours = from_json(picture.contours)
                found.append(
                    ReportPicture(row=row, index=index, jpeg=picture.jpeg, side=picture.side, contours=contours)
                )
        return tuple(found)


class _Troubles:
    """Rows without a class, by kind and reason. Of reasons beyond ten times the shown ones only the rows are counted:
    a reason may hold a number, and a folder may hold many of them."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Reason] = {}
        self.others: dict[str, int] = dict.fromkeys(KINDS, 0)

    def add(self, rows: Iterable[ResultRow]) -> None:
        """The rows of a series."""
        for row in rows:
            kind = _KIND_OF.get(row.status)
            if kind is None:
                continue
            key = (kind, NO_IMAGES if _no_image(row) else row.reason or "no reason noted")
            if key not in self._found and len(self._found) >= 10 * MOST_REASONS:
                self.others[kind] += 1
                continue
            self._found.setdefault(key, Reason(kind=key[0], text=key[1])).add(row.path, row.number or 0)

    def shown(self) -> dict[str, list[Reason]]:
        """The most frequent reasons of each kind; the rows of the others are added to `others`."""
        result = {}
        for kind in KINDS:
            own = sorted((r for r in self._found.values() if r.kind == kind), key=lambda r: (-r.rows, r.text))
            result[kind] = own[:MOST_REASONS]
            for reason in result[kind]:
                reason.listed.sort()
            self.others[kind] += sum(reason.rows for reason in own[MOST_REASONS:])
        return result
