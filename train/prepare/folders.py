"""Plain folders of images and masks as a source: names, patients and splits parsed from paths and optional tables.

    SRC/images/*.png|jpg   SRC/masks/<stem>.png             not split yet
    SRC/<split>/images/…   SRC/<split>/masks/…              already split: train, validate (valid, val), test
    patients.csv or targets.csv beside images/, or in SRC   columns file and patient, and scan if one likes

The patient comes from the table, else from the name: volume-VVV_SSSS, volume-V_slice_S. A patient may have several
scans: by the table's scan, else by VVV, else by what stays of a name when its last number is taken out, as
`classify` groups pictures; a name without a number is a scan of its own. Slices whose names are not of this form count
from the first of their scan, by that number. Of equal files of one number the first counts; other slices of one number
are refused, and so is a scan whose names tell no order. Patients with names that are no numbers get the numbers after
the highest one; provenance.json has both.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from lits_deploy.errors import DataError
from lits_deploy.files import sha256_file
from lits_deploy.scans.paths import escape
from train.data.layout import SPLITS, plain, read_declared, window_of
from train.data.tables import read_table
from train.data.volumes import arranged, named
from train.prepare.contents import ScanSource, SourceContents, SourcePicture, listed

SUFFIXES = (".png", ".jpg", ".jpeg")
_ALIASES = {"training": "train", "validation": "validate", "valid": "validate", "val": "validate", "testing": "test"}
_NAME = re.compile(r"volume-(\d+)_(?:slice_)?(\d+)")


def find_masks(src: Path) -> SourceContents:
    """The scans of image and mask folders. Raises DataError where a name tells no patient or a table is broken."""
    named = [(path, _ALIASES.get(path.name, path.name)) for path in sorted(src.iterdir())]
    folders: list[tuple[Path, str | None]]
    folders = [(path, name) for path, name in named if name in SPLITS and (path / "images").is_dir()]
    came_split = bool(folders)
    if came_split and (src / "images").is_dir():
        raise DataError(f"{src} holds images/ and folders of splits.", fix="keep one of both")
    shared = _read_patients(src)
    slices: dict[tuple[str, str], list[tuple[SourcePicture, str | None]]] = defaultdict(list)
    notes = []
    for folder, split in folders or [(src, None)]:
        table = {**shared, **(_read_patients(folder) if came_split else {})}
        found, note = _slices_of(folder, split, table)
        notes += note
        for who, picture, problem in found:
            slices[who].append((picture, problem))
    return SourceContents(
        sources=tuple(source_of(patient, scan, slices[patient, scan]) for patient, scan in sorted(slices)),
        notes=tuple(notes),
        split=came_split,
        window_hu=_declared_window(src),
    )


def _slices_of(
    folder: Path, split: str | None, table: dict[str, tuple[str, str]]
) -> tuple[list[tuple[tuple[str, str], SourcePicture, str | None]], list[str]]:
    """((patient, scan), picture, problem) of each image of a folder, in order of names, and remarks."""
    if not (folder / "images").is_dir():
        return [], []
    images = _visible(folder / "images", SUFFIXES)
    there = {escape(image.name) for image in images}
    masks = {path.stem: path for path in _visible(folder / "masks", (".png",))}
    found = []
    for image in images:
        match = _NAME.match(image.stem)
        patient, scan = table.get(image.name, ("", ""))
        patient = patient or (match[1] if match else "")
        if not patient:
            raise DataError(
                f"{image} tells no patient.", fix="name slices volume-VVV_SSSS, or add patients.csv: file,patient"
            )
        mask = masks.get(image.stem) or masks.get(f"{image.stem}_mask")
        problem = None if mask is not None else f"{image.name} has no mask {image.stem}.png"
        number = int(match[2]) if match else -1
        picture = SourcePicture(image=image, masks=() if mask is None else (mask,), number=number, split=split)
        series, slice_number = named(image.name, there)
        scan = scan or (match[1] if match else escape(image.stem) if slice_number is None else series)
        found.append(((plain(patient), plain(scan)), picture, problem))
    used = {path for _, picture, _ in found for path in picture.masks}
    orphans = sorted(path.stem for path in masks.values() if path not in used)
    return found, [f"{folder.name}: masks without an image: {listed(orphans, 5)}"] if orphans else []


def source_of(patient: str, scan: str, entries: list[tuple[SourcePicture, str | None]]) -> ScanSource:
    """A scan of pictures, in order; entries: of each what is wrong with it, too. The number −1: its name tells it."""
    there = {escape(picture.image.name) for picture, _ in entries}
    numbered = [p.number if p.number >= 0 else named(p.image.name, there)[1] for p, _ in entries]
    twice = {number for number, count in Counter(numbered).items() if count > 1}
    hashes = {i: sha256_file(picture.image) for i, (picture, _) in enumerate(entries) if numbered[i] in twice}
    volume = arranged([picture.image.name for picture, _ in entries], numbered, hashes)
    pictures, numbers = [entries[i][0] for i in volume.slices], [numbered[i] for i in volume.slices]
    problems = [problem for i in volume.slices if (problem := entries[i][1]) is not None]
    problems += [
        f"{entries[i][0].image.name} is a copy with another mask"
        for i, original in volume.copies.items()
        if entries[i][0].masks and _bytes(entries[i][0].masks) != _bytes(entries[original][0].masks)
    ]
    if volume.doubts:
        again = next((number for number, after in pairwise(numbers) if number is not None and number == after), None)
        unordered = "nothing tells the order of its slices: number their names"
        problems.append(unordered if again is None else f"slice {again} stands there twice")
    elif any(picture.number < 0 for picture in pictures):
        pairs = zip(pictures, numbers, strict=True)
        pictures = [replace(picture, number=(number or 0) - (numbers[0] or 0)) for picture, number in pairs]
    problem = problems[0] if problems else None
    if len(problems) > 1:
        problem = f"{problem} ({len(problems)} such slices)"
    number = int(patient) if patient.isdecimal() else -1
    return ScanSource(
        patient=patient,
        scan=scan,
        number=number,
        pictures=tuple(pictures),
        problem=problem,
        notes=(f"{len(volume.copies)} pictures are copies of others: left out",) if volume.copies else (),
    )


def _bytes(paths: tuple[Path, ...]) -> list[str]:
    return [sha256_file(path) for path in paths]


def _visible(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith("."))


def _read_patients(folder: Path) -> dict[str, tuple[str, str]]:
    """File name → (patient, scan or "") from patients.csv, else targets.csv; empty where neither has such columns."""
    found: dict[str, tuple[str, str]] = {}
    for name in ("targets.csv", "patients.csv"):
        table = folder / name
        if not table.is_file():
            continue
        read = read_table(table, ("file",) if name == "targets.csv" else ("file", "patient"))  # may hold classes only
        found |= {file: (row["patient"], row.get("scan", "")) for _, file, row in read.rows if row.get("patient")}
    return found


def _declared_window(src: Path) -> tuple[float, float] | None:
    """The window that the source's own dataset.json declares, if it is one of this project."""
    try:
        return window_of(read_declared(src))
    except (DataError, ValueError):
        return None
