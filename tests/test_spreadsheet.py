"""CSV that a spreadsheet opens: no cell of it runs, and every text comes back exactly."""

from __future__ import annotations

import csv
import io
import json
from itertools import product
from pathlib import Path

import pytest

from lits_deploy.spreadsheet import CsvWriter, exact, harmless, read_rows
from lits_deploy.tables import ResultTable

RISKY = (
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    " =1",
    "\xa0@x",
    "＝1",
    "＋A1",
    "－A1",
    "＠x",
    "-",
    "\ufeff=1",
)


@pytest.mark.parametrize("text", [*RISKY, "'=1", "''-x", "=cmd|'/c calc'!A1"])
def test_text_that_would_run_has_an_apostrophe_before_it_and_comes_back(text: str) -> None:
    written = harmless(text)
    assert written[0] == "'"
    assert exact(written) == text


@pytest.mark.parametrize("text", ["\n=1", "a;=1+1", "a\t=1", "a\n+1", "a; @b"])
def test_nothing_runs_behind_what_some_settings_split_at(text: str) -> None:
    written = harmless(text)
    assert "'" in written[1:]
    assert exact(written) == text


@pytest.mark.parametrize(
    "text", ["", "a", "a-b=c@d", "'a", "it's", "-5", "+1.5e-3", "-0.25", "volume-1_0001.png", "肝 a"]
)
def test_other_text_and_numbers_stay(text: str) -> None:
    assert harmless(text) == exact(text) == text


def test_every_text_comes_back() -> None:
    texts = ["".join(letters) for length in range(6) for letters in product("'=;\t a\n", repeat=length)]
    written = [harmless(text) for text in texts]
    assert [exact(text) for text in written] == texts
    assert not any(text.lstrip(" \n")[:1] in ("=", "\t") for text in written if text)


def test_a_row_written_is_the_row_read() -> None:
    stream = io.StringIO()
    writer = CsvWriter(stream)
    writer.writerows([("name", "@n"), ("=1", -1.5), ("'=1", None), ('a",b\n=c', -2)])
    text = stream.getvalue()
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[:3] == [["name", "'@n"], ["'=1", "-1.5"], ["''=1", ""]]  # numbers are numbers
    assert [tuple(row.values()) for row in read_rows(io.StringIO(text))] == [
        ("=1", "-1.5"),
        ("'=1", ""),
        ('a",b\n=c', "-2"),
    ]


def test_only_csv_is_changed_and_only_there(tmp_path: Path) -> None:
    table = ResultTable(name="t", columns=("path", "p0"), floats=("p0",))
    rows = [(text, -0.5) for text in RISKY]
    for kind in ("csv", "jsonl"):
        table.write(tmp_path, kind, rows)
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as stream:
        read = list(csv.reader(stream))[1:]
    assert all(cell[0] == "'" and p0 == "-0.500000" for cell, p0 in read)
    lines = (tmp_path / "t.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    assert [json.loads(line)["path"] for line in lines] == list(RISKY)
    pyarrow = pytest.importorskip("pyarrow.parquet")
    assert pyarrow.read_table(table.write(tmp_path, "parquet", rows))["path"].to_pylist() == list(RISKY)
