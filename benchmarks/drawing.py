"""Plots, described once: as inline SVG for a page, and as PNG for `evaluation.plots`. No library, no script, no file.

Colours and strokes are classes of the pages' style sheet (`lits_deploy/pages/base.css`): `c0` … `c6`, `grey`, `dashed`,
`dotted`, `guess`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lits_deploy.pages import escape

LEFT, RIGHT, TOP, BOTTOM = 58.0, 16.0, 14.0, 46.0
"""Room for the labels around the drawing area, in user units."""

_TICKS_FIT = 45
"""Letters of all names of an axis that have room below it."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """A linear or logarithmic scale from `low` to `high`; named: what stands at some values in place of numbers."""

    low: float
    high: float
    log: bool = False
    named: Sequence[tuple[float, str]] | None = None

    @classmethod
    def around(cls, values: Sequence[float], *, log: bool) -> Axis:
        """A scale with some room on both sides."""
        low, high = min(values), max(values)
        if log:
            room = max(1.15, (high / low) ** 0.08)
            return cls(low / room, high * room, True)
        room = max((high - low) * 0.12, 0.02 * max(abs(high), 1e-9))
        return cls(low - room, high + room, False)

    def share(self, value: float) -> float:
        """Where a value lies, from 0 to 1."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round values within the scale."""
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            wide = self.high / self.low
            steps = (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9) if wide < 4 else (1, 2, 5) if wide < 1000 else (1,)
            found = [step * 10.0**power for power in range(first, last + 1) for step in steps]
        else:
            raw = (self.high - self.low) / 5
            power = 10.0 ** math.floor(math.log10(raw))
            step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw)
            found = [step * index for index in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        return [value for value in found if self.low <= value <= self.high]

    def labels(self) -> list[tuple[float, str]]:
        """Where a grid line lies, and what stands there."""
        if self.named is None:
            return [(value, f"{round(value, 6):g}") for value in self.ticks()]
        fit = sum(len(name) + 2 for _, name in self.named) <= _TICKS_FIT
        return [(value, name if fit else "") for value, name in self.named]


@dataclass(frozen=True, kw_only=True)
class PlotSeries:
    """One entry of a legend. points: in the plot's values; style: classes of the style sheet; line: points are joined.

    radius: of each point's mark, none if empty; mark: `dot`, `disc` (pale) or `ring`; titles: shown when pointed at.
    """

    points: Points
    style: str
    label: str = ""
    line: bool = True
    radius: Sequence[float] = ()
    mark: str = "dot"
    titles: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Series over two axes. size: width and height with the labels around, in user units."""

    x: Axis
    y: Axis
    x_name: str
    y_name: str
    title: str
    series: Sequence[PlotSeries] = ()
    size: tuple[float, float] = (560.0, 330.0)

    def xy(self, x: float, y: float) -> tuple[float, float]:
        """Where a point is drawn."""
        (width, height), across, up = self.size, self.x.share(x), self.y.share(y)
        return (
            round(LEFT + across * (width - LEFT - RIGHT), 1),
            round(height - BOTTOM - up * (height - TOP - BOTTOM), 1),
        )

    def legend(self) -> list[tuple[Markup, str]]:
        """A key and a name for each series that has one."""
        return [(_key(series), series.label) for series in self.series if series.label]

    def svg(self, body: Sequence[str] = ()) -> Markup:
        """The whole drawing; body: more of it, as markup."""
        (width, height), right, bottom = self.size, self.size[0] - RIGHT, self.size[1] - BOTTOM
        parts = [
            f'<svg class="plot" viewBox="0 0 {width:.0f} {height:.0f}" width="{1.2 * width:.0f}" role="img" '
            f'aria-label="{escape(self.title)}">',
            f'<rect class="area" x="{LEFT}" y="{TOP}" width="{right - LEFT}" height="{bottom - TOP}"/>',
        ]
        for value, text in self.x.labels():
            px, _ = self.xy(value, self.y.low)
            parts.append(f'<line class="grid" x1="{px}" y1="{TOP}" x2="{px}" y2="{bottom}"/>')
            parts.append(f'<text x="{px}" y="{bottom + 15}" text-anchor="middle">{escape(text)}</text>')
        for value, text in self.y.labels():
            _, py = self.xy(self.x.low, value)
            parts.append(f'<line class="grid" x1="{LEFT}" y1="{py}" x2="{right}" y2="{py}"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{py + 3.5:.1f}" text-anchor="end">{escape(text)}</text>')
        middle, centre = (TOP + bottom) / 2, (LEFT + right) / 2
        parts.append(f'<text x="{centre}" y="{height - 8}" text-anchor="middle">{escape(self.x_name)}</text>')
        parts.append(
            f'<text transform="translate(13 {middle}) rotate(-90)" text-anchor="middle">{escape(self.y_name)}</text>'
        )
        drawn = [line for series in self.series for line in self._drawn(series)]
        return Markup("\n".join([*parts, *drawn, *body, "</svg>"]))  # every text in it went through escape

    def polyline(self, points: Points, kind: str, title: str = "") -> str:
        """Joined points, as markup."""
        text = " ".join("{},{}".format(*self.xy(*point)) for point in points)
        return f'<polyline class="{kind}" points="{text}"><title>{escape(title)}</title></polyline>'

    def _drawn(self, series: PlotSeries) -> list[str]:
        drawn = [self.polyline(series.points, f"line {series.style}", series.label)] if series.line else []
        for rank, (point, radius) in enumerate(zip(series.points, series.radius, strict=False)):
            x, y = self.xy(*point)
            title = f"<title>{escape(series.titles[rank])}</title>" if series.titles else ""
            kind = f"{series.mark} {series.style}"
            drawn.append(f'<circle class="{kind}" cx="{x}" cy="{y}" r="{radius:.3g}">{title}</circle>')
        return drawn


def _key(series: PlotSeries) -> Markup:
    drawn = f'<line class="line {series.style}" x1="0" y1="6" x2="22" y2="6"/>' if series.line else ""
    if not series.line:
        drawn = f'<circle class="{series.mark} {series.style}" cx="11" cy="6" r="4.5"/>'
    return Markup(f'<svg class="key" viewBox="0 0 22 12" aria-hidden="true">{drawn}</svg>')
