"""Probabilities as SVG: a series along the body, and the bars of one slice. Numbers only: no text of a scan gets here.

Colours are classes of the page's style sheet, so that they follow the reader's colour scheme; sizes are attributes,
since the page's security policy forbids inline styles.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise

from markupsafe import Markup

from lits_deploy.report.pictures import HALF, Contours, Line
from lits_deploy.report.profile import SeriesProfile

HEIGHT = 100
"""Units of a strip's height: hundredths of probability."""

KINDS = ("none", "liver", "lesion", "abstained", "excluded", "failed")
"""Names of what a column may be, as the style sheet calls them (`profile`)."""


def areas(profile: SeriesProfile) -> Markup:
    """Lesion probability from the bottom up, liver stacked upon it, no liver behind both, steps one unit wide; nothing
    where no answer is, so that the strip's own ground shows."""
    answered = _steps(None if c.p2 is None else 1.0 for c in profile.columns)
    lesion = _steps(None if c.p2 is None else c.p2 for c in profile.columns)
    both = _steps(None if c.p2 is None else c.p2 + (c.p1 or 0.0) for c in profile.columns)
    return Markup(
        f'<path class="none" d="{answered}"/><path class="liver" d="{both}"/><path class="lesion" d="{lesion}"/>'
    )


def ribbon(profile: SeriesProfile) -> Markup:
    """What each slice was called, as runs of one colour, one unit high."""
    parts, at = [], 0
    for what, columns in groupby(profile.columns, key=lambda c: c.what):
        width = sum(1 for _ in columns)
        parts.append(f'<rect class="{KINDS[what]}" x="{at}" width="{width}" height="1"/>')
        at += width
    return Markup("".join(parts))


def marks(profile: SeriesProfile, indices: Sequence[int]) -> Markup:
    """Vertical lines at the slices that have pictures."""
    lines = (f"M{profile.column_of(index) + 0.5} 0V{HEIGHT}" for index in sorted(indices))
    return Markup(f'<path class="mark" d="{"".join(lines)}"/>')


def bar(value: float, kind: int) -> Markup:
    """One probability as a bar; kind: class 0…2."""
    width = round(100 * min(1.0, max(0.0, value)))
    return Markup(
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" width="100" height="8"/><rect class="{KINDS[kind]}" width="{width}" height="8"/></svg>'
    )


def outlines(contours: Contours, size: int) -> Markup:
    """Contours over a slice of size × size pixels; every line drawn twice, dark below bright, to be seen anywhere."""
    frame = f'viewBox="0 0 {HALF * size} {HALF * size}" aria-hidden="true"'
    paths = []
    for name in ("liver", "lesion", "heat", "peak"):
        if drawn := "".join(_path(line) for line in contours.get(name, ())):
            paths.append(f'<path class="under" d="{drawn}"/><path class="{name}" d="{drawn}"/>')
    return Markup(f'<svg class="lines" {frame}>{"".join(paths)}</svg>') if paths else Markup("")


def _steps(values: Iterable[float | None]) -> str:
    """An area over the base line: `M x base`, then for every run of answered columns up, along and back down."""
    return "".join(_runs(list(values)))


def _runs(values: list[float | None]) -> Iterator[str]:
    heights = [None if v is None else HEIGHT - round(HEIGHT * min(1.0, max(0.0, v))) for v in values]
    at, inside = 0, False
    for height, same in groupby(heights):
        width = sum(1 for _ in same)
        if height is None and inside:
            yield f"V{HEIGHT}Z"
        elif height is not None:
            yield f"{'' if inside else f'M{at} {HEIGHT}'}V{height}h{width}"
        inside = height is not None
        at += width
    if inside:
        yield f"V{HEIGHT}Z"


def _path(line: Line) -> str:
    """Relative moves are short; a line that ends where it began is closed."""
    points = list(zip(line[::2], line[1::2], strict=True))
    closed = points[0] == points[-1]
    steps = pairwise(points[:-1] if closed else points)
    moves = " ".join(f"{bx - ax},{by - ay}" for (ax, ay), (bx, by) in steps)
    return f"M{points[0][0]} {points[0][1]}l{moves}{'Z' if closed else ''}"
