"""The files of a training data set, paired: as `train.data.layout` reads them, but nothing wrong stops the listing.

`read_layout` raises at the first problem, since training cannot go on; here every problem becomes a finding and the
rest is listed. Numbers of patients are compared as numbers: `volume-07` and `volume-7` are one patient. Decodes no
picture.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lits_deploy.errors import DataError
from lits_deploy.scans.kinds import told
from lits_deploy.scans.paths import escape
from train.check.findings import Finding, place_of
from train.data.layout import SPLITS, SUFFIXES, patient_and_scan, people_of, plain, read_declared, window_of
from train.data.tables import read_table

_NAME = re.compile(r"volume-(\d+)_(\d+)")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One picture that can be looked at: its mask, or its class from targets.csv; patient is "" where unknown.

    scan: as of a Sample.
    """

    split: str
    image: Path
    mask: Path | None
    target: int | None
    patient: str
    scan: str

    @property
    def order(self) -> tuple[int, str]:
        """Sorts the slices of a scan by slice number."""
        match = _NAME.match(self.image.stem)
        return (int(match[2]) if match else 0, self.image.name)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What is there. by_slice: dataset.json says that slices of one patient lie in several splits, on purpose."""

    entries: tuple[Entry, ...]
    findings: tuple[Finding, ...]
    window_hu: tuple[float, float] | None
    by_slice: bool


def list_data(root: Path) -> Listing:
    """List a data set with everything that is wrong with its files' names and pairs.

    Raises DataError where there is no data set at all.
    """
    if not root.is_dir():
        raise DataError(f"There is no data at {root}.", fix=f"`lits-deploy data phantom {root}` makes synthetic slices")
    findings: list[Finding] = []
    declared = _declared(root, findings)
    window = _window(declared, findings)
    people = _people(declared, findings)
    entries = [entry for split in SPLITS for entry in _list_split(root, split, people, findings)]
    if not entries:
        raise DataError(
            f"{root} holds no training data: no picture in train/images, validate/images or test/images.",
            fix="name a folder that `lits-deploy data prepare` or `lits-deploy data phantom` made",
        )
    return Listing(
        entries=tuple(entries),
        findings=tuple(findings),
        window_hu=window,
        by_slice=declared.get("split_by") == "slice",
    )


def _declared(root: Path, findings: list[Finding]) -> dict[str, Any]:
    try:
        return read_declared(root)
    except DataError as error:
        findings.append(_of_file(root / "dataset.json", "dataset-json", "dataset.json", error))
        return {}


def _window(declared: dict[str, Any], findings: list[Finding]) -> tuple[float, float] | None:
    try:
        return window_of(declared)
    except ValueError as error:
        findings.append(_error("dataset-json", "dataset.json", f"{error}: mend it"))
        return None


def _people(declared: dict[str, Any], findings: list[Finding]) -> dict[int, str]:
    try:
        return people_of(declared)
    except ValueError as error:
        findings.append(_error("dataset-json", "dataset.json", f"{error}: mend it"))
        return {}


def _list_split(root: Path, split: str, people: dict[int, str], findings: list[Finding]) -> list[Entry]:
    folder = root / split
    files = _files(folder / "images")
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    others = Counter(told(path.suffix.lower()) for path in files if path.suffix.lower() not in SUFFIXES)
    if others:
        kinds = ", ".join(f"{kind or 'no suffix'} {count:,}" for kind, count in others.most_common(4))
        text = f"{sum(others.values()):,} files are not read by training ({kinds}): save slices as PNG"
        findings.append(Finding(severity="warning", kind="other-files", place=f"{split}/images", message=text))
    if not images:
        text = "has no PNG or JPEG in images/, and training wants all three splits: add slices"
        findings.append(_error("split-missing", split, text))
        return []
    for stem, count in Counter(path.stem for path in images).items():
        if count > 1:
            text = f"{count} pictures share this name and so one mask: keep one of them"
            findings.append(_error("twice", f"{split}/images/{escape(stem)}", text))
    table = folder / "targets.csv"
    if table.is_file():
        return _with_targets(root, split, images, table, people, findings)
    return _with_masks(root, split, images, people, findings)


def _files(folder: Path) -> list[Path]:
    """Plain names only: hidden files (`._x` of macOS among them) are nobody's slices."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and not path.is_dir())


