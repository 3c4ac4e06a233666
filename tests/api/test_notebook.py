"""The notebook of first steps: stored without results, every cell works; so do the first lines of docs/python.md."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pictures import folder_of_slices
from tiny_bundle import make_tiny_bundle

NOTEBOOK = Path(__file__).parents[2] / "docs" / "first-steps.ipynb"

RUN = """
import sys
import nbclient, nbformat

notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=None, kernel_name="python3").execute(cwd=sys.argv[2])
for cell in notebook.cells:
    for output in cell.get("outputs", ()):
        assert output.get("name") != "stderr", output["text"]
        print(output.get("text") or output["data"]["text/plain"])
"""


def test_it_is_stored_without_results() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(code) > 10
    assert not [cell["id"] for cell in code if cell["outputs"] or cell["execution_count"] is not None]
    assert "not for clinical use" in "".join(notebook["cells"][0]["source"])


@pytest.mark.slow
def test_every_cell_works(tmp_path: Path) -> None:
    pytest.importorskip("ipykernel", reason="needs nbclient and ipykernel, of the extra `dev`")
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(NOTEBOOK), str(tmp_path)], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    for expected in ("suspicion", "liver with lesion", "slices.csv", "Fix: is it first-steps/bundle?"):
        assert expected in done.stdout


def test_first_lines_of_who_has_a_bundle_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_tiny_bundle(tmp_path / "bundle", size=64, crop=56)
    folder_of_slices(tmp_path / "scans", 3, size=64)
    monkeypatch.chdir(tmp_path)
    section = (NOTEBOOK.parent / "python.md").read_text(encoding="utf-8").partition("## You have a bundle")[2]
    lines = [line[4:] for line in section.partition("\n## ")[0].splitlines() if line.startswith("    ")]
    exec("\n".join(lines), {})
    said = capsys.readouterr().out
    assert "classify ('no liver', 'liver', 'liver with lesion')" in said
    assert "'rank': 1" in said
    assert (tmp_path / "results" / "report.html").exists()
