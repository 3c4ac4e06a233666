"""Drawings, and the page from two documents: self-contained, escaped, with the frontier over both."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from benchmark_documents import full, row
from benchmarks.drawing import Axis
from benchmarks.page import bundle_names, page
from benchmarks.page.scatter import SHAPES, Point, distribution, frontier, scatter
from lits_deploy.cli.app import app

runner = CliRunner()


def point(x: float, y: float, label: str = "p") -> Point:
    return Point(x=x, y=y, label=label, title=label, colour="c0")


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
    marks = re.findall(r'class="mark" x="([\d.]+)" y="([\d.]+)"', drawn)
    assert len(marks) == len(set(marks)) == 2
    assert "<polyline" in distribution([("one", [1.0, 2.0, 3.0])], x_name="ms", title="t").svg()


def test_one_page_of_two_benchmarks() -> None:
    text = page([full("resnet18", 100, 0.7), full("<vgg>", 20, 0.8)])
    assert "&lt;vgg&gt;" in text
    assert "<vgg>" not in text
    assert not re.search(r"<script|https?://|<link|<img", text)
    assert text.count("<polyline") >= 3  # the frontier and two curves
    assert text.count("Not a medical device, not for clinical use.") >= 2
    assert "SPLIT BY SLICE" not in text


def svgs(text: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(found) for found in re.findall(r'<svg class="plot.*?</svg>', text, re.DOTALL)]


def captions(text: str) -> list[str]:
    """Of the scatter plots."""
    return re.findall(r"<figcaption>(.*? is better.*?)</figcaption>", text)


def labels(svg: ElementTree.Element) -> list[str]:
    return [str(element.text) for element in svg.iter("text") if element.get("class") == "mark"]


def legend(text: str) -> str:
    return re.sub(r"<.*?>", " ", text.split('<p class="legend">')[1].split("dashed")[0]).strip()


def test_two_test_sets_stand_in_drawings_of_their_own_and_the_page_says_so() -> None:
    one, other = full("one", 100, 0.7), full("other", 20, 0.9, line="e", test_set_sha256="e" * 64)
    text = page([one, full("near", 90, 0.72), other])
    assert "2 TEST SETS: these benchmarks were not all scored on the same slices" in text
    assert captions(text) == [
        "Model file and rate, best batch size: right and down is better",
        "Accuracy and rate, best batch size: right and up is better. On d (test set dddddddddddd)",
        "Accuracy and latency of a single slice (p50): left and up is better. On d (test set dddddddddddd)",
        "Accuracy and rate, best batch size: right and up is better. On e (test set eeeeeeeeeeee)",
        "Accuracy and latency of a single slice (p50): left and up is better. On e (test set eeeeeeeeeeee)",
    ]
    drawn = [svg for svg in svgs(text) if "over" in str(svg.get("aria-label"))]
    assert [len(labels(svg)) for svg in drawn] == [3, 2, 2, 1, 1]
    titles = [str(t.text) for svg in drawn for t in svg.iter("title") if "accuracy" in str(t.text)]
    assert all(t.endswith(("on d (test set dddddddddddd)", "on e (test set eeeeeeeeeeee)")) for t in titles)
    assert "TEST SETS" not in page([one, full("near", 90, 0.72, line="another folder, same slices")])
    unet = full("unet", 5, 0.6)
    unet["bundle"]["task"] = "segment"
    assert "2 TEST SETS" in page([one, unet]), "Dice and accuracy share no drawing either"


def test_a_test_set_that_is_not_recorded_is_marked_in_every_figure() -> None:
    old = full("old", 100, 0.7)
    del old["data"]["test_set_sha256"]
    text = page([old, full("new", 20, 0.9)])
    assert "TEST SET NOT RECORDED for old: whether" in text
    assert sum("On d (test set not recorded)" in caption for caption in captions(text)) == 2
    assert "2 TEST SETS" in text
    assert '<p class="soft">d (test set not recorded); bundle' in text


def test_points_are_labelled_by_bundle_even_where_bundles_share_a_name_or_there_is_no_room() -> None:
    documents = [full("resnet18", 100, 0.70), full("resnet18", 50, 0.80, sha256="b" * 64), full("vgg", 50, 0.60)]
    documents[2]["bundle"]["model"]["name"] = "resnet18"
    assert bundle_names(documents) == ["resnet18 aaaaaa", "resnet18 bbbbbb", "vgg"]
    assert bundle_names([documents[0], documents[0]]) == ["resnet18", "resnet18"]
    rate = svgs(page(documents))[1]
    assert sorted(labels(rate)) == ["resnet18 aaaaaa fp32", "resnet18 bbbbbb fp32", "vgg fp32"]
    crowd = [point(10 + index / 1000, 0.8, f"a bundle with a long name {index}") for index in range(12)]
    drawn = scatter(crowd, x_name="x", y_name="y", title="t")
    (svg,) = svgs(drawn)
    keys = dict(re.findall(r"(?:>|; )(\d+) (a bundle with a long name \d+)", drawn.split("</svg>")[1]))
    said = [keys.get(label, label) for label in labels(svg)]
    assert sorted(said) == sorted(p.label for p in crowd)
    assert keys


def test_legends_show_only_what_was_drawn() -> None:
    one = full("one", 100, 0.7)
    assert legend(page([one])).split() == ["fp32", "onnxruntime"]
    broken = row(
        1,
        runtime="openvino",
        precision="int8",
        artifact="int8-cpu",
        error="no",
        slices_per_second=None,
        accuracy=None,
        latency_ms=None,
        version="1",
    )
    several = {
        **one,
        "offline": [],
        "rows": [
            *one["rows"],
            broken,
            *(
                {**one["rows"][0], "runtime": f"r{index}", "precision": ("fp32", "fp16")[index % 2]}
                for index in range(5)
            ),
        ],
    }
    text = page([several])
    assert legend(text).split() == ["fp32", "fp16", "onnxruntime", "r0", "r1", "r2", "r3", "r4"]
    drawn = text.split('<div class="pair">')[1]
    for shape in SHAPES:
        assert text.count(f'"key {shape}"') == (3 if shape == "square" else 1), "squares stand for precisions, too"
    for mark in ("h9 v9", "l6,6", "l6,10", "l6,-10", "h14 v5", "<circle"):
        assert mark in drawn


def test_the_command(tmp_path: Path) -> None:
    import json

    for name, rate in (("a", 100), ("b", 20)):
        (tmp_path / f"{name}.json").write_text(json.dumps(full(name, rate, 0.7)))
    call = ["benchmark", "page", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--out", str(tmp_path / "p.html")]
    done = runner.invoke(app, call, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "Benchmark of a, b" in (tmp_path / "p.html").read_text()
