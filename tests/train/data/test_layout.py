"""The layout all training reads, and what it says when something is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from lits_deploy.errors import DataError
from tiny_data import make_tiny_data
from train.data.layout import declared_window, read_layout


def test_reads_samples_patients_and_window(tmp_path: Path) -> None:
    layout = read_layout(make_tiny_data(tmp_path / "data", window=[-40, 160]))
    assert {split: len(samples) for split, samples in layout.splits.items()} == {"train": 8, "validate": 4, "test": 4}
    assert layout.patients("train") == ["000", "001"]
    assert layout.window_hu == (-40.0, 160.0)
    assert layout.leaks() == []
    assert layout.describe()["split_by"] == "patient"


def test_window_has_no_default(tmp_path: Path) -> None:
    assert read_layout(make_tiny_data(tmp_path / "data")).window_hu is None


def test_a_patient_in_two_splits_is_a_leak(tmp_path: Path) -> None:
    root = make_tiny_data(tmp_path / "data")
    for kind, suffix in (("images", "png"), ("masks", "png")):
        (root / "test" / kind / f"volume-000_0099.{suffix}").write_bytes(
            (root / "train" / kind / f"volume-000_0000.{suffix}").read_bytes()
        )
    layout = read_layout(root)
    assert layout.leaks() == ["000"]
    assert layout.describe()["split_by"] == "slice"


def test_targets_csv_instead_of_masks(tmp_path: Path) -> None:
    root = make_tiny_data(tmp_path / "data")
    names = sorted(path.name for path in (root / "test" / "images").iterdir())
    (root / "test" / "targets.csv").write_text(
        "file,target,patient\n" + "".join(f"{name},{index % 3},anna\n" for index, name in enumerate(names))
    )
    samples = read_layout(root).splits["test"]
    assert [sample.target for sample in samples] == [0, 1, 2, 0]
    assert {sample.patient for sample in samples} == {"anna"}
    assert all(sample.mask is None for sample in samples)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("file\n", "needs the columns file and target"),
        ("file,target\nvolume-003_0000.png,7\n", "line 2: target '7' is not 0, 1 or 2"),
        ("file,target\n", "has no row for volume-003_0000.png"),
    ],
)
def test_bad_targets_csv(tmp_path: Path, table: str, says: str) -> None:
    root = make_tiny_data(tmp_path / "data")
    (root / "test" / "targets.csv").write_text(table)
    with pytest.raises(DataError, match=says):
        read_layout(root)


def test_missing_things_name_the_fix(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lits-deploy data phantom"):
        read_layout(tmp_path / "nowhere")
    root = make_tiny_data(tmp_path / "data")
    (root / "train" / "masks" / "volume-000_0000.png").unlink()
    with pytest.raises(DataError, match="has no mask"):
        read_layout(root)


def test_real_slices_are_read(shared_data: Path) -> None:
    layout = read_layout(shared_data / "lits")
    assert {split: len(s) for split, s in layout.splits.items()} == {"train": 2875, "validate": 668, "test": 928}
    assert layout.leaks() == []


def test_numbers_are_compared_as_numbers_and_a_list_is_no_record(tmp_path: Path) -> None:
    root = make_tiny_data(tmp_path / "data")
    for kind in ("images", "masks"):
        folder = root / "test" / kind
        for path in sorted(folder.iterdir()):
            path.rename(folder / path.name.replace("volume-003", "volume-0"))
    assert read_layout(root).leaks() == ["0", "000"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[1, 2]", "is not a JSON object"),
        ("[" * 100_000, "is not JSON"),
        ('{"window_hu": [40]}', "window_hu is not"),
        ('{"window_hu": "wide"}', "window_hu is not"),
        ('{"window_hu": [160, -40]}', "window_hu is not"),
        ('{"patient_of": [7]}', "patient_of is not"),
    ],
)
def test_a_record_that_cannot_be_used_is_one_line(tmp_path: Path, text: str, what: str) -> None:
    root = make_tiny_data(tmp_path / "data")
    (root / "dataset.json").write_text(text)
    for read in (read_layout, declared_window):
        with pytest.raises(DataError, match=f"dataset.json:? {what}"):
            read(root)
