"""File names: exact where they can be printed, escaped uniquely and reversibly where not."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lits_deploy.scans.paths import escape, unescape


@pytest.mark.parametrize(
    "name", ["a.png", "Ünïcode 患者/1.png", "=1+1.png", "a b,c\"d'.png", "non-breaking\u00a0space"]
)
def test_printable_names_stay_as_they_are(name: str) -> None:
    assert escape(name) == name


@pytest.mark.parametrize(
    ("name", "written"),
    [
        (os.fsdecode(b"caf\xe9.png"), "caf\\xe9.png"),
        ("a\\xe9.png", "a\\\\xe9.png"),
        ("two\nlines.png", "two\\x0alines.png"),
        ("\x1b[31m.png", "\\x1b[31m.png"),
        ("separator\u2028.png", "separator\\xe2\\x80\\xa8.png"),
    ],
)
def test_others_become_one_printable_line(name: str, written: str) -> None:
    assert escape(name) == written
    assert unescape(written) == name


@given(st.binary(max_size=30).map(lambda name: name.replace(b"\0", b"")))
def test_every_name_comes_back(name: bytes) -> None:
    text = escape(os.fsdecode(name))
    assert os.fsencode(unescape(text)) == name
    assert len(text.splitlines()) <= 1
    text.encode("utf-8")  # no surrogates


@given(st.binary(max_size=8), st.binary(max_size=8))
def test_two_names_never_share_a_form(a: bytes, b: bytes) -> None:
    assert (escape(os.fsdecode(a)) == escape(os.fsdecode(b))) == (a == b)
