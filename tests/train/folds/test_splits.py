"""The pool of train and validate, and what a fold is trained on."""

from __future__ import annotations

import shutil
from pathlib import Path

from tiny_data import make_tiny_data
from train.data.layout import read_layout
from train.folds.folder import pool_listing
from train.folds.splits import final_layout, fold_layout, pooled


def test_folders_and_their_order_do_not_matter(tmp_path: Path) -> None:
    """A patient that lies in validate/ rather than in train/ changes neither pool nor listing."""
    first = make_tiny_data(tmp_path / "first", patients=(3, 1, 1))
    second = shutil.copytree(first, tmp_path / "second")
    for kind in ("images", "masks"):
        for path in sorted(second.glob(f"train/{kind}/volume-000*")):
            path.rename(second / "validate" / kind / path.name)
    pools = [pooled(read_layout(root)) for root in (first, second)]
    names = [[(s.image.name, s.patient, len(s.row), s.index) for s in pool] for pool in pools]
    assert names[0] == names[1]
    listings = [pool_listing(read_layout(root)) for root in (first, second)]
    assert listings[0] == listings[1]


def test_a_fold_holds_out_whole_patients_and_leaves_test_alone(tmp_path: Path) -> None:
    layout = read_layout(make_tiny_data(tmp_path / "data", patients=(3, 1, 1)))
    folds = (("0", "3"), ("1",), ("2",))
    own = fold_layout(layout, folds, 1)
    assert own.patients("validate") == ["000", "003"]
    assert own.patients("train") == ["001", "002"]
    assert own.splits["test"] == layout.splits["test"]
    assert own.leaks() == []
    whole = final_layout(layout)
    assert (whole.patients("train"), whole.patients("validate")) == (["000", "001", "002", "003"], [])


def test_one_patient_of_two_names_is_one(tmp_path: Path) -> None:
    data = make_tiny_data(tmp_path / "data", patients=(2, 1, 1))
    for path in sorted(data.glob("train/*/volume-000*")):
        path.rename(path.with_name(path.name.replace("volume-000", "volume-2")))  # 2 and 002
    layout = read_layout(data)
    assert {sample.patient for sample in pooled(layout)} == {"001", "002"}
    own = fold_layout(layout, (("2",), ("1",)), 1)
    assert {sample.patient for sample in own.splits["train"]} == {"001"}
