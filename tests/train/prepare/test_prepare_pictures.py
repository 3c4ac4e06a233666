"""What goes wrong in copies of LiTS as pictures: mask values, tables that lie, names, missing and broken files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lits_deploy.contract import window_to_uint8
from lits_deploy.errors import DataError
from lits_sources import (
    WINDOW,
    load_png,
    noise_patient,
    phantom_patient,
    save_png,
    write_masks,
    write_png,
)
from train.data.layout import read_layout
from train.prepare import PreparedData, PrepareSettings, prepare
from train.prepare.contents import SourcePicture
from train.prepare.folders import source_of
from train.prepare.orientation import ORIENTATIONS, reorient

PNG = PrepareSettings(layout="lits-png", window_hu=WINDOW)
MASKS = PrepareSettings(layout="masks", window_hu=WINDOW)


def records(out: Path) -> dict[str, dict[str, Any]]:
    return {record["patient"]: record for record in json.loads((out / "provenance.json").read_text())["volumes"]}


def names(out: Path, kind: str = "images") -> list[str]:
    return sorted(path.name for path in out.glob(f"*/{kind}/*.png"))


def find(out: Path, kind: str, name: str) -> np.ndarray[Any, Any]:
    (path,) = out.glob(f"*/{kind}/{name}")
    return load_png(path)


def run(raw: Path, settings: PrepareSettings) -> tuple[PreparedData, Path]:
    out = raw.with_name(f"{raw.name}-out")
    return prepare(raw, out, settings, workers=1), out


def test_masks_of_ones_and_of_255_are_both_full(tmp_path: Path) -> None:
    patients = [noise_patient(0), noise_patient(1)]
    done, out = run(write_png(tmp_path / "raw", patients, on={0: 1, 1: 255}), PNG)
    for patient in patients:
        for level, labels in enumerate(patient.labels):
            assert np.array_equal(find(out, "masks", f"volume-{patient.number:03d}_{level:04d}.png"), labels)
    assert sum(counts[2] for counts in done.dataset["slices_per_class"].values()) == 2


def test_flags_are_counted_and_never_believed(tmp_path: Path) -> None:
    raw = write_png(tmp_path / "raw", [noise_patient(0)])
    done, out = run(raw, PNG)
    notes = "\n".join(done.notes)
    for column in ("liver_mask_empty", "tumor_mask_empty"):
        assert f"lits_df.csv: {column} disagrees with the pixels on 4 of 4 slices (inverted)" in notes
    assert "lits_probe.csv: duplicates of the test set, skipped" in notes
    assert json.loads((out / "provenance.json").read_text())["head"]["notes"] == [*done.warnings, *done.notes]
    honest, _ = run(write_png(tmp_path / "honest", [noise_patient(0)], flags="honest"), PNG)
    assert not any("disagrees" in note for note in honest.notes)
    assert honest.dataset["slices_per_class"] == done.dataset["slices_per_class"]
    (raw / "lits_df.csv").write_bytes(b"filepath,liver_mask_empty\n\xff\xfe,maybe\n")
    again = prepare(raw, tmp_path / "again", PNG, workers=1)
    assert "lits_df.csv: not a readable table, left out" in again.notes


def test_slice_numbers_come_from_names_and_do_not_wrap(tmp_path: Path) -> None:
    raw = write_png(tmp_path / "raw", [noise_patient(3)], numbers=(4, 255, 256, 260))
    assert "260,3" not in (raw / "lits_df.csv").read_text()
    assert ",4," in (raw / "lits_df.csv").read_text().splitlines()[-1]  # 260 wrapped
    _, out = run(raw, PNG)
    assert names(out) == [f"volume-003_{number:04d}.png" for number in (4, 255, 256, 260)]
    record = records(out)["3"]
    assert record["slices"]["number"] == [4, 255, 256, 260]
    path, *hashes = record["files"][3]
    assert path == "dataset_6/volume-3_260.png"
    assert [len(each) for each in hashes] == [64, 64, 64]


def test_hidden_files_and_the_probe_folder_are_skipped(tmp_path: Path) -> None:
    raw = write_png(tmp_path / "raw", [noise_patient(0)])
    shutil.copytree(raw / "dataset_6", raw / "lits_probe" / "dataset_6")
    for folder in (raw / "dataset_6", raw / "__MACOSX" / "dataset_6", raw / ".cache"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "._volume-0_0.png").write_bytes(b"macOS")
    save_png(raw / "__MACOSX" / "dataset_6" / "volume-5_0.png", np.zeros((256, 256), np.uint8))
    done, _ = run(raw, PNG)
    assert (done.prepared, done.failed) == (1, ())
    assert "lits_probe, lits_probe.csv: duplicates of the test set, skipped" in done.notes


def test_a_broken_slice_fails_its_volume_alone(tmp_path: Path) -> None:
    raw = write_png(tmp_path / "raw", [noise_patient(number, slices=3) for number in range(8)])
    folder = raw / "dataset_6"
    (folder / "segmentation-1_lesionmask_2.png").unlink()
    (folder / "volume-2_1.png").write_bytes((folder / "volume-2_1.png").read_bytes()[:900])
    (folder / "segmentation-3_livermask_0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    save_png(
        folder / "segmentation-4_livermask_1.png", np.arange(65536, dtype=np.uint16).astype(np.uint8).reshape(256, 256)
    )
    save_png(folder / "segmentation-5_livermask_1.png", np.zeros((128, 128), np.uint8))
    Image.new("RGB", (256, 256), (200, 10, 10)).save(folder / "volume-6_0.png")
    (raw / "more").mkdir()
    shutil.copy(folder / "volume-7_0.png", raw / "more")
    save_png(folder / "segmentation-9_livermask_0.png", np.zeros((256, 256), np.uint8))
    done, out = run(raw, PNG)
    reasons = dict(done.failed)
    for patient, says in {
        "1": "no segmentation-1_lesionmask_2.png",
        "2": "volume-2_1.png: ",
        "3": "livermask_0.png: the PNG",
        "4": "values 1, 2, 3, 4 beside 0",
        "5": "is 256×256, its mask 128×128",
        "6": "colour, not grey",
        "7": "slice 0 stands there twice",
    }.items():
        assert says in reasons.pop(patient), patient
    assert reasons == {}
    assert names(out) == names(out, "masks") == [f"volume-000_{level:04d}.png" for level in range(3)]
    assert any("1 masks without a slice of volumes 9" in note for note in done.notes)


def test_reoriented_pictures_are_found_and_reoriented_back(tmp_path: Path) -> None:
    patient = phantom_patient(2)
    mirrored = type(patient)(
        2, *(reorient(pixels, ORIENTATIONS.index("mirrored left to right")) for pixels in (patient.hu, patient.labels))
    )
    raw = write_png(tmp_path / "raw", [mirrored])
    done, _ = run(raw, PNG)
    assert done.orientation == {"mirrored left to right": ["2"]}
    fixed = PrepareSettings(layout="lits-png", window_hu=WINDOW, fix_orientation=True)
    prepare(raw, tmp_path / "fixed", fixed, workers=1)
    for level in range(len(patient.hu)):
        name = f"volume-002_{level:04d}.png"
        assert np.array_equal(find(tmp_path / "fixed", "images", name), window_to_uint8(patient.hu[level], WINDOW))
        assert np.array_equal(find(tmp_path / "fixed", "masks", name), patient.labels[level])


def test_an_undeclared_window_stays_unknown(tmp_path: Path) -> None:
    raw = write_png(tmp_path / "raw", [noise_patient(number) for number in range(3)])
    done = prepare(raw, tmp_path / "out", PrepareSettings(layout="lits-png", window_hu=None), workers=1)
    assert done.dataset["window_hu"] is None
    assert read_layout(tmp_path / "out").window_hu is None


def test_patients_from_a_table_and_other_names(tmp_path: Path) -> None:
    patient = noise_patient(0, slices=6)
    rows = ["file,patient"]
    for index, (person, name) in enumerate([("anna", "z"), ("anna", "b"), ("5", "c"), ("bert", "d"), ("anna", "a")]):
        save_png(tmp_path / "raw" / "images" / f"{name}.png", window_to_uint8(patient.hu[index], WINDOW))
        save_png(tmp_path / "raw" / "masks" / f"{name}_mask.png", patient.labels[index])
        rows.append(f"images/{name}.png,{person}")
    (tmp_path / "raw" / "patients.csv").write_text("\n".join(rows), encoding="utf-8-sig")
    _, out = run(tmp_path / "raw", MASKS)
    assert names(out) == [f"volume-{number:03d}_0000.png" for number in (5, 6, 7, 8, 9)]  # letters tell no order
    assert json.loads((out / "dataset.json").read_text())["patient_of"] == {"7": 6, "8": 6}
    assert np.array_equal(find(out, "masks", "volume-008_0000.png"), patient.labels[0])  # anna's z.png, after a and b


@given(st.permutations([3, 9, 10, 21, 100]))
@settings(max_examples=20, deadline=None)
def test_slices_are_numbered_as_they_lie_and_gaps_stay(numbers: list[int]) -> None:
    entries = [(SourcePicture(image=Path(f"anna_slice_{number}.png"), masks=(), number=-1), None) for number in numbers]
    found = source_of("anna", "anna_slice_#", entries)
    assert [(one.image.name, one.number) for one in found.pictures] == [
        ("anna_slice_3.png", 0),
        ("anna_slice_9.png", 6),
        ("anna_slice_10.png", 7),
        ("anna_slice_21.png", 18),
        ("anna_slice_100.png", 97),
    ]
    assert found.problem is None


def test_copies_count_once(tmp_path: Path) -> None:
    source = noise_patient(0, slices=3)
    raw = write_masks(tmp_path / "raw", [noise_patient(number) for number in (1, 2)])
    for level in range(3):
        save_png(raw / "images" / f"scan_{level}.png", window_to_uint8(source.hu[level], WINDOW))
        save_png(raw / "masks" / f"scan_{level}.png", source.labels[level])
    for name in ("scan_1 (1)", "scan_1 (2)", "volume-001_0000 (1)"):  # the masks of none were copied
        shutil.copy(raw / "images" / f"{name.partition(' ')[0]}.png", raw / "images" / f"{name}.png")
    files = [path.name for path in (raw / "images").iterdir() if path.name.startswith("scan")]
    (raw / "patients.csv").write_text("\n".join(["file,patient", *(f"{name},7" for name in files)]))
    done, out = run(raw, MASKS)
    assert done.failed == ()
    assert [name for name in names(out) if "007" in name] == [f"volume-007_{level:04d}.png" for level in range(3)]
    assert len([name for name in names(out) if "001" in name[:10]]) == 4
    assert "volume 7/scan_#: 2 pictures are copies of others: left out" in done.notes
    save_png(raw / "images" / "scan_1 (1).png", window_to_uint8(source.hu[2], WINDOW))
    again = prepare(raw, tmp_path / "again", MASKS, workers=1)
    assert again.failed == (("7/scan_#", "scan_1 (1).png has no mask scan_1 (1).png (2 such slices)"),)
    save_png(raw / "masks" / "scan_1 (1).png", source.labels[2])
    last = prepare(raw, tmp_path / "last", MASKS, workers=1)
    assert last.failed == (("7/scan_#", "slice 1 stands there twice"),)
    shutil.copy(raw / "images" / "scan_1.png", raw / "images" / "scan_1 (1).png")
    other = prepare(raw, tmp_path / "other", MASKS, workers=1)
    assert other.failed == (("7/scan_#", "scan_1 (1).png is a copy with another mask"),)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (("art_1", "art_2", "ven_1", "ven_2"), "slice 1 stands there twice"),
        (("a", "b"), "nothing tells the order of its slices"),
        (("a", "b_2", "b_3"), "nothing tells the order of its slices"),
    ],
)
def test_what_a_table_mixes_in_one_scan_is_refused(tmp_path: Path, files: tuple[str, ...], says: str) -> None:
    raw = write_masks(tmp_path / "raw", [noise_patient(number) for number in range(3)])
    rows = ["file,patient,scan"]
    for level, name in enumerate(files):
        for kind in ("images", "masks"):
            shutil.copy(raw / kind / f"volume-000_{level:04d}.png", raw / kind / f"{name}.png")
        rows.append(f"{name}.png,anna,one")
    (raw / "patients.csv").write_text("\n".join(rows))
    done, out = run(raw, MASKS)
    assert done.failed == (("anna/one", says + (": number their names" if "order" in says else "")),)
    assert {name[:10] for name in names(out)} == {f"volume-{number:03d}" for number in range(3)}


def test_jpeg_images_and_other_sizes_are_read_as_the_edge_reads_them(tmp_path: Path) -> None:
    patient = noise_patient(0, size=512, slices=1)
    (tmp_path / "raw" / "images").mkdir(parents=True)
    grey = window_to_uint8(patient.hu[0], WINDOW)
    Image.fromarray(grey).save(tmp_path / "raw" / "images" / "volume-0_slice_17.jpg", quality=95)
    save_png(tmp_path / "raw" / "masks" / "volume-0_slice_17_mask.png", patient.labels[0])
    _, out = run(tmp_path / "raw", MASKS)
    with Image.open(tmp_path / "raw" / "images" / "volume-0_slice_17.jpg") as picture:
        assert np.array_equal(find(out, "images", "volume-000_0017.png"), np.asarray(picture.reduce(2)))
    assert records(out)["0"]["source_size"] == 512


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda raw: (raw / "masks" / "volume-000_0001.png").unlink(), "has no mask volume-000_0001"),
        (lambda raw: save_png(raw / "masks" / "volume-000_0001.png", np.full((256, 256), 255, np.uint8)), "0=0,255=1"),
        (lambda raw: Image.new("RGB", (256, 256), "blue").save(raw / "masks" / "volume-000_0001.png"), "value 0000ff"),
        (lambda raw: save_png(raw / "images" / "volume-0_1.png", np.zeros((256, 256), np.uint8)), "has no mask"),
    ],
)
def test_bad_masks_fail_their_patient(tmp_path: Path, spoil: Any, says: str) -> None:
    raw = write_masks(tmp_path / "raw", [noise_patient(0), noise_patient(1)])
    spoil(raw)
    done, out = run(raw, MASKS)
    ((patient, reason),) = done.failed
    assert patient == "0"
    assert says in reason
    assert {name[:10] for name in names(out)} == {"volume-001"}


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (None, "tells no patient"),
        ("image,who\n", "needs the columns file and patient"),
        ("file,patient\na.png,\n", "tells no patient"),
    ],
)
def test_names_without_a_patient_name_the_fix(tmp_path: Path, table: str | None, says: str) -> None:
    save_png(tmp_path / "raw" / "images" / "a.png", np.zeros((256, 256), np.uint8))
    save_png(tmp_path / "raw" / "masks" / "a.png", np.zeros((256, 256), np.uint8))
    if table is not None:
        (tmp_path / "raw" / "patients.csv").write_text(table)
    with pytest.raises(DataError, match=says):
        prepare(tmp_path / "raw", tmp_path / "out", MASKS)


def test_half_split_sources_are_refused(tmp_path: Path) -> None:
    write_masks(tmp_path / "raw", [noise_patient(0)])
    write_masks(tmp_path / "raw", [noise_patient(1)], split="train")
    with pytest.raises(DataError, match="folders of splits"):
        prepare(tmp_path / "raw", tmp_path / "out", MASKS)
