"""The page's drawings as inline SVG: a scatter plot with a frontier, curves of latencies. No script, no other file.

Colours are classes of the page's style sheet: `p-fp32`, `p-fp16`, `p-int8` for precisions, `c0`… for candidates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lits_deploy.templates import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560.0, 330.0, 58.0, 16.0, 14.0, 46.0

SHAPES = ("disc", "square", "diamond", "triangle", "wedge", "bar")
"""One a runtime: more than there are."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One mark. label: beside it; title: when it is pointed at; colour: a class; shape: one of SHAPES, by runtime."""

    x: float
    y: float
    label: str
    title: str
    colour: str
    shape: str = "disc"
    runtime: str = ""


@dataclass(frozen=True)
class Axis:
    """A linear or logarithmic scale from `low` to `high`."""

    low: float
    high: float
    log: bool

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


def frontier(
    points: Sequence[Point], *, lower_x_is_better: bool = False, lower_y_is_better: bool = False
) -> list[Point]:
    """Those that no other beats in both x and y, in the order of x."""
    across, up = (-1 if lower else 1 for lower in (lower_x_is_better, lower_y_is_better))

    def beaten(point: Point) -> bool:
        return any(
            up * other.y >= up * point.y
            and across * other.x >= across * point.x
            and (other.y, other.x) != (point.y, point.x)
            for other in points
        )

    return sorted((point for point in points if not beaten(point)), key=lambda point: point.x)


def scatter(
    points: Sequence[Point], *, x_name: str, y_name: str, title: str, lower_x_is_better: bool = False,
    lower_y_is_better: bool = False, log_y: bool = False,
) -> Markup:  # fmt: skip
    """Points on a logarithmic x axis, each with its label, and the line of those that nothing beats."""
    x, y = Axis.around([p.x for p in points], log=True), Axis.around([p.y for p in points], log=log_y)
    edge = frontier(points, lower_x_is_better=lower_x_is_better, lower_y_is_better=lower_y_is_better)
    body = [_polyline([(x.share(p.x), y.share(p.y)) for p in edge], "edge")] if len(edge) > 1 else []
    places = {id(point): _place(x.share(point.x), y.share(point.y)) for point in points}
    keys: list[str] = []
    taken = [(px - 6, py - 6, px + 6, py + 6) for px, py in places.values()]
    for point in sorted(points, key=lambda p: (p not in edge, -p.y)):
        px, py = places[id(point)]
        body.append(_mark(px, py, point))
        label = _label(px, py, point.label, taken)
        if label is None:  # a number there, and the label below the drawing
            keys.append(point.label)
            number = str(len(keys))
            label = _label(px, py, number, taken) or _text(px + 9, py, number)
        body.append(label)
    return _plot(x, y, body, x_name, y_name, title) + _keys(keys)


def curves(lines: Sequence[tuple[str, Sequence[float]]], *, x_name: str, title: str) -> Markup:
    """The share of calls that took at most x, for each line's values in ascending order."""
    everything = [value for _, values in lines for value in values]
    x, y = Axis.around(everything, log=True), Axis(0.0, 1.02, False)
    body = []
    for number, (name, values) in enumerate(lines):
        points = [(x.share(value), y.share((rank + 1) / len(values))) for rank, value in enumerate(values)]
        start = (points[0][0], y.share(0.0))
        body.append(_polyline([start, *points], f"curve c{number % 7}", name))
    return _plot(x, y, body, x_name, "share of calls", title)


def _plot(x: Axis, y: Axis, body: list[str], x_name: str, y_name: str, title: str) -> Markup:
    parts = [
        f'<svg class="plot" viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" aria-label="{escape(title)}">',
        f'<rect class="area" x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{HEIGHT - TOP - BOTTOM}"/>',
    ]
    for value in x.ticks():
        px, _ = _place(x.share(value), 0)
        parts.append(f'<line class="grid" x1="{px:.1f}" y1="{TOP}" x2="{px:.1f}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text x="{px:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{value:g}</text>')
    for value in y.ticks():
        _, py = _place(0, y.share(value))
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{py:.1f}" x2="{WIDTH - RIGHT}" y2="{py:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{py + 3.5:.1f}" text-anchor="end">{round(value, 6):g}</text>')
    middle = TOP + (HEIGHT - TOP - BOTTOM) / 2
    centre = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="name" x="{centre}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_name)}</text>')
    parts.append(
        f'<text class="name" x="13" y="{middle}" text-anchor="middle" transform="rotate(-90 13 {middle})">'
        f"{escape(y_name)}</text>"
    )
    return Markup("\n".join([*parts, *body, "</svg>"]))  # every text in it went through escape


def _place(across: float, up: float) -> tuple[float, float]:
    return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)


def _label(x: float, y: float, text: str, taken: list[tuple[float, float, float, float]]) -> str | None:
    """The text beside, above or below its mark, where it lies on nothing of `taken`; None where there is no room."""
    width = 5.9 * len(text)
    for left, middle in ((x + 9, y), (x - 9 - width, y), (x - width / 2, y - 13), (x - width / 2, y + 14)):
        box = (left, middle - 6, left + width, middle + 6)
        inside = box[0] > LEFT and box[2] < WIDTH and box[1] > 0 and box[3] < HEIGHT - BOTTOM
        if inside and not any(_overlap(box, other) for other in taken if other != (x - 6, y - 6, x + 6, y + 6)):
            taken.append(box)
            return _text(left, middle, text)
    return None


def _text(left: float, middle: float, text: str) -> str:
    return f'<text class="mark" x="{left:.1f}" y="{middle + 3.5:.1f}">{escape(text)}</text>'


def _keys(labels: Sequence[str]) -> Markup:
    """What the numbers in a drawing stand for."""
    told = "; ".join(f"{number} {escape(label)}" for number, label in enumerate(labels, 1))
    return Markup(f'\n<p class="soft keys">{told}</p>') if labels else Markup("")  # every label went through escape


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _polyline(points: Sequence[tuple[float, float]], kind: str, title: str = "") -> str:
    text = " ".join("{:.1f},{:.1f}".format(*_place(*point)) for point in points)
    return f'<polyline class="{kind}" points="{text}"><title>{escape(title)}</title></polyline>'


def _mark(x: float, y: float, point: Point) -> str:
    title, kind = f"<title>{escape(point.title)}</title>", f'class="dot {point.colour}"'
    if point.shape == "square":
        return f'<rect {kind} x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9">{title}</rect>'
    if point.shape == "diamond":
        return f'<path {kind} d="M{x:.1f},{y - 6:.1f} l6,6 -6,6 -6,-6z">{title}</path>'
    if point.shape == "triangle":
        return f'<path {kind} d="M{x:.1f},{y - 6:.1f} l6,10 -12,0z">{title}</path>'
    if point.shape == "wedge":
        return f'<path {kind} d="M{x:.1f},{y + 6:.1f} l6,-10 -12,0z">{title}</path>'
    if point.shape == "bar":
        return f'<rect {kind} x="{x - 7:.1f}" y="{y - 2.5:.1f}" width="14" height="5">{title}</rect>'
    return f'<circle {kind} cx="{x:.1f}" cy="{y:.1f}" r="5">{title}</circle>'
