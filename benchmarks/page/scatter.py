"""A scatter plot of labelled points with the frontier of what nothing beats; the distribution of latencies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from benchmarks.drawing import BOTTOM, LEFT, Axis, Plot, PlotSeries
from lits_deploy.pages import escape

SHAPES = ("disc", "square", "diamond", "triangle", "wedge", "bar")
"""One a runtime: more than there are."""

Box = tuple[float, float, float, float]


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
    points: Sequence[Point],
    *,
    x_name: str,
    y_name: str,
    title: str,
    lower_x_is_better: bool = False,
    lower_y_is_better: bool = False,
    log_y: bool = False,
) -> Markup:
    """Points on a logarithmic x axis, each with its label, and the line of those that nothing beats."""
    x, y = Axis.around([p.x for p in points], log=True), Axis.around([p.y for p in points], log=log_y)
    plot = Plot(x=x, y=y, x_name=x_name, y_name=y_name, title=title)
    edge = frontier(points, lower_x_is_better=lower_x_is_better, lower_y_is_better=lower_y_is_better)
    body = [plot.polyline([(p.x, p.y) for p in edge], "edge")] if len(edge) > 1 else []
    drawn = {id(point): plot.xy(point.x, point.y) for point in points}
    keys: list[str] = []
    taken = [(px - 6, py - 6, px + 6, py + 6) for px, py in drawn.values()]
    for point in sorted(points, key=lambda p: (p not in edge, -p.y)):
        px, py = drawn[id(point)]
        body.append(mark(px, py, point.colour, point.shape, point.title))
        label = _label(plot, px, py, point.label, taken)
        if label is None:  # a number there, and the label below the drawing
            keys.append(point.label)
            number = str(len(keys))
            label = _label(plot, px, py, number, taken) or _text(px + 9, py, number)
        body.append(label)
    said = "; ".join(f"{number} {escape(label)}" for number, label in enumerate(keys, 1))
    return plot.svg(body) + (Markup(f'\n<p class="soft">{said}</p>') if keys else Markup(""))


def key(colour: str, shape: str = "square") -> Markup:
    """A mark for a legend."""
    return Markup(f'<svg class="key {shape}" viewBox="0 0 22 12" aria-hidden="true">{mark(11, 6, colour, shape)}</svg>')


def mark(x: float, y: float, colour: str, shape: str, title: str = "") -> str:
    """One of SHAPES as markup."""
    caption, kind = f"<title>{escape(title)}</title>" if title else "", f'class="dot {colour}"'
    if shape == "disc":
        return f'<circle {kind} cx="{x:.1f}" cy="{y:.1f}" r="5">{caption}</circle>'
    path = {
        "square": (-4.5, "h9 v9 h-9z", -4.5),
        "diamond": (0, "l6,6 -6,6 -6,-6z", -6),
        "bar": (-7, "h14 v5 h-14z", -2.5),
        "triangle": (0, "l6,10 -12,0z", -6),
        "wedge": (0, "l6,-10 -12,0z", 6),
    }
    across, drawn, up = path[shape]
    return f'<path {kind} d="M{x + across:.1f},{y + up:.1f} {drawn}">{caption}</path>'


def _label(plot: Plot, x: float, y: float, text: str, taken: list[Box]) -> str | None:
    """The text beside, above or below its mark, where it lies on nothing of `taken`; None where there is no room."""
    width = 5.9 * len(text)
    for left, middle in ((x + 9, y), (x - 9 - width, y), (x - width / 2, y - 13), (x - width / 2, y + 14)):
        box = (left, middle - 6, left + width, middle + 6)
        inside = box[0] > LEFT and box[2] < plot.size[0] and box[1] > 0 and box[3] < plot.size[1] - BOTTOM
        if inside and not any(_overlap(box, other) for other in taken if other != (x - 6, y - 6, x + 6, y + 6)):
            taken.append(box)
            return _text(left, middle, text)
    return None


def _text(left: float, middle: float, text: str) -> str:
    return f'<text class="mark" x="{left:.1f}" y="{middle + 3.5:.1f}">{escape(text)}</text>'


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def distribution(lines: Sequence[tuple[str, Sequence[float]]], *, x_name: str, title: str) -> Plot:
    """The share of calls that took at most x, for each line's values in ascending order."""
    x, y = Axis.around([value for _, values in lines for value in values], log=True), Axis(0.0, 1.02)
    series = [
        PlotSeries(
            points=[(values[0], 0.0), *((value, (rank + 1) / len(values)) for rank, value in enumerate(values))],
            style=f"c{number % 7}",
            label=name,
        )
        for number, (name, values) in enumerate(lines)
    ]
    return Plot(x=x, y=y, x_name=x_name, y_name="share of calls", title=title, series=series)
