"""The page's drawings as inline SVG, made of the document's numbers: no library, no script, no other file.

Colours are classes (`s0`, `s1`, `s2` for the networks' classes) that the page's style sheet defines for light and dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from lits_deploy.templates import escape

SIDE, LEFT, TOP, BOTTOM = 300.0, 46.0, 12.0, 40.0
"""Drawing area in user units: a square of SIDE, with room for the labels."""

Points = Sequence[tuple[float, float]]


def roc(document: dict[str, Any]) -> Markup:
    """Sensitivity over false alarms of each class, the diagonal of guessing, and the lesion's operating points."""
    body = [_line([(0, 0), (1, 1)], "guess")]
    for k, line in enumerate(document["curves"]):
        body.append(_line(_points(line["false_alarm_rate"], line["sensitivity"]), f"line s{k}"))
    for point in document["figures"]["operating_points"]:
        if point["score"] == "p2" and point["point"] is not None:
            found = point["point"]
            body.append(_ring((1 - found["specificity"], found["sensitivity"])))
    return _square(
        "false alarms (1 − specificity)", "found (sensitivity)", body, "ROC curves, each class against the rest"
    )


def precision_recall(document: dict[str, Any]) -> Markup:
    """Precision over sensitivity of each class; dotted: the share of the class, which guessing gets."""
    body, total = [], max(1, document["figures"]["slices"])
    for k, line in enumerate(document["curves"]):
        share = document["figures"]["classes"][k]["slices"] / total
        body.append(_line([(0, share), (1, share)], f"guess s{k}"))
        body.append(_line(_points(line["sensitivity"], line["precision"]), f"line s{k}"))
    return _square("found (sensitivity)", "right among flagged (precision)", body, "Precision and recall of each class")


def reliability(document: dict[str, Any]) -> Markup:
    """Accuracy over confidence before and after the temperature; a disc's area is its share of the slices."""
    calibration, body = document["figures"]["calibration"], [_line([(0, 0), (1, 1)], "guess")]
    keys = ["before"] if calibration["temperature"] == 1.0 else ["before", "after"]
    for key in keys:
        bins = [found for found in calibration[key]["reliability"] if found["count"]]
        total = sum(found["count"] for found in bins)
        body.append(_line([(found["confidence"], found["accuracy"]) for found in bins], f"line {key}"))
        for found in bins:
            x, y = _place((found["confidence"], found["accuracy"]))
            radius = 2.2 + 20 * (found["count"] / total) ** 0.5
            share = f"{found['count']:,} slices: confidence {found['confidence']:.2f}, accuracy {found['accuracy']:.2f}"
            body.append(
                f'<circle class="disc {key}" cx="{x}" cy="{y}" r="{radius:.1f}"><title>{share}</title></circle>'
            )
    return _square("confidence (highest probability)", "accuracy", body, "Reliability diagram")


def dots(document: dict[str, Any]) -> Markup:
    """Dice of each patient, one column each, for liver, lesion and both."""
    rows, body = document["patients"], []
    for i, row in enumerate(rows):
        x = (i + 0.5) / len(rows)
        body.append(_line([(x, 0), (x, 1)], "grid"))
        for k, key in enumerate(("dice_liver", "dice_lesion", "dice_liver_with_lesion")):
            if row[key] is not None:
                cx, cy = _place((x, row[key]))
                name = escape(f"{row['patient']}: {row[key]:.3f}")
                body.append(f'<circle class="dot s{k}" cx="{cx}" cy="{cy}" r="5"><title>{name}</title></circle>')
    return _square("patients, as in the table", "Dice", body, "Dice of each patient", ticks_x=False)


def bar(figure: dict[str, float | None], without: float | None = None) -> Markup:
    """A gauge from 0 to 1 with the value, its interval as a whisker, and a tick for what guessing gets."""
    value, low, high = figure["value"], figure["low"], figure["high"]
    parts = ['<rect class="track" x="0" y="5" width="200" height="8" rx="4"/>']
    if value is not None:
        parts.append(f'<rect class="fill" x="0" y="5" width="{200 * value:.1f}" height="8" rx="4"/>')
    if low is not None and high is not None:
        parts.append(f'<line class="whisker" x1="{200 * low:.1f}" x2="{200 * high:.1f}" y1="9" y2="9"/>')
        parts += [f'<line class="whisker" x1="{200 * x:.1f}" x2="{200 * x:.1f}" y1="5" y2="13"/>' for x in (low, high)]
    if without is not None:
        parts.append(f'<line class="chance" x1="{200 * without:.1f}" x2="{200 * without:.1f}" y1="1" y2="17"/>')
    frame = 'class="bar" viewBox="0 0 202 18" preserveAspectRatio="xMinYMid" aria-hidden="true"'
    return Markup(f"<svg {frame}>{''.join(parts)}</svg>")


def _square(x: str, y: str, body: Sequence[str], title: str, *, ticks_x: bool = True) -> Markup:
    frame = [f'<rect class="area" x="{LEFT}" y="{TOP}" width="{SIDE}" height="{SIDE}"/>']
    for step in range(6):
        at = step / 5
        px, py = _place((at, at))
        frame.append(_line([(0, at), (1, at)], "grid"))
        frame.append(f'<text x="{LEFT - 6}" y="{py + 4}" text-anchor="end">{at:.1f}</text>')
        if ticks_x:
            frame.append(_line([(at, 0), (at, 1)], "grid"))
            frame.append(f'<text x="{px}" y="{TOP + SIDE + 16}" text-anchor="middle">{at:.1f}</text>')
    middle = TOP + SIDE / 2
    frame.append(f'<text x="{LEFT + SIDE / 2}" y="{TOP + SIDE + 34}" text-anchor="middle">{escape(x)}</text>')
    frame.append(f'<text transform="translate(12 {middle}) rotate(-90)" text-anchor="middle">{escape(y)}</text>')
    width, height = LEFT + SIDE + 12, TOP + SIDE + BOTTOM
    drawn = "".join([*frame, *body])
    return Markup(
        f'<svg class="plot" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">{drawn}</svg>'
    )


def _place(point: tuple[float, float]) -> tuple[float, float]:
    return round(LEFT + SIDE * point[0], 1), round(TOP + SIDE * (1 - point[1]), 1)


def _line(points: Points, kind: str) -> str:
    drawn = " ".join(f"{x},{y}" for x, y in map(_place, points))
    return f'<polyline class="{kind}" points="{drawn}"/>' if drawn else ""


def _ring(point: tuple[float, float]) -> str:
    x, y = _place(point)
    return f'<circle class="ring" cx="{x}" cy="{y}" r="5"/>'


def _points(x: Sequence[float | None], y: Sequence[float | None]) -> Points:
    return [(a, b) for a, b in zip(x, y, strict=True) if a is not None and b is not None]
