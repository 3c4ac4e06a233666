"""benchmark.html: benchmarks of one or several bundles as one page, without a network, scripts or other files.

Plots: speed and accuracy of everything measured, with the frontier; the distribution of single-stream latencies.
The documents go through a Jinja template with autoescape: names are text, never markup.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from benchmarks import report
from benchmarks.page import drawings
from benchmarks.page.drawings import SHAPES, Point
from lits_deploy import DISCLAIMER, __version__
from lits_deploy.templates import environment

TEMPLATE = "page.html.jinja"

Document = dict[str, Any]
Row = dict[str, Any]


def page(documents: Sequence[Document]) -> str:
    """The whole page as text. documents: of `benchmarks.run.benchmark`, at least one."""
    values = {
        "version": __version__, "disclaimer": DISCLAIMER, "title": ", ".join(_name(d) for d in documents),
        "documents": [_part(document) for document in documents], "frontiers": frontiers(documents),
        "shapes": list(zip(SHAPES, runtimes(documents), strict=False)),
    }  # fmt: skip
    return environment(Path(__file__).parent).get_template(TEMPLATE).render(values)


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
        "name": _name(document), "machine": report.machine_line(document), "data": document["data"]["line"],
        "sha256": document["bundle"]["sha256"][:12], "mode": document["settings"]["mode"],
        "tables": report.tables(document), "notes": report.notes(document),
        "curves": drawings.curves(lines, x_name="latency of one slice (ms, logarithmic)",
                                  title="Distribution of single-stream latencies") if lines else None,
        "legend": [name for name, _ in lines], "facts": _facts(document),
        "marked": document["data"].get("split_by") == "slice",
    }  # fmt: skip


def runtimes(documents: Sequence[Document]) -> list[str]:
    """Names of the runtimes in use, in the order of their shapes."""
    return list(dict.fromkeys(row["runtime"] for document in documents for row in report.all_rows(document)))


def frontiers(documents: Sequence[Document]) -> list[tuple[str, Markup]]:
    """Accuracy over rate, and over latency: title and drawing of those that have points with an accuracy."""
    names = runtimes(documents)
    rate: list[Point] = []
    latency: list[Point] = []
    sizes: list[Point] = []
    for document in documents:
        model = document["bundle"]["model"].get("name") or document["bundle"]["name"]
        best: dict[tuple[str, str, str], Row] = {}
        for row in [*document["rows"], *document.get("offline", ())]:
            key = (row["runtime"], row["device"], row["artifact"])
            if row["error"] or not row["slices_per_second"]:
                continue
            if key not in best or row["slices_per_second"] > best[key]["slices_per_second"]:
                best[key] = row
            known = row["accuracy"] is not None
            if row["scenario"] == "single-stream" and known and row["latency_ms"].get("p50") is not None:
                latency.append(_point(row, model, row["latency_ms"]["p50"], names, "ms"))
        for row in best.values():
            point = _point(row, model, row["slices_per_second"], names, "slices/s")
            sizes += [dataclasses.replace(point, y=row["size_mb"])] if row["size_mb"] > 0 else []
            rate += [point] if row["accuracy"] is not None else []
    found = []
    if len(sizes) > 1:
        found.append(
            ("Model file and rate, best batch size: right and down is better",
             drawings.scatter(sizes, x_name="slices per second (logarithmic)", title="Size over rate",
                              y_name="MB of the model file (logarithmic)", lower_y_is_better=True, log_y=True))
        )  # fmt: skip
    if rate:
        found.append(
            ("Accuracy and rate, best batch size: right and up is better",
             drawings.scatter(rate, x_name="slices per second (logarithmic)", y_name="accuracy",
                              title="Accuracy over rate"))
        )  # fmt: skip
    if latency:
        found.append(
            ("Accuracy and latency of a single slice (p50): left and up is better",
             drawings.scatter(latency, x_name="latency of one slice, p50 (ms, logarithmic)", y_name="accuracy",
                              title="Accuracy over latency", lower_x_is_better=True))
        )  # fmt: skip
    return found


def _point(row: Row, model: str, x: float, names: list[str], unit: str) -> Point:
    what = "original" if row["original"] else row["artifact"]
    batch = f", batch {row['batch']}" if row.get("batch") else ""
    accuracy = "accuracy not known" if row["accuracy"] is None else f"accuracy {row['accuracy']:.3f}"
    return Point(
        x=x, y=row["accuracy"] or 0.0, label=f"{model} {what}", colour=f"p-{row['precision']}",
        title=f"{model}, {report.name_of(row)}, {what}{batch}: {x:,.1f} {unit}, {accuracy}",
        shape=SHAPES[names.index(row["runtime"]) % len(SHAPES)],
    )  # fmt: skip


def _facts(document: Document) -> list[tuple[str, str]]:
    machine, telemetry = document["machine"], document.get("telemetry") or {}
    facts = [
        ("processor", machine["processor"]), ("GPU", ", ".join(machine["gpus"]) or "none"),
        ("threads", str(document["settings"]["threads"])), ("system", machine["system"]),
        ("versions", ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())),
        ("lits-deploy", f"{machine['lits_deploy']}, revision {(machine['git'] or 'unknown')[:12]}"),
    ]  # fmt: skip
    for when in ("before", "after"):
        facts.append((f"readings {when}", _readings(telemetry.get(when) or {})))
    facts.append(("throttling", "; ".join(telemetry.get("throttled") or []) or "none seen"))
    return facts


def _readings(values: dict[str, Any]) -> str:
    told = []
    if values.get("cpu_mhz"):
        told.append(f"cores {min(values['cpu_mhz']):,.0f} to {max(values['cpu_mhz']):,.0f} MHz")
    if values.get("temperatures_c"):
        hottest = max(values["temperatures_c"], key=lambda name: values["temperatures_c"][name])
        told.append(f"hottest {hottest} {values['temperatures_c'][hottest]:.0f} °C")
    if gpu := values.get("gpu"):
        told.append(
            ", ".join(f"GPU {key.replace('_', ' ')} {value}" for key, value in gpu.items() if value is not None)
        )
    if values.get("power_mode"):
        told.append(f"power mode {values['power_mode']}")
    return "; ".join(told) or "this machine tells none"
