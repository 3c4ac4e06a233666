"""A patient with several scans: split, leaks and figures go by patient; slice numbers and neighbours by scan."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lits_deploy.contract import window_to_uint8
from lits_deploy.errors import DataError
from lits_sources import WINDOW, load_png, noise_patient, save_png, write_lits, write_masks
from tiny_data import make_tiny_data
from train.check import check_data
from train.data.layout import SPLITS, Layout, read_layout
from train.prepare import PreparedData, PrepareSettings, prepare
from train.prepare.split import split_patients

MASKS = PrepareSettings(layout="masks", window_hu=WINDOW, fractions=(50.0, 25.0, 25.0))
LEVELS = 3


def write_scans(
    root: Path, name: Callable[[int, int], str], patients: dict[int, str], *, table: str = "file,patient", row: str = ""
) -> Path:
    """Scans of three slices; `name` of scan and level, `patients` by scan, `row` as the table wants it."""
    rows = [table]
    for scan, patient in patients.items():
        source = noise_patient(scan, slices=LEVELS)
        for level in range(LEVELS):
            stem = name(scan, level)
            if not (root / "images" / f"{stem}.png").exists():  # an earlier one stays untouched
                save_png(root / "images" / f"{stem}.png", window_to_uint8(source.hu[level], WINDOW))
                save_png(root / "masks" / f"{stem}.png", source.labels[level])
            rows.append((row or "{file},{patient}").format(file=f"{stem}.png", patient=patient, scan=scan))
    (root / "patients.csv").write_text("\n".join(rows))
    return root


def grey(scan: int, level: int) -> np.ndarray[Any, Any]:
    return window_to_uint8(noise_patient(scan, slices=LEVELS).hu[level], WINDOW)


def run(raw: Path, settings: PrepareSettings = MASKS, **options: Any) -> tuple[PreparedData, Layout]:
    out = raw.with_name(f"{raw.name}-out")
    return prepare(raw, out, settings, workers=1, **options), read_layout(out, _filled(out))


def _filled(out: Path) -> list[str]:
    return [split for split in SPLITS if (out / split / "images").is_dir()]


WHO = {0: "anna", 1: "anna", 2: "bert", 3: "bert", 4: "carl", 5: "dora"}


@pytest.mark.parametrize(
    ("name", "table", "row"),
    [
        (lambda scan, level: f"volume-{scan:03d}_{level:04d}", "", ""),
        (lambda scan, level: f"scan{'ab'[scan % 2]}{scan}-{level + 9}", "", ""),  # 9, 10, 11: not in order as text
        (
            lambda scan, level: f"IMG_{100 * scan + level:04d}",
            "File;Scan;Patient",
            "{file};{scan};{patient}",
        ),
    ],
    ids=["volumes", "other names", "a column scan"],
)
def test_scans_stay_apart_and_patients_together(
    tmp_path: Path, name: Callable[[int, int], str], table: str, row: str
) -> None:
    raw = write_scans(tmp_path / "raw", name, WHO, table=table or "file,patient", row=row)
    done, layout = run(raw)
    assert (done.prepared, done.failed) == (6, ())
    assert done.dataset["patient_of"] == {"1": 0, "3": 2}
    patients = [patient for split in layout.splits for patient in layout.patients(split)]
    assert sorted(patients) == ["000", "002", "004", "005"], "each in one split"
    assert (layout.leaks(), layout.split_by) == ([], "patient")
    assert sorted(number for numbers in done.dataset["patients"].values() for number in numbers) == [0, 2, 4, 5]
    for samples in layout.splits.values():
        for sample in samples:
            assert {path.name[:10] for path in sample.neighbours(3)} == {f"volume-{int(sample.scan):03d}"}
    for scan in WHO:
        for level in range(LEVELS):
            (path,) = layout.root.glob(f"*/images/volume-{scan:03d}_{level:04d}.png")
            assert np.array_equal(load_png(path), grey(scan, level))
    assert not {one.kind for one in check_data(layout.root, workers=1).findings} & {"patient-leak", "twice"}


def test_patients_of_volumes(tmp_path: Path) -> None:
    raw = write_lits(tmp_path / "raw", [noise_patient(number, slices=LEVELS) for number in (3, 7, 8, 9)])
    (raw / "patients.csv").write_text("file;patient\nvolume-9.nii;7\nvolume-8.nii;someone\n")
    done, layout = run(raw, PrepareSettings(layout="lits", window_hu=WINDOW))
    assert done.dataset["patient_of"] == {"9": 7}
    assert sorted({sample.patient for samples in layout.splits.values() for sample in samples}) == ["003", "007", "008"]
    assert "someone" not in (layout.root / "dataset.json").read_text()
    assert layout.leaks() == []


def test_a_slice_of_a_scan_that_stands_twice_is_still_refused(tmp_path: Path) -> None:
    raw = write_masks(tmp_path / "raw", [noise_patient(0), noise_patient(1)])
    for kind in ("images", "masks"):
        save_png(raw / kind / "volume-0_1.png", np.zeros((256, 256), np.uint8))
    done, _ = run(raw)
    assert done.failed == (("0", "slice 1 stands there twice"),)


def test_two_scans_of_a_patient_in_two_splits_are_a_leak(tmp_path: Path) -> None:
    root = make_tiny_data(tmp_path / "data", patients=(1, 1, 1))
    (root / "dataset.json").write_text(json.dumps({"patient_of": {"2": 0}}))
    assert read_layout(root).leaks() == ["000"]
    assert [one.location for one in check_data(root, workers=1).findings if one.kind == "patient-leak"] == ["patient 0"]
    (root / "dataset.json").write_text(json.dumps({"patient_of": {"2": "someone"}}))
    assert read_layout(root).patients("test") == ["someone"]
    (root / "dataset.json").write_text(json.dumps({"patient_of": [2, 0]}))
    with pytest.raises(DataError, match="patient_of is not"):
        read_layout(root)
    assert [one.kind for one in check_data(root, workers=1).findings if one.severity == "error"] == ["dataset-json"]


def test_a_table_of_targets_may_tell_scans(tmp_path: Path) -> None:
    root = make_tiny_data(tmp_path / "data", slices=4)
    rows = [f"volume-003_{index:04d}.png,{index % 3},anna,{'ab'[index // 2]}" for index in range(4)]
    (root / "test" / "targets.csv").write_text("\n".join(["file,target,patient,scan", *rows]))
    samples = read_layout(root).splits["test"]
    assert [sample.scan for sample in samples] == ["a", "a", "b", "b"]
    numbers = [[int(path.stem[-1]) for path in sample.neighbours(3)] for sample in samples]
    assert numbers == [[0, 0, 1], [0, 1, 1], [2, 2, 3], [2, 3, 3]]


def splits_of(layout: Layout) -> dict[str, str]:
    return {sample.patient: split for split, samples in layout.splits.items() for sample in samples}


@pytest.mark.parametrize("seed", range(9))
def test_patients_who_were_assigned_stay_where_they_are(seed: int) -> None:
    few = [str(number) for number in range(4)]
    before = split_patients(few, seed, (50.0, 25.0, 25.0))
    for more in range(5, 30):
        after = split_patients([str(number) for number in range(more)], seed, (50.0, 25.0, 25.0), before)
        assert {patient: after[patient] for patient in few} == before
        assert set(after.values()) == set(SPLITS)
        before = after
        few = list(after)


def test_more_volumes_move_nobody_and_rename_nothing(tmp_path: Path) -> None:
    raw, name = tmp_path / "raw", lambda scan, level: f"volume-{scan:03d}_{level:04d}"
    settings = PrepareSettings(layout="masks", window_hu=WINDOW, fractions=(98.0, 1.0, 1.0))  # two are moved to fill
    few = {0: "dora", 1: "emil", 2: "fritz"}
    before = splits_of(run(write_scans(raw, name, few), settings)[1])
    # Patients whose names come before the others', and a scan more of one of them
    write_scans(raw, name, {**few, **{number: f"a{number}" for number in range(3, 8)}, 9: "emil"})
    done, layout = run(raw, settings, resume=True)
    after = splits_of(layout)
    assert done.kept == 3
    assert {patient: after[patient] for patient in before} == before
    records = json.loads((layout.root / "provenance.json").read_text())["volumes"]
    numbers = {(record["patient"], record["scan"]): record["number"] for record in records}
    assert [numbers[patient, str(scan)] for scan, patient in few.items()] == [0, 1, 2]
    assert done.dataset["patient_of"] == {str(numbers["emil", "9"]): 1}


def test_what_an_earlier_version_prepared_is_kept_and_stays(tmp_path: Path) -> None:
    raw, name = tmp_path / "raw", lambda scan, level: f"volume-{scan:03d}_{level:04d}"
    _, layout = run(write_scans(raw, name, {0: "dora", 1: "emil", 2: "fritz"}))
    path = layout.root / "provenance.json"
    before = json.loads(path.read_text())
    for record in before["volumes"]:
        del record["scan"], record["patient_number"]
    path.write_text(json.dumps(before))
    write_scans(raw, name, {0: "dora", 1: "emil", 2: "fritz", 3: "dora", 4: "anna"})
    done, again = run(raw, resume=True)
    assert done.kept == 3
    assert done.dataset["patient_of"] == {"4": 0}, "dora's second scan, after anna's"
    assert {patient: splits_of(again)[patient] for patient in splits_of(layout)} == splits_of(layout)


def test_an_empty_split_is_filled_by_new_patients_alone() -> None:
    before = {"a": "train", "b": "train"}
    people = ["a", "b", "c"]
    for seed in range(20):
        after = split_patients(people, seed, (98.0, 1.0, 1.0), before)
        assert {patient: after[patient] for patient in before} == before, "one split remains empty: nobody moves for it"
        assert after["c"] != "train"
    assert split_patients(people, 0, (98.0, 1.0, 1.0), dict.fromkeys(people, "train")) == dict.fromkeys(people, "train")


def test_liver_of_another_scan_holds_no_lesion(tmp_path: Path) -> None:
    root = make_tiny_data(tmp_path / "data", slices=3, patients=(2, 1, 1))
    (root / "dataset.json").write_text(json.dumps({"patient_of": {"1": 0}}))
    masks = root / "train" / "masks"
    for level in range(3):
        liver = np.zeros((256, 256), np.uint8)
        liver[100:140, 100:140] = 1
        save_png(masks / f"volume-001_{level:04d}.png", liver)
        save_png(masks / f"volume-000_{level:04d}.png", np.zeros((256, 256), np.uint8))
    lesion = np.zeros((256, 256), np.uint8)
    lesion[110:120, 110:120] = 2
    save_png(masks / "volume-000_0001.png", lesion)
    found = [one.location for one in check_data(root, workers=1).findings if one.kind == "lesion-outside-liver"]
    assert found == ["train/masks/volume-000_0001.png"]
