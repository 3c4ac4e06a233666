"""The command of the frontier: its table is a result, so it goes to standard output."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
from benchmarks import frontier


def test_the_table_is_printed_on_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    document = {"trained": False, "data": {"line": "none"}, "settings": {}}
    monkeypatch.setattr(frontier, "measure", lambda *_, say, **__: say("measuring") or [document])
    monkeypatch.setattr(frontier, "table_rows", lambda _: [])
    monkeypatch.setattr(frontier, "lines", lambda _: ["| network |"])
    monkeypatch.setattr(frontier, "page", lambda _: "")
    assert frontier.main(["--out", str(tmp_path), "--name", "box"]) == 0
    said = capsys.readouterr()
    assert said.err == "measuring\n"
    assert said.out.startswith("| network |\nwrote ")