def _with_masks(
    root: Path, split: str, images: list[Path], people: dict[int, str], findings: list[Finding]
) -> list[Entry]:
    masks = {path.stem: path for path in _files(root / split / "masks") if path.suffix == ".png"}
    entries = []
    for image in images:
        mask = masks.get(image.stem)
        if mask is None:
            text = f"has no mask: add {split}/masks/{escape(image.stem)}.png, or remove the picture"
            findings.append(_error("no-mask", place_of(root, image), text))
        patient, scan = _who(image, "", "", people)
        entries.append(Entry(split=split, image=image, mask=mask, target=None, patient=patient, scan=scan))
    stems = {image.stem for image in images}
    for stem, mask in masks.items():
        if stem not in stems:
            text = "is a mask without a picture: add the picture, or remove the mask"
            findings.append(_error("no-image", place_of(root, mask), text))
    _name_patients(root, entries, findings)
    return entries


def _with_targets(
    root: Path, split: str, images: list[Path], table: Path, people: dict[int, str], findings: list[Finding]
) -> list[Entry]:
    rows = _read_rows(root, table, findings)
    entries = []
    for image in images:
        target, given, given_scan = rows.get(image.name, (None, "", ""))
        if image.name not in rows:
            text = f"has no row in {split}/targets.csv: add file,target[,patient], or remove the picture"
            findings.append(_error("no-target", place_of(root, image), text))
        patient, scan = _who(image, given, given_scan, people)
        entries.append(Entry(split=split, image=image, mask=None, target=target, patient=patient, scan=scan))
    missing = sorted(set(rows) - {image.name for image in images})
    if missing:
        text = f"{len(missing):,} rows name no picture ({missing[0]!r} first): remove them, or add the pictures"
        findings.append(Finding(severity="warning", kind="no-image", place=place_of(root, table), message=text))
    _name_patients(root, entries, findings)
    return entries


def _read_rows(root: Path, table: Path, findings: list[Finding]) -> dict[str, tuple[int | None, str, str]]:
    place = place_of(root, table)
    try:
        read = read_table(table, ("file", "target"))
    except DataError as error:
        findings.append(_of_file(table, "targets", place, error))
        return {}
    if read.guessed:
        text = "is neither UTF-8 nor says what it is, and was read as Windows-1252: look at its names"
        findings.append(Finding(severity="note", kind="targets", place=place, message=text))
    rows: dict[str, tuple[int | None, str, str]] = {}
    for line, file, row in read.rows:
        target = int(row["target"]) if row["target"] in ("0", "1", "2") else None
        if target is None:
            findings.append(
                _error("targets", place, f"line {line}: the target {row['target']!r} is not 0, 1 or 2: mend it")
            )
        rows[file] = (target, row.get("patient", ""), row.get("scan", ""))
    return rows


def _who(image: Path, given: str, given_scan: str, people: dict[int, str]) -> tuple[str, str]:
    """Patient and scan; the patient as numbers compare: without leading zeros."""
    name, scan = patient_and_scan(image.name, given, given_scan, people)
    return plain(escape(name)), scan


def _name_patients(root: Path, entries: Iterable[Entry], findings: list[Finding]) -> None:
    for entry in entries:
        if not entry.patient:
            text = "tells no patient: name slices volume-VVV_SSSS, or add a patient column to targets.csv"
            findings.append(_error("no-patient", place_of(root, entry.image), text))


def _of_file(path: Path, kind: str, place: str, error: DataError) -> Finding:
    text = error.message.removeprefix(str(path)).strip().removesuffix(".")
    return _error(kind, place, f"{text}: {error.fix}")


def _error(kind: str, place: str, message: str) -> Finding:
    return Finding(severity="error", kind=kind, place=place, message=message)
