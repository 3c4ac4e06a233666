"""The file of answers out of fold: what is written is read again, and nothing else is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lits_deploy.errors import DataError
from train.out_of_fold import NAME, SCHEMA, OutOfFold, joined, of_run, read

RECORD = {"schema": SCHEMA, "folds": 2, "seed": 0, "data": "tiny", "synthetic": False, "split_by": "patient"}


def part(fold: int, patients: list[str], *, segment: bool = False) -> OutOfFold:
    """Two slices of each patient, out of order."""
    names = [(patient, number) for patient in patients for number in (10, 9)]
    rng = np.random.default_rng(fold)
    answers: dict[str, Any] = {"logits": rng.normal(size=(len(names), 3)).astype(np.float32)}
    if segment:
        answers = {"pixels": rng.integers(0, 9, (len(names), 3, 3))}
    return OutOfFold(
        patient=np.array([patient for patient, _ in names]),
        scan=np.array([patient for patient, _ in names]),
        path=np.array([f"train/images/{patient}_{number}.png" for patient, number in names]),
        fold=np.full(len(names), fold, np.int64),
        target=np.arange(len(names), dtype=np.int64) % 3,
        **answers,
    )


@pytest.mark.parametrize("segment", [False, True])
def test_what_is_written_is_read_again_in_the_order_of_patients(tmp_path: Path, segment: bool) -> None:
    whole = joined([part(1, ["c", "a"], segment=segment), part(2, ["b"], segment=segment)], RECORD)
    assert whole.patient.tolist() == ["a", "a", "b", "b", "c", "c"]
    assert whole.fold.tolist() == [1, 1, 2, 2, 1, 1]
    assert whole.path.tolist()[:2] == ["train/images/a_9.png", "train/images/a_10.png"]
    whole.save(tmp_path / NAME)
    again = of_run(tmp_path)
    assert (again.task, again.folds, len(again)) == ("segment" if segment else "classify", 2, 6)
    assert again.record == RECORD
    for name in ("patient", "scan", "path", "fold", "target", "logits", "pixels"):
        assert np.array_equal(getattr(again, name), getattr(whole, name)), name
    if segment:
        assert again.pixels is not None
        assert again.tumour_pixels.tolist() == again.pixels[:, :, 2].sum(axis=1).tolist()
    assert again.rows(again.fold == 2).patient.tolist() == ["b", "b"]


def test_a_run_without_answers_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no answers out of fold yet") as caught:
        of_run(tmp_path)
    assert "--resume" in caught.value.fix


def spoil(arrays: dict[str, Any], how: str) -> None:
    if how == "an object":
        arrays["patient"] = arrays["patient"].astype(object)
    elif how == "another length":
        arrays["fold"] = arrays["fold"][:-1]
    elif how == "no number":
        arrays["logits"][0, 0] = np.nan
    elif how == "no class":
        arrays["target"][0] = 3
    elif how == "a fold is missing":
        arrays["fold"][:] = 1
    elif how == "an array is missing":
        del arrays["scan"]
    elif how == "both tasks":
        arrays["pixels"] = np.zeros((6, 3, 3), np.int64)
    else:
        arrays["record"] = np.array("[]")


@pytest.mark.parametrize(
    "how",
    [
        "an object",
        "another length",
        "no number",
        "no class",
        "a fold is missing",
        "an array is missing",
        "both tasks",
        "a foreign record",
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, how: str) -> None:
    path = tmp_path / NAME
    joined([part(1, ["c", "a"]), part(2, ["b"])], RECORD).save(path)
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    spoil(arrays, how)
    np.savez(path, **arrays)
    with pytest.raises(DataError, match="damaged"):
        read(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="damaged"):
        read(path)


class _Payload:
    """Pickled, it makes a folder when it is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.folder,)


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    path = tmp_path / NAME
    joined([part(1, ["c", "a"]), part(2, ["b"])], RECORD).save(path)
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    np.savez(path, **{**arrays, "scan": np.array([_Payload(tmp_path / "run")], object)})
    with pytest.raises(DataError, match="damaged"):
        read(path)
    assert not (tmp_path / "run").exists()
