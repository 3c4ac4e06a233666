"""`check_data` finds what is planted, says where, and finds nothing in clean data."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from lits_deploy.contract import window_to_uint8
from lits_deploy.errors import DataError, OutputError, UserError
from phantom_data import SLICES, SPLITS, WINDOW, body, make_phantom_data, save_slice
from pictures import encoded, png_header
from train.check import CheckReport, Finding, check_data, draw_montage
from train.check.duplicates import BANDS, MOST_DIFFERENT, find_copies, fingerprint
from train.check.lesions import loose_pixels, still_loose

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_phantom_data(tmp_path_factory.mktemp("clean") / "data")


@pytest.fixture
def data(clean: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(clean, tmp_path / "data"))


def check(root: Path, **options: Any) -> CheckReport:
    return check_data(root, workers=1, **options)


def found(report: CheckReport) -> list[tuple[str, str, str]]:
    return [(f.severity, f.kind, f.location) for f in report.findings]


def only(report: CheckReport, kind: str) -> Finding:
    (finding,) = (f for f in report.findings if f.kind == kind)
    return finding


def image(root: Path, split: str = "train", level: int = 5, kind: str = "images") -> Path:
    return root / split / kind / f"volume-{SPLITS.index(split):03d}_{level:04d}.png"


def liver_level(patient: int) -> int:
    """The slice with the most liver."""
    return int((body(patient).labels > 0).sum(axis=(1, 2)).argmax())


# clean data


def test_clean_data_has_the_right_table_and_no_findings(clean: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = check(clean, progress=lambda *done: seen.append(done))
    assert report.findings == []
    for number, split in enumerate(SPLITS):
        row = report.splits[split]
        classes = np.bincount(body(number).labels.max(axis=(1, 2)), minlength=3)
        assert row.per_class == tuple(classes)
        assert row.patients == [str(number)]
        assert row.to_json()["shares"] == pytest.approx(classes / SLICES, abs=1e-4)
    assert report.splits["all"].slices == 3 * SLICES
    assert report.sizes == {256: 3 * SLICES}
    assert seen[-1] == (3 * SLICES, 3 * SLICES)
    liver = np.concatenate([body(p).hu[body(p).labels == 1] for p in range(3)])
    grey = report.intensity
    assert grey["liver_hu"]["lowest_patient"] <= np.median(liver) <= grey["liver_hu"]["highest_patient"]
    assert grey["share_at_0"] == pytest.approx(
        np.mean([(window_to_uint8(body(p).hu, WINDOW) == 0).mean() for p in range(3)]), abs=1e-3
    )


def test_processes_do_not_change_the_report(data: Path) -> None:
    image(data).write_bytes(b"broken")
    assert check_data(data, workers=2).to_json() == check(data).to_json()


def test_json_is_plain_and_complete(data: Path) -> None:
    image(data).write_bytes(b"broken")
    document = json.loads(json.dumps(check(data).to_json(), allow_nan=False))
    assert (document["errors"], document["warnings"], document["slices"]) == (1, 0, 3 * SLICES)
    assert document["splits"]["train"]["slices_per_class"] == list(check(data).splits["train"].per_class)
    assert set(document["findings"][0]) == {"severity", "kind", "location", "message"}
    assert "not for clinical use" in document["disclaimer"]


@pytest.mark.slow
def test_real_data_has_the_table_of_its_readme_and_only_volume_25(shared_data: Path) -> None:
    report = check_data(shared_data / "lits", window=WINDOW)
    rows = {name: (len(row.patients), *row.per_class, row.slices) for name, row in report.splits.items()}
    assert rows["train"] == (17, 1938, 697, 240, 2875)
    assert rows["validate"] == (4, 397, 211, 60, 668)
    assert rows["test"] == (5, 512, 263, 153, 928)
    assert report.splits["validate"].patients == ["8", "12", "36", "47"]
    assert found(report) == [("warning", "empty-masks", "patient 25")]


# leaks


def test_patient_in_two_splits_is_an_error_unless_marked(data: Path) -> None:
    stem = "volume-0_0099"  # the same patient with another number of zeros
    level = body(1)
    save_slice(data / "test", stem, window_to_uint8(level.hu[3], WINDOW), level.labels[3])
    leak = only(check(data), "patient-leak")
    assert (leak.severity, leak.location) == ("error", "patient 0")
    assert "train (12 slices), test (1 slices)" in leak.message

    (data / "dataset.json").write_text(json.dumps({"window_hu": WINDOW, "split_by": "slice"}))
    report = check(data)
    assert report.count("error") == 0
    assert "leaky" in only(report, "split-by-slice").message
    assert report.to_json()["split_by"] == "slice"


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(encoded(pixels, "JPEG", quality=quality))))


def brighter(pixels: Pixels, levels: int) -> Pixels:
    return np.clip(pixels.astype(int) + levels, 0, 255).astype(np.uint8)


def resized(pixels: Pixels, side: int) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))


COPIES: dict[str, Callable[[Pixels], Pixels]] = {
    "itself": lambda p: p,
    "re-encoded": lambda p: jpeg(p, 50),
    "brightened": lambda p: brighter(p, 10),
    "enlarged": lambda p: resized(p, 512),
    "all three": lambda p: brighter(jpeg(resized(p, 512), 50), 10),
}


@pytest.mark.parametrize("how", COPIES)
def test_copy_under_another_patients_name_is_found(data: Path, how: str) -> None:
    original = image(data, "train", liver_level(0))
    pixels = COPIES[how](np.asarray(Image.open(original)))
    labels = resized(np.asarray(Image.open(image(data, "train", liver_level(0), "masks"))), pixels.shape[0]).clip(0, 2)
    save_slice(data / "test", "volume-777_0001", pixels, labels)
    copy = only(check(data), "near-duplicate")
    assert (copy.severity, copy.location) == ("error", "test/images/volume-777_0001.png")
    assert f"train/images/{original.name}" in copy.message
    assert "patient 0 in train and patient 777 in test" in copy.message


def test_every_slice_of_a_renamed_patient_is_one_finding(data: Path) -> None:
    for level in range(SLICES):
        for kind in ("images", "masks"):
            shutil.copy(image(data, "train", level, kind), data / "test" / kind / f"volume-777_{level:04d}.png")
    assert "12 such pairs" in only(check(data), "near-duplicate").message


@pytest.mark.parametrize(
    ("stem", "whose", "kinds"),
    [
        ("volume-777_0001", "patients 0 and 777", ["copy"]),
        ("volume-000_0005 (1)", "patient 0", ["copy", "order"]),  # two slices have the number 5
    ],
)
def test_copies_within_a_split_are_no_leak_but_count_twice(data: Path, stem: str, whose: str, kinds: list[str]) -> None:
    for kind in ("images", "masks"):
        shutil.copy(image(data, "train", 5, kind), data / "train" / kind / f"{stem}.png")
    assert image(data, "train", 5).read_bytes() != image(data, "train", 6).read_bytes()
    report = check(data)
    copy = only(report, "copy")
    assert [finding.kind for finding in report.findings] == kinds
    assert copy.severity == "warning"
    assert f"1 such pair of {whose}: they count twice" in copy.message
    assert {copy.location, copy.message.split()[4].rstrip(";")} >= {"train/images/volume-000_0005.png"}


def rename(data: Path, split: str, new: Callable[[int], str]) -> None:
    for level in range(SLICES):
        for kind in ("images", "masks"):
            path = image(data, split, level, kind)
            path.rename(path.with_name(new(level)))


def test_what_has_no_order_is_said_once_a_split(data: Path) -> None:
    rename(data, "train", lambda level: f"volume-000_{level // 2:0{2 + level % 2}d}.png")  # 00 and 000 are one number
    doubt = only(check(data), "order")
    assert (doubt.severity, doubt.location) == ("warning", "train/images/volume-000_00.png")
    assert "slices lie at one position, and nothing tells them apart (1 scan, 12 slices)" in doubt.message


def test_gaps_are_a_note_unless_other_splits_fill_them(data: Path) -> None:
    rename(data, "train", lambda level: f"volume-000_{2 * level + 6 * (level > 7)}.png")
    gap = only(check(data), "gaps")
    assert (gap.severity, gap.location) == ("note", "train/images/volume-000_0.png")
    assert "(1 scan, 12 slices): by their numbers 3 are missing" in gap.message
    (data / "dataset.json").write_text(json.dumps({"window_hu": WINDOW, "split_by": "slice"}))
    assert [finding.kind for finding in check(data).findings] == ["split-by-slice"]


def test_lesions_are_held_by_slices_in_their_order_not_in_that_of_names(data: Path) -> None:
    liver = np.zeros((256, 256), np.uint8)
    liver[100:140, 100:140] = 1
    lesion = np.zeros((256, 256), np.uint8)
    lesion[110:120, 110:120] = 2
    for level in range(SLICES):
        Image.fromarray({2: liver, 3: lesion}.get(level, liver * 0)).save(image(data, "train", level, "masks"))
    rename(data, "train", lambda level: f"volume-000_{level + 7}.png")  # the two are 9 and 10
    assert not [one for one in check(data).findings if one.kind == "lesion-outside-liver"]


def test_search_agrees_with_all_pairs_compared() -> None:
    rng = np.random.default_rng(3)
    base = rng.integers(0, 2, (40, BANDS * 32), dtype=np.uint8)
    rows = []
    for row in base:  # copies with a known number of bits flipped, around the limit
        rows.append(row)
        for flips in (0, 7, MOST_DIFFERENT, MOST_DIFFERENT + 1):
            other = row.copy()
            other[rng.choice(len(row), flips, replace=False)] ^= 1
            rows.append(other)
    bits = np.stack(rows)
    splits, people = rng.integers(0, 3, len(bits)).tolist(), list(range(len(bits)))
    expected = {
        (i, j, int((bits[i] ^ bits[j]).sum()))
        for i in range(len(bits))
        for j in range(i + 1, len(bits))
        if splits[i] != splits[j] and (bits[i] ^ bits[j]).sum() <= MOST_DIFFERENT
    }
    codes = [np.packbits(row).tobytes() for row in bits]
    assert {(c.first, c.second, c.bits) for c in find_copies(codes, splits, people)} == expected
    assert len(expected) > 40
    assert find_copies(codes, splits, [0] * len(bits)) == []
    assert find_copies([None] * 3, [0, 1, 2], [0, 1, 2]) == []


def test_search_is_quick_among_many() -> None:
    rng = np.random.default_rng(4)
    many = 58_638
    codes: list[bytes | None] = [row.tobytes() for row in rng.integers(0, 256, (many, BANDS * 4), dtype=np.uint8)]
    codes[50_000] = codes[10]
    splits = [0] * 41_000 + [1] * 8_800 + [2] * (many - 49_800)
    pairs = find_copies(codes, splits, list(range(many)))
    assert [(pair.first, pair.second) for pair in pairs] == [(10, 50_000)]


def test_blank_slices_have_no_fingerprint_and_are_not_copies(data: Path) -> None:
    assert fingerprint(np.zeros((256, 256), np.uint8)) is None
    assert fingerprint(np.random.default_rng(0).integers(0, 9, (256, 256), dtype=np.uint8)) is None
    for split in ("train", "test"):
        blank = np.zeros((256, 256), np.uint8)
        save_slice(data / split, f"volume-{SPLITS.index(split):03d}_{SLICES:04d}", blank, blank)
    report = check(data)
    assert report.findings == []
    assert report.nearly_blank == 2


# broken files


def sixteen_bits(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint16) * 257).save(buffer, "PNG")
    return buffer.getvalue()


def coloured(pixels: Pixels) -> bytes:
    return encoded(np.stack([pixels, pixels // 2, 255 - pixels], axis=2))


BROKEN: dict[str, tuple[Callable[[bytes, Pixels], bytes], str]] = {
    "truncated": (lambda data, _: data[: len(data) // 2], "truncated"),
    "empty": (lambda data, _: b"", "empty"),
    "text": (lambda data, _: b"hello", "neither PNG nor JPEG"),
    "bomb": (lambda data, _: png_header(60_000, 60_000), "decompression bomb"),
    "small bomb": (lambda data, _: png_header(9_000, 9_000), "decompression bomb"),
    "colour": (lambda _, pixels: coloured(pixels), "colour"),
    "16 bit": (lambda _, pixels: sixteen_bits(pixels), "16 bits"),
    "oblong": (lambda _, pixels: encoded(pixels[:100]), "not square"),
    "flipped byte": (lambda data, _: data[:400] + bytes([data[400] ^ 1]) + data[401:], "checksum"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_broken_picture_is_one_finding(data: Path, how: str) -> None:
    spoil, says = BROKEN[how]
    path = image(data)
    path.write_bytes(spoil(path.read_bytes(), np.asarray(Image.open(path))))
    report = check(data)
    assert found(report) == [("error", "unreadable-image", "train/images/volume-000_0005.png")]
    assert says in report.findings[0].message
    assert report.splits["train"].slices == SLICES


def test_dangling_link_and_folder_named_like_a_picture(data: Path) -> None:
    image(data).unlink()
    image(data).symlink_to("nowhere.png")
    (data / "train" / "images" / "odd.png").mkdir()
    finding = only(check(data), "unreadable-image")
    assert "no such file" in finding.message


BROKEN_MASKS: dict[str, tuple[Callable[[Path], bytes], str, str]] = {
    "truncated": (lambda p: p.read_bytes()[:-40], "unreadable-mask", "truncated"),
    "text": (lambda p: b"hello", "unreadable-mask", "not a PNG"),
    "empty": (lambda p: b"", "unreadable-mask", "empty"),
    "bomb": (lambda p: png_header(60_000, 60_000), "unreadable-mask", "bomb"),
    "small bomb": (lambda p: png_header(9_000, 9_000), "unreadable-mask", "bomb"),
    "0 and 255": (lambda p: encoded(np.asarray(Image.open(p)) * np.uint8(255)), "mask-labels", "255"),
    "half as large": (lambda p: encoded(np.asarray(Image.open(p))[::2, ::2]), "mask-size", "128×128"),
    "oblong": (lambda p: encoded(np.asarray(Image.open(p))[:, :200]), "unreadable-mask", "not square"),
}


@pytest.mark.parametrize("how", BROKEN_MASKS)
def test_broken_mask_is_one_finding(data: Path, how: str) -> None:
    spoil, kind, says = BROKEN_MASKS[how]
    path = image(data, "validate", liver_level(1), "masks")
    path.write_bytes(spoil(path))
    report = check(data)
    assert found(report) == [("error", kind, f"validate/masks/{path.name}")]
    assert says in report.findings[0].message
    assert report.splits["validate"].without_class == (0 if kind == "mask-size" else 1)


def test_pictures_and_masks_without_each_other(data: Path) -> None:
    image(data, "train", 3, "masks").unlink()
    image(data, "test", 4).unlink()
    (data / "test" / "masks" / "._volume-002_0004.png").write_bytes(b"of a Mac")
    assert found(check(data)) == [
        ("error", "no-image", "test/masks/volume-002_0004.png"),
        ("error", "no-mask", "train/images/volume-000_0003.png"),
        ("note", "gaps", "test/images/volume-002_0000.png"),
    ]


def test_many_troubles_at_once_all_come_out(data: Path) -> None:
    image(data, "train", 1).write_bytes(png_header(60_000, 60_000))
    image(data, "train", 2, "masks").write_bytes(b"\x89PNG\r\n\x1a\n")
    shutil.copy(image(data, "train", 5), image(data, "train", 5).with_suffix(".jpg"))
    shutil.copy(image(data, "test", 5), data / "test" / "images" / "anna.png")
    (data / "test" / "images" / "notes.txt").write_text("mine")
    shutil.rmtree(data / "validate")
    kinds = {kind for _, kind, _ in found(check(data))}
    assert kinds == {
        "unreadable-image",
        "unreadable-mask",
        "twice",
        "no-mask",
        "no-patient",
        "other-files",
        "split-missing",
        "order",
        "copy",
    }


def test_strange_file_names_stay_on_one_line(data: Path) -> None:
    image(data).rename(data / "train" / "images" / "volume-000_0005\nerror: x.png")
    report = check(data)
    assert all("\n" not in f.location + f.message for f in report.findings)
    assert only(report, "no-mask").location == "train/images/volume-000_0005\\x0aerror: x.png"


# masks


def test_patient_whose_every_mask_is_empty(data: Path) -> None:
    for path in (data / "validate" / "masks").iterdir():
        path.write_bytes(encoded(np.zeros((256, 256), np.uint8)))
    report = check(data)
    absent = ("warning", "class-absent", "validate")
    assert found(report) == [absent, absent, ("warning", "empty-masks", "patient 1")]
    assert report.splits["validate"].per_class == (SLICES, 0, 0)


def test_tumour_outside_the_liver(data: Path) -> None:
    path = image(data, "train", 0, "masks")  # the pelvis
    labels = np.array(Image.open(path))
    assert labels.max() == 0
    labels[200:220, 200:230] = 2
    path.write_bytes(encoded(labels))
    report = check(data)
    assert found(report) == [("warning", "lesion-outside-liver", "train/masks/volume-000_0000.png")]
    assert "600 lesion pixels" in report.findings[0].message


def test_lesion_held_by_its_neighbours_is_inside() -> None:
    liver = np.zeros((256, 256), np.uint8)
    liver[100:150, 50:120] = 1
    rim, below, lower, far = (np.zeros_like(liver) for _ in range(4))
    rim[100:150, 50:120] = 1
    rim[100:110, 123:130] = 2  # three pixels off the rim
    below[120:140, 90:119] = 2  # under the liver, without liver in the slice
    lower[130:145, 100:125] = 2  # held by the lesion above it
    far[200:210, 200:210] = 2
    assert not loose_pixels(rim).any()
    stack = [far, lower, below, liver]
    loose = {0: loose_pixels(far), 1: loose_pixels(lower), 2: loose_pixels(below)}
    assert all(pixels.any() for pixels in loose.values())
    left = still_loose(loose, lambda position: stack[position], len(stack))
    assert {position: int(pixels.sum()) for position, pixels in left.items()} == {0: 100}


def test_sizes_that_differ_and_a_set_of_another_size(data: Path, tmp_path: Path) -> None:
    path = image(data)
    for kind in ("images", "masks"):
        path = image(data, kind=kind)
        path.write_bytes(encoded(np.asarray(Image.open(path).resize((512, 512), Image.Resampling.NEAREST))))
    report = check(data)
    assert found(report) == [("warning", "sizes", "data set")]
    assert "35 of 256×256, 1 of 512×512" in report.findings[0].message


# window


@pytest.mark.parametrize("window", [(-160.0, 240.0), (-200.0, 250.0), (-75.0, 175.0)])
def test_other_windows_rightly_declared_are_fine(tmp_path: Path, window: tuple[float, float]) -> None:
    assert check(make_phantom_data(tmp_path, made_with=window, declared=window)).findings == []


@pytest.mark.parametrize(
    ("made_with", "declared"),
    [
        ((60, 260), WINDOW),
        ((160, 360), WINDOW),
        ((-140, 60), WINDOW),
        ((-160, 240), WINDOW),
        ((-200, 200), WINDOW),
        ((-1000, 1000), WINDOW),
        (WINDOW, (60, 260)),
        (WINDOW, (-160, 240)),
        (WINDOW, (-1000, 1000)),
    ],
)
def test_wrong_window_is_found(tmp_path: Path, made_with: tuple[float, float], declared: tuple[float, float]) -> None:
    wrong = only(check(make_phantom_data(tmp_path, made_with=made_with, declared=declared)), "window")
    assert (wrong.severity, wrong.location) == ("error", "data set")
    assert "give the window that the slices were made with" in wrong.message.lower()


def test_window_can_be_given_in_place_of_the_declared(clean: Path) -> None:
    assert only(check(clean, window=(60, 260)), "window").severity == "error"
    with pytest.raises(UserError, match="LOW < HIGH"):
        check(clean, window=(160, -40))


def test_one_patient_of_another_window_is_named(data: Path) -> None:
    for level, hu in enumerate(body(2).hu):
        image(data, "test", level).write_bytes(encoded(window_to_uint8(hu, (160.0, 360.0))))
    for number in (3, 4, 5):  # enough others that the set as a whole is right
        for level, (hu, labels) in enumerate(zip(body(number).hu, body(number).labels, strict=True)):
            save_slice(data / "train", f"volume-{number:03d}_{level:04d}", window_to_uint8(hu, WINDOW), labels)
    assert found(check(data)) == [("warning", "window", "patient 2")]


def test_unknown_window_is_a_note_and_inverted_pictures_a_warning(data: Path) -> None:
    (data / "dataset.json").unlink()
    assert found(check(data)) == [("note", "window-unknown", "data set")]
    for split in SPLITS:
        for path in (data / split / "images").iterdir():
            path.write_bytes(encoded(255 - np.asarray(Image.open(path))))
    assert ("warning", "white", "data set") in found(check(data))
    assert ("warning", "no-air", "data set") in found(check(data, window=WINDOW))


# tables and declarations


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ('{"window_hu": [160, -40]}', "window_hu"),
        ('{"window_hu": "wide"}', "window_hu"),
        ('{"window_hu": [1]}', "window_hu"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_bad_dataset_json_is_a_finding(data: Path, text: str, says: str) -> None:
    (data / "dataset.json").write_text(text)
    finding = only(check(data), "dataset-json")
    assert finding.severity == "error"
    assert says in finding.message


def test_targets_csv_in_place_of_masks(data: Path) -> None:
    shutil.rmtree(data / "test" / "masks")
    table = data / "test" / "targets.csv"
    names = sorted(path.name for path in (data / "test" / "images").iterdir())
    rows = [f"{name},{index % 3},anna" for index, name in enumerate(names)]
    table.write_text("\n".join(["file,target,patient", *rows]))
    report = check(data)
    assert report.findings == []
    assert report.splits["test"].per_class == (4, 4, 4)
    assert report.splits["test"].patients == ["anna"]

    table.write_text("\n".join(["file,target,patient", *rows[:-2], f"{names[-2]},9,anna", "gone.png,1,anna"]))
    assert found(check(data)) == [
        ("error", "no-target", f"test/images/{names[-1]}"),
        # a slice without a row takes its patient from its name
        ("error", "targets", "test/targets.csv"),
        ("warning", "no-image", "test/targets.csv"),
    ]
    table.write_bytes(b"file,target\n\x81\xfe,1")
    assert "cannot be read as CSV" in only(check(data), "targets").message
    table.write_text("file\n")
    assert "needs the columns" in only(check(data), "targets").message


def test_no_data_at_all_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="data phantom"):
        check(tmp_path / "none")
    with pytest.raises(DataError, match="holds no training data"):
        check(tmp_path)


# contact sheet


def test_montage_shows_contours_and_is_the_same_twice(clean: Path, tmp_path: Path) -> None:
    report = check(clean)
    draw_montage(tmp_path / "a.png", report)
    draw_montage(tmp_path / "b.png", report)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    sheet = np.asarray(Image.open(tmp_path / "a.png")).astype(int)
    green = (sheet == (60, 220, 90)).all(axis=2)
    red = (sheet == (255, 70, 70)).all(axis=2)
    assert green.sum() > 1000
    assert 20 < red.sum() < green.sum()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_montage_leaves_out_what_is_broken_and_refuses_other_names(data: Path, tmp_path: Path) -> None:
    report = check(data)
    for path in (data / "train" / "images").iterdir():
        path.write_bytes(b"broken since")
    draw_montage(tmp_path / "sheet.png", report)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 1000
    for name in ("sheet.jpg", "data"):
        with pytest.raises(OutputError, match="not the name of a PNG"):
            draw_montage(tmp_path / name, report)
    with pytest.raises(OutputError, match="cannot be written"):
        draw_montage(Path("/proc/sheet.png"), report)
