"""A comparison as a drawing: every number a row, every series a dot, on one axis for all.

The axis is standard deviations of the other sample from its median, each number on its own scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from lits_deploy.drift.features import Column
from lits_deploy.nights.compare import FeatureFinding, SampleComparison
from lits_deploy.nights.formatting import title
from lits_deploy.pages import escape

MOST = 6.0
"""Standard deviations shown; what lies farther lies on the edge."""

MOST_DOTS = 400
_LEFT, _RIGHT, _ROW, _WIDTH, _TOP = 250, 20, 26, 860, 22


@dataclass(frozen=True)
class Strips:
    """One of them."""

    comparison: SampleComparison

    def legend(self) -> list[tuple[Markup, str]]:
        """Keys and what they mean."""
        own, other = self.comparison.own, self.comparison.other
        keys = [("grey", f"{other.name} ({other.series:,} series)"), ("c0", f"{own.name} ({own.series:,} series)")]
        if self.comparison.found:
            keys.append(("c1", "the same, where it differs"))
        return [(_key(colour), name) for colour, name in keys]

    def svg(self) -> Markup:
        """The drawing."""
        findings = [one for one in self.comparison.findings if one.number is not None]
        height = _TOP + _ROW * len(findings) + 30
        body = [_axis(height)]
        for index, finding in enumerate(findings):
            body.append(self._row(finding, _TOP + _ROW * index))
        label = escape(f"{self.comparison.own.name} beside {self.comparison.other.name}, {len(findings)} numbers")
        return Markup(
            f'<svg class="plot wide" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" role="img" '
            f'aria-label="{label}">{"".join(body)}</svg>'
        )

    def _row(self, finding: FeatureFinding, top: int) -> str:
        number = finding.number
        assert number is not None
        others = number.scale.of(self.comparison.other.numbers[finding.name])
        own = number.scale.of(self.comparison.own.numbers[finding.name])
        middle, spread = float(np.median(others)), max(float(others.std(ddof=1)), number.step)
        colour = "c1" if finding.found else "c0"
        name = escape(title(finding))
        weight = ' font-weight="600"' if finding.found else ""
        return (
            f'<text class="mark" x="0" y="{top + 15}"{weight}>{name}</text>'
            f'<path class="grid" d="M{_LEFT} {top + _ROW - 1}H{_WIDTH - _RIGHT}"/>'
            + _dots((others - middle) / spread, top + 8, "grey", 2.2)
            + _dots((own - middle) / spread, top + 17, colour, 3.0)
        )


def _dots(xs: Column, middle: int, colour: str, radius: float) -> str:
    shown = xs if len(xs) <= MOST_DOTS else np.quantile(xs, np.linspace(0, 1, MOST_DOTS))
    return "".join(f'<circle class="dot {colour}" cx="{_x(float(x)):.1f}" cy="{middle}" r="{radius}"/>' for x in shown)


def _x(deviations: float) -> float:
    share = (min(MOST, max(-MOST, deviations)) + MOST) / (2 * MOST)
    return _LEFT + share * (_WIDTH - _RIGHT - _LEFT)


def _axis(height: int) -> str:
    left, width = _x(-2), _x(2) - _x(-2)
    parts = [f'<rect class="area" x="{left:.1f}" y="{_TOP - 4}" width="{width:.1f}" height="{height - _TOP - 22}"/>']
    for tick in range(-6, 7, 2):
        label = ("≤ " if tick == -6 else "≥ " if tick == 6 else "") + str(tick).replace("-", "−")
        parts.append(
            f'<path class="grid" d="M{_x(tick):.1f} {_TOP - 4}V{height - 26}"/>'
            f'<text x="{_x(tick):.1f}" y="{height - 12}" text-anchor="middle">{label}</text>'
        )
    return "".join(parts)


def _key(colour: str) -> Markup:
    dot = f'<circle class="dot {colour}" cx="11" cy="6" r="4.5"/>'
    return Markup(f'<svg class="key" viewBox="0 0 22 12" aria-hidden="true">{dot}</svg>')
