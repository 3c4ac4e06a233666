"""benchmark.html: benchmarks of one or several bundles as one page, without a network, scripts or other files.

Plots: speed and accuracy of everything measured, with the frontier, each test set on its own; the distribution of
single-stream latencies.
The documents go through a Jinja template with autoescape: names are text, never markup.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from benchmarks import report, same_slices
from benchmarks.page.scatter import SHAPES, Point, distribution, key, scatter
from benchmarks.same_slices import KEY
from lits_deploy.pages import render

COLOURS = {"fp32": "c0", "tf32": "c3", "fp16": "c2", "int8": "c1"}
"""Classes of the style sheet, by precision."""

Document = dict[str, Any]
Row = dict[str, Any]


def page(documents: Sequence[Document]) -> str:
    """The whole page as text. documents: of `benchmarks.run.benchmark`, at least one."""
    drawn, points = figures(documents)
    return render(
        Path(__file__).parent,
        title=", ".join(_name(d) for d in documents),
        key=key,
        frontiers=drawn,
        documents=[_part(document) for document in documents],
        warnings=warnings(documents),
        precisions=[(colour, name) for name, colour in COLOURS.items() if colour in {p.colour for p in points}],
        shapes=list(dict.fromkeys((point.shape, point.runtime) for point in points)),
    )


def _name(document: Document) -> str:
    model, bundle = document["bundle"]["model"].get("name"), document["bundle"]["name"]
    return str(bundle) if model in (None, bundle) else f"{model} ({bundle})"


def _part(document: Document) -> dict[str, Any]:
    lines = [
        (f"{report.name_of(row)}, {report.precision_of(row)}", row["distribution_ms"])
        for row in document["rows"]
        if row["scenario"] == "single-stream" and row.get("distribution_ms")
    ]
    return {
        "name": _name(document),
        "machine": report.machine_line(document),
        "data": same_slices.named(document),
        "sha256": document["bundle"]["sha256"][:12],
        "mode": document["settings"]["mode"],
        "tables": report.tables(document),
        "notes": report.notes(document),
        "curves": distribution(
            lines, x_name="latency of one slice (ms, logarithmic)", title="Distribution of single-stream latencies"
        )
        if lines
        else None,
        "facts": _facts(document),
        "marked": document["data"].get("split_by") == "slice",
    }


def bundle_names(documents: Sequence[Document]) -> list[str]:
    """What each document's points are labelled with: its bundle's name, and its hash where another has that name."""
    names = [str(document["bundle"]["name"]) for document in documents]
    bundles = {(name, document["bundle"]["sha256"]) for name, document in zip(names, documents, strict=True)}
    shared = {name for name in names if sum(name == other for other, _ in bundles) > 1}
    return [
        f"{name} {document['bundle']['sha256'][:6]}" if name in shared else name
        for name, document in zip(names, documents, strict=True)
    ]


def warnings(documents: Sequence[Document]) -> list[str]:
    """What stands above all drawings where their accuracies are not all of the same slices."""
    scored = [document for document in documents if same_slices.scored(report.all_rows(document))]
    found, sets = [], {same_slices.key(document) for document in scored}
    if len(sets) > 1:
        found.append(
            f"{len(sets)} TEST SETS: these benchmarks were not all scored on the same slices, or not by the same "
            "figure. Accuracies compare only within a drawing."
        )
    if unknown := [_name(document) for document in scored if document["data"].get(KEY) is None]:
        found.append(
            f"{same_slices.NOT_RECORDED.upper()} for {', '.join(unknown)}: whether accuracies are of the same slices "
            "is not known."
        )
    return found


def figures(documents: Sequence[Document]) -> tuple[list[tuple[str, Markup]], list[Point]]:
    """Size over rate, and for each test set accuracy over rate and over latency: captions and drawings; their points.

    A frontier thus never runs over two test sets.
    """
    sizes: list[Point] = []
    sets: dict[tuple[str, ...], tuple[Document, list[Point], list[Point]]] = {}
    for document, bundle in zip(documents, bundle_names(documents), strict=True):
        _, rate, latency = sets.setdefault(same_slices.key(document), (document, [], []))
        best: dict[tuple[str, str, str], Row] = {}
        for row in [*document["rows"], *document.get("offline", ())]:
            key = (row["runtime"], row["device"], row["artifact"])
            if row["error"] or not row["slices_per_second"]:
                continue
            if key not in best or row["slices_per_second"] > best[key]["slices_per_second"]:
                best[key] = row
            single = report.value_of(row, "latency_ms.p50") if row["scenario"] == "single-stream" else None
            if row["accuracy"] is not None and single is not None:
                latency.append(_point(row, bundle, document, single, "ms"))
        for row in best.values():
            point = _point(row, bundle, document, row["slices_per_second"], "slices/s")
            sizes += [dataclasses.replace(point, y=row["size_mb"])] if row["size_mb"] > 0 else []
            rate += [point] if row["accuracy"] is not None else []
    rate_name = "slices per second (logarithmic)"
    drawings: list[tuple[list[Point], str, dict[str, Any]]] = []
    if len(sizes) > 1:
        axes = {"x_name": rate_name, "y_name": "MB of the model file (logarithmic)", "title": "Size over rate"}
        options = {**axes, "lower_y_is_better": True, "log_y": True}
        drawings.append((sizes, "Model file and rate, best batch size: right and down is better", options))
    for document, rate, latency in sets.values():
        figure, on = report.accuracy_name(document), same_slices.named(document)
        upper = figure[:1].upper() + figure[1:]
        axes = {"y_name": figure, "x_name": rate_name, "title": f"{upper} over rate, on {on}"}
        drawings.append((rate, f"{upper} and rate, best batch size: right and up is better. On {on}", axes))
        axes = {**axes, "x_name": "latency of one slice, p50 (ms, logarithmic)"}
        axes |= {"title": f"{upper} over latency, on {on}"}
        caption = f"{upper} and latency of a single slice (p50): left and up is better. On {on}"
        drawings.append((latency, caption, {**axes, "lower_x_is_better": True}))
    drawn = [point for points, _, _ in drawings for point in points]
    names = list(dict.fromkeys(point.runtime for point in drawn))
    shapes = {name: SHAPES[index % len(SHAPES)] for index, name in enumerate(names)}

    def shaped(points: Sequence[Point]) -> list[Point]:
        return [dataclasses.replace(point, shape=shapes[point.runtime]) for point in points]

    found = [(caption, scatter(shaped(points), **options)) for points, caption, options in drawings if points]
    return found, shaped(drawn)


def _point(row: Row, bundle: str, document: Document, x: float, unit: str) -> Point:
    what = "original" if row["original"] else row["artifact"]
    batch = f", batch {row['batch']}" if row.get("batch") else ""
    known = "not known" if row["accuracy"] is None else f"{row['accuracy']:.3f} on {same_slices.named(document)}"
    accuracy = f"{report.accuracy_name(document)} {known}"
    name = _name(document) if bundle in _name(document) else f"{_name(document)} {bundle}"
    return Point(
        x=x,
        y=row["accuracy"] or 0.0,
        label=f"{bundle} {what}",
        colour=COLOURS.get(row["precision"], "grey"),
        title=f"{name}, {report.name_of(row)}, {what}{batch}: {x:,.1f} {unit}, {accuracy}",
        runtime=row["runtime"],
    )


def _facts(document: Document) -> list[tuple[str, str]]:
    machine, telemetry = document["machine"], document.get("telemetry") or {}
    return [
        ("processor", machine["processor"]),
        ("GPU", ", ".join(machine["gpus"]) or "none"),
        ("threads", str(document["settings"]["threads"])),
        ("system", machine["system"]),
        ("versions", ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())),
        ("lits-deploy", f"{machine['lits_deploy']}, revision {(machine['git'] or 'unknown')[:12]}"),
        *((f"readings {when}", _readings(telemetry.get(when) or {})) for when in ("before", "after")),
        ("throttling", "; ".join(telemetry.get("throttled") or []) or "none seen"),
    ]


def _readings(values: dict[str, Any]) -> str:
    parts = []
    if values.get("cpu_mhz"):
        parts.append(f"cores {min(values['cpu_mhz']):,.0f} to {max(values['cpu_mhz']):,.0f} MHz")
    if values.get("temperatures_c"):
        hottest = max(values["temperatures_c"], key=lambda name: values["temperatures_c"][name])
        parts.append(f"hottest {hottest} {values['temperatures_c'][hottest]:.0f} °C")
    if gpu := values.get("gpu"):
        parts.append(
            ", ".join(f"GPU {key.replace('_', ' ')} {value}" for key, value in gpu.items() if value is not None)
        )
    if values.get("power_mode"):
        parts.append(f"power mode {values['power_mode']}")
    return "; ".join(parts) or "this machine tells none"
