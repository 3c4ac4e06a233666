"""The page in a browser: no console errors, and it sorts, filters, opens, enlarges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from browser import visit
from ledgers import make_ledger
from lits_deploy.report.page import page
from lits_deploy.report.view import view

HOSTILE = "<script>alert(1)</script><img src=x onerror=console.error(2)>"

USE = """
const $ = (s, r = document) => r.querySelector(s), all = (s, r = document) => [...r.querySelectorAll(s)];
const order = () => all("tbody[data-rank]").filter((b) => !b.hidden).map((b) => b.dataset.rank).join();
const key = (k) => $(`button[data-key=${k}]`);
const type = (el, value) => {
  el.value = value;
  el.dispatchEvent(new Event(el.tagName === "SELECT" ? "change" : "input"));
};
const open = () => all(".detail").filter((d) => !d.hidden).length;
const found = {};
found.start = order();
found.openAtFirst = open();
key("suspicion").click(); found.rising = order();
found.sorted = key("suspicion").closest("th").getAttribute("aria-sort");
key("suspicion").click(); found.falling = order();
key("name").click(); found.byName = order(); key("name").click(); found.byNameDown = order();
type($("#order"), "suspicion"); found.bySelect = order();
type($("#find"), "STUDY-002 ct"); found.filtered = order(); found.count = $("#shown").textContent;
type($("#find"), "nothing like it"); found.none = [order(), $("#none").hidden];
type($("#find"), "");
type($("#status"), "lesion"); found.lesion = order();
type($("#status"), "");
$("#all").click(); found.closed = open(); $("#all").click(); found.opened = open();
const toggle = $("button.toggle"), expanded = () => toggle.getAttribute("aria-expanded");
toggle.click();
found.toggled = [expanded(), document.getElementById(toggle.getAttribute("aria-controls")).hidden];
toggle.click();
$("#lines").click(); found.bare = getComputedStyle($(".lines")).display; $("#lines").click();
const zooms = all("button.zoom"); zooms[0].click();
found.enlarged = [$("#zoomed").open, $("#zoomed img").alt === $("img", zooms[0]).alt, $("#before").disabled];
$("#next").click(); found.next = $("#zoomed img").alt === $("img", zooms[1]).alt;
$("#zoomed").close();
const strip = $("svg.strip.large"), box = strip.getBoundingClientRect();
const point = (share) => { strip.dispatchEvent(new PointerEvent("pointermove",
  { clientX: box.left + share * box.width, clientY: box.top + 5 })); return $(".readout").textContent; };
found.readout = [point(9.5 / 20), point(19.5 / 20)];
found.wide = document.documentElement.scrollWidth <= innerWidth;
found.images = all("img").every((i) => i.naturalWidth === 256 || i.loading === "lazy");
return found;
"""


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Any]:
    folder = tmp_path_factory.mktemp("browser")
    with make_ledger(folder, identifiers={"PatientName": HOSTILE}, reason=HOSTILE) as ledger:
        return visit(page(view(ledger)), folder, USE)


def test_the_console_stays_empty(visited: tuple[list[str], Any]) -> None:
    assert visited[0] == []


def test_it_sorts_filters_and_opens(visited: tuple[list[str], Any]) -> None:
    found = visited[1]
    assert isinstance(found, dict), found
    assert found["start"] == "1,2,3,4"
    assert found["openAtFirst"] == 1
    assert (found["rising"], found["sorted"]) == ("4,3,2,1", "ascending")
    assert found["falling"] == "1,2,3,4"
    assert (found["byName"], found["byNameDown"]) == ("1,2,3,4", "4,3,2,1")
    assert found["bySelect"] == "1,2,3,4"
    assert (found["filtered"], found["count"]) == ("3", "1 of 4 series")
    assert found["none"] == ["", False]
    assert found["lesion"] == "1,2"
    assert (found["closed"], found["opened"]) == (0, 4)
    assert found["toggled"] == ["false", True]
    assert found["wide"]


def test_pictures_enlarge_and_lose_their_contours(visited: tuple[list[str], Any]) -> None:
    found = visited[1]
    assert found["bare"] == "none"
    assert found["enlarged"] == [True, True, True]
    assert found["next"]
    assert found["images"]


def test_a_strip_tells_its_slices(visited: tuple[list[str], Any]) -> None:
    assert visited[1]["readout"] == ["slice 10: lesion 0.95, liver 0.03", "slice 20: no answer"]


def test_a_console_error_would_be_seen(tmp_path: Path) -> None:
    with make_ledger(tmp_path, series=1) as ledger:
        text = page(view(ledger))
    console, _ = visit(text, tmp_path, "document.body.append(Object.assign(new Image(), {src: 'http://x.invalid/'}))")
    assert "violates the following Content Security Policy directive" in console[0]
