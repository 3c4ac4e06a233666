"""`printable`: nothing from outside reaches a terminal as anything but visible text."""

from __future__ import annotations

import io
import json

import pytest

from lits_deploy.printable import json_line, plottable, printable, printable_json, printable_values, say


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("volume-1_0001.png", "volume-1_0001.png"),
        ("Müller 肝", "Müller 肝"),
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("a\nb\rc\td", r"a\x0ab\x0dc\x09d"),
        ("gnp.\u202escan", r"gnp.\xe2\x80\xaescan"),
        ("ze\u200bro", r"ze\xe2\x80\x8bro"),
        ("\x9b31m", r"\xc2\x9b31m"),
        (b"\xff\xfe".decode("utf-8", "surrogateescape"), r"\xff\xfe"),
        ("\ud800", r"\xed\xa0\x80"),
        ("\u2028", r"\xe2\x80\xa8"),
    ],
)
def test_what_cannot_be_seen_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert shown.isprintable()


def test_line_feeds_stay_only_where_asked_for() -> None:
    assert printable("a\nb\x1b", multiline=True) == "a\nb\\x1b"


def test_json_is_printable_and_exact() -> None:
    value = {"a\x1b\u202e": ["\x9b", "\udcff", "肝\n\\", "\U000e0041"], "b": 1.5}
    text = printable_json(value)
    assert text.replace("\n", "").isprintable()
    assert "肝" in text
    assert json.loads(text) == value
    line = json_line(value)
    assert line.isprintable()
    assert json.loads(line) == value


def test_say_prints_a_line_a_text(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\nb", "\x1b[2J[red]")
    assert capsys.readouterr().out == "a\\x0ab\n\\x1b[2J[red]\n"


def test_values_deep_in_a_document_are_made_printable() -> None:
    assert printable_values({"\x1b": [("\x07", 1), {"a": None}]}) == {r"\x1b": [[r"\x07", 1], {"a": None}]}


@pytest.mark.parametrize("text", ["$\\foo$", "a\x1b[31m\nb", r"\$5 $x$ $"])
def test_a_plot_takes_any_text_as_it_is(text: str) -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure()
    drawn = figure.text(0.5, 0.5, plottable({"name": [text]})["name"][0])
    figure.savefig(io.BytesIO(), format="png")
    shown, mathematics = drawn._preprocess_math(drawn.get_text())  # what it shows of it; nothing public tells
    assert (shown, mathematics) == (printable(text, multiline=True), False)
