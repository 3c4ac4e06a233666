"""Tables as spreadsheets and programs write them; each means the same to training, `data check` and `data prepare`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lits_deploy.errors import DataError
from tiny_data import make_tiny_data
from train.check import check_data
from train.data.layout import read_layout
from train.data.tables import read_table
from train.prepare.folders import _read_patients

NAMES = [f"volume-003_{index:04d}.png" for index in range(4)]
PLAIN = "".join(
    f"{line}\n" for line in ("file,target,patient", *(f"{name},{i % 3},Zoë" for i, name in enumerate(NAMES)))
)

WRITTEN = {
    "as we write it": PLAIN.encode(),
    "Excel, CSV UTF-8": ("\ufeff" + PLAIN.replace("\n", "\r\n")).encode(),
    "Excel where the comma is the decimal sign": PLAIN.replace(",", ";").replace("\n", "\r\n").encode("cp1252"),
    "Excel, Unicode text": PLAIN.replace(",", "\t").encode("utf-16"),
    "Excel, with a sep line": ("sep=;\r\n" + PLAIN.replace(",", ";").replace("\n", "\r\n")).encode("cp1252"),
    "pasted, tabs": PLAIN.replace(",", "\t").encode(),
    "quoted, empty lines, spaces, capitals, another order": (
        'Target ; PATIENT;"File"\n' + "".join(f'{i % 3} ; Zoë ;"images\\{n}"\n;;\n' for i, n in enumerate(NAMES)) + "\n"
    ).encode(),
}
WINDOWS = ("Excel where the comma is the decimal sign", "Excel, with a sep line")
"""Those whose encoding can only be guessed."""


@pytest.mark.parametrize("how", WRITTEN)
def test_every_spelling_of_a_table_means_the_same(tmp_path: Path, how: str) -> None:
    root = make_tiny_data(tmp_path / "data")
    (root / "test" / "targets.csv").write_bytes(WRITTEN[how])
    shutil.rmtree(root / "test" / "masks")
    samples = read_layout(root).splits["test"]
    assert [(sample.target, sample.patient) for sample in samples] == [(0, "Zoë"), (1, "Zoë"), (2, "Zoë"), (0, "Zoë")]
    notes = [finding for finding in check_data(root, workers=1).findings if finding.kind == "targets"]
    assert [note.severity for note in notes] == (["note"] if how in WINDOWS else [])
    (tmp_path / "patients.csv").write_bytes(WRITTEN[how])
    assert _read_patients(tmp_path) == dict.fromkeys(NAMES, ("Zoë", ""))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"PK\x03\x04\0\0", "is a workbook, not CSV"),
        (b"file,patient\n\x81,1\n", "neither UTF-8, UTF-16 nor Windows-1252"),
        (b"\xff\xfef", "neither UTF-8, UTF-16 nor Windows-1252"),
        (b"", "needs the columns file and patient. Fix: begin it with file,patient"),
        (b"image;who\n", "needs the columns file and patient"),
        (b"file,patient\n" + b"x" * 200_000 + b",1\n", "cannot be read as CSV"),
    ],
)
def test_what_is_no_table_is_one_line_that_names_the_fix(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "patients.csv"
    path.write_bytes(data)
    with pytest.raises(DataError, match=says):
        read_table(path, ("file", "patient"))


def test_a_wrong_cell_is_named_by_its_line(tmp_path: Path) -> None:
    root = make_tiny_data(tmp_path / "data")
    (root / "test" / "targets.csv").write_text("sep=;\nfile;target\n\nvolume-003_0000.png;7\n")
    with pytest.raises(DataError, match="line 4: target '7' is not 0, 1 or 2"):
        read_layout(root)
