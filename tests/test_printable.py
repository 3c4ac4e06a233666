"""`printable`: nothing from outside reaches a terminal as anything but visible text."""

from __future__ import annotations

import pytest

from lits_deploy.printable import printable


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
