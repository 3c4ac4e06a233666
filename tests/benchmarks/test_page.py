"""Drawings, and the page from two documents: self-contained, escaped, with the frontier over both."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmark_documents import document, row
from benchmarks.page import page
from benchmarks.page.drawings import Axis, Point, curves, frontier, scatter
from lits_deploy.cli.app import app

runner = CliRunner()


def point(x: float, y: float, label: str = "p") -> Point:
    return Point(x=x, y=y, label=label, title=label, colour="p-fp32")


def full(name: str, rate: float, accuracy: float) -> dict[str, object]:
    rows = [row(1, slices_per_second=rate / 2, accuracy=accuracy, distribution_ms=[8.0, 9.0, 12.0], windows=None,
                speedup=None)]  # fmt: skip
    values = document(*rows, disclaimer="Not a medical device, not for clinical use.", against=None)
    values["bundle"] = {"name": name, "sha256": "a" * 64, "task": "classify", "model": {"name": name}}
    values["machine"] |= {
        "board": None, "virtual": True, "governor": None, "load_average": [0.1, 0.1, 0.1], "date": "2026-11-25",
        "system": "Linux", "lits_deploy": "0", "git": None,
    }  # fmt: skip
    values["settings"] = {"mode": "quick", "threads": 2, "batches": [1]}
    values["rows"][0]["latency_ms"] |= {"samples": 3, "needed": {"p99": 662}, "cv": 0.01}
    offline = row(
        8, scenario="offline", slices_per_second=rate, accuracy=accuracy, slices=96, timed_s=2.0, windows=None
    )
    return {**values, "offline": [offline], "server": [], "end_to_end": []}


def test_the_frontier_is_what_nothing_beats_in_both() -> None:
    points = [point(1, 0.9), point(2, 0.8), point(3, 0.85), point(4, 0.5), point(2, 0.7)]
    assert [(p.x, p.y) for p in frontier(points)] == [(1, 0.9), (3, 0.85), (4, 0.5)]
    assert [(p.x, p.y) for p in frontier(points, lower_x_is_better=True)] == [(1, 0.9)]


@pytest.mark.parametrize(("low", "high", "log"), [(60, 90, True), (1, 900, True), (0.7, 0.72, False), (5, 5, False)])
def test_axes_have_ticks_inside(low: float, high: float, log: bool) -> None:
    axis = Axis.around([low, high], log=log)
    assert 0 < axis.share(low) <= axis.share(high) < 1
    assert len(axis.ticks()) >= 2
    assert all(axis.low <= tick <= axis.high for tick in axis.ticks())


def test_labels_do_not_lie_on_each_other_and_are_escaped() -> None:
    drawn = scatter([point(10, 0.8, "a<b"), point(10.01, 0.8001, "near")], x_name="x", y_name="y", title="t")
    assert "a&lt;b" in drawn
    assert "<b" not in drawn
    places = re.findall(r'class="mark" x="([\d.]+)" y="([\d.]+)"', drawn)
    assert len(places) == len(set(places)) == 2
    assert "<polyline" in curves([("one", [1.0, 2.0, 3.0])], x_name="ms", title="t")


def test_one_page_of_two_benchmarks() -> None:
    text = page([full("resnet18", 100, 0.7), full("<vgg>", 20, 0.8)])
    assert "&lt;vgg&gt;" in text
    assert "<vgg>" not in text
    assert not re.search(r"<script|https?://|<link|<img", text)
    assert text.count("<polyline") >= 3  # the frontier and two curves
    assert text.count("Not a medical device, not for clinical use.") >= 2
    assert "SPLIT BY SLICE" not in text


def test_the_command(tmp_path: Path) -> None:
    import json

    for name, rate in (("a", 100), ("b", 20)):
        (tmp_path / f"{name}.json").write_text(json.dumps(full(name, rate, 0.7)))
    call = ["benchmark", "page", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--out", str(tmp_path / "p.html")]
    done = runner.invoke(app, call, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "Benchmark of a, b" in (tmp_path / "p.html").read_text()
