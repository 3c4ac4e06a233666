"""Comparisons of nights as a reader wants them: sentences, and the cells of tables, for a terminal and a page."""

from __future__ import annotations

from collections.abc import Sequence

from lits_deploy.drift.compare import rate
from lits_deploy.nights.compare import FeatureFinding, SampleComparison
from lits_deploy.nights.night import TRAINING, Night
from lits_deploy.synthetic import MARK

DASH = "–"
HEADER = ("number", "this night", "the others", "range of these", "p, adjusted", "smallest shift found")

HINTS = {
    "grey levels, HU, noise": "window, contrast phase, dose, reconstruction kernel",
    "size of the body, field of view, spacing": "protocol, body region, another group of patients",
    "rise along the series": "order of slices: head first, or upside down",
    "scanner, kernel, tube voltage": "a scanner or protocol that is new",
    "answers alone": "patients with other findings, or something that none of the numbers shows",
}
"""What differs → what to check first."""

ADVICE = (
    "Look at some of these series before you rely on the night's ranking: what the bundle promises was measured on "
    "series like the training data."
)


def counted(night: Night) -> str:
    """How many of a night's series are unlike the training series."""
    one = night.sample.series
    studies = "1 study" if one == 1 else f"{one:,} studies"
    text = f"{night.series:,} series. Below, each of {studies} counts once, by its longest series."
    if night.reference is None or not night.series or not (share := rate(night.reference.series)):
        return text
    mark = f" ({MARK})" if night.reference.synthetic else ""
    return (
        f"{night.marked:,} of {night.series:,} series that could be compared one by one "
        f"{'is' if night.marked == 1 else 'are'} unlike the {night.reference.series:,} training series{mark}; about "
        f"{share * night.series:.1f} would be marked by chance. Below, each of {studies} counts once, by its longest "
        "series."
    )


def verdict(comparison: SampleComparison, false_share: float) -> str:
    """What came of a comparison, in a sentence."""
    other = others(comparison)
    if comparison.why_not is not None:
        return f"Not compared with {other}: {comparison.why_not}."
    names = ", ".join(one.what if one.word is None else f"{one.what} {one.word}" for one in comparison.found)
    whole = len(comparison.findings)
    if not names:
        return f"No difference from {other} found in any of the {whole} respects that were compared."
    certain = f"of such findings at most {false_share:.0%} are expected to be false"
    return f"Differs from {other} in {len(comparison.found)} of {whole} respects: {names} ({certain})."


def others(comparison: SampleComparison) -> str:
    """What a night is compared with."""
    other = comparison.other
    if other.name == TRAINING:
        return f"the {other.series:,} training series"
    return f"the {other.series:,} series of {other.name}"


def rows(findings: Sequence[FeatureFinding]) -> list[tuple[str, ...]]:
    """The cells of HEADER."""
    return [
        (
            f"{title(one)}{' *' if one.found else ''}",
            value(one, one.own),
            value(one, one.other),
            DASH if one.word is not None else f"{value(one, one.low)} to {value(one, one.high)}",
            "< 0.0001" if one.adjusted < 0.0001 else f"{one.adjusted:.2g}",
            smallest(one),
        )
        for one in findings
    ]


def title(one: FeatureFinding) -> str:
    """What was compared, with its unit."""
    if one.number is None:
        return f"{one.what} {one.word} (%)"
    return f"{one.what} ({one.number.unit})" if one.number.unit else one.what


def value(one: FeatureFinding, number: float) -> str:
    """A value without its unit."""
    return f"{100 * number:.0f}" if one.number is None else one.number.text(number)


def smallest(one: FeatureFinding) -> str:
    """From which medians on a shift would be found four times in five."""
    if one.number is None:
        return DASH
    if one.smallest == (None, None):
        return "none, with so few series"
    usual = one.number.text(one.other)
    edges = zip(("below", "above"), one.smallest, strict=True)
    ways = [(way, one.number.text(edge)) for way, edge in edges if edge is not None]
    return " or ".join(f"{way} {text}" for way, text in ways if text != usual) or "any that shows in these digits"
