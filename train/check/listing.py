"""The files of a training data set, paired: as `train.data.layout` reads them, but nothing wrong stops the listing.

`read_layout` raises at the first problem, since training cannot go on; here every problem becomes a finding and the
rest is listed. Numbers of patients are compared as numbers: `volume-07` and `volume-7` are one patient. Decodes no
picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lits_deploy.errors import DataError
from lits_deploy.scans.kinds import common_suffix
from lits_deploy.scans.paths import escape
from train.check.findings import Finding, Severity, name_of
from train.data.layout import SPLITS, SUFFIXES, patient_and_scan, people_of, plain, read_declared, window_of
from train.data.tables import read_table

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class PictureEntry:
    """One picture that can be looked at: its mask, or its class from targets.csv; patient is "" where unknown.

    scan: as of a Sample.
    """

    split: str
    image: Path
    mask: Path | None
    target: int | None
    patient: str
    scan: str


@dataclass(frozen=True, kw_only=True)
class PictureListing:
    """What is there. by_slice: dataset.json says that slices of one patient lie in several splits, on purpose."""

    entries: list[PictureEntry]
    findings: list[Finding]
    window_hu: tuple[float, float] | None
    by_slice: bool


def list_data(root: Path) -> PictureListing:
    """List a data set with everything that is wrong with its files' names and pairs.

    Raises DataError where there is no data set at all.
    """
    if not root.is_dir():
        raise DataError(f"There is no data at {root}.", fix=f"`lits-deploy data phantom {root}` makes synthetic slices")
    found: list[Finding] = []
    declared: dict[str, Any] = {}
    try:
        declared = read_declared(root)
    except DataError as error:
        found.append(_of_file(root / "dataset.json", "dataset-json", "dataset.json", error))
    window = _valid(window_of, declared, found)
    people = _valid(people_of, declared, found) or {}
    entries = [entry for split in SPLITS for entry in _list_split(root, split, people, found)]
    if not entries:
        raise DataError(
            f"{root} holds no training data: no picture in train/images, validate/images or test/images.",
            fix="name a folder that `lits-deploy data prepare` or `lits-deploy data phantom` made",
        )
    by_slice = declared.get("split_by") == "slice"
    return PictureListing(entries=entries, findings=found, window_hu=window, by_slice=by_slice)


def _valid(read: Callable[[dict[str, Any]], T], declared: dict[str, Any], found: list[Finding]) -> T | None:
    """A part of what is declared, None where it is not what it must be."""
    try:
        return read(declared)
    except ValueError as error:
        found.append(Finding("error", "dataset-json", "dataset.json", f"{error}: mend it"))
        return None


def _list_split(root: Path, split: str, people: dict[int, str], found: list[Finding]) -> list[PictureEntry]:
    folder = root / split

    def tell(kind: str, location: str, text: str, severity: Severity = "error") -> None:
        found.append(Finding(severity, kind, location, text))

    files = _files(folder / "images")
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    others = Counter(common_suffix(path.suffix.lower()) for path in files if path.suffix.lower() not in SUFFIXES)
    if others:
        kinds = ", ".join(f"{kind or 'no suffix'} {count:,}" for kind, count in others.most_common(4))
        text = f"{sum(others.values()):,} files are not read by training ({kinds}): save slices as PNG"
        tell("other-files", f"{split}/images", text, "warning")
    if not images:
        tell("split-missing", split, "has no PNG or JPEG in images/, and training wants all three splits: add slices")
        return []
    for stem, count in Counter(path.stem for path in images).items():
        if count > 1:
            text = f"{count} pictures share this name and so one mask: keep one of them"
            tell("twice", f"{split}/images/{escape(stem)}", text)
    table = folder / "targets.csv"
    rows = _read_rows(root, table, found) if table.is_file() else None
    masks = {path.stem: path for path in _files(folder / "masks") if path.suffix == ".png"} if rows is None else {}
    entries = []
    there = {escape(image.name) for image in images}
    for image in images:
        location, mask = name_of(root, image), masks.get(image.stem)
        if rows is None and mask is None:
            tell("no-mask", location, f"has no mask: add {split}/masks/{escape(image.stem)}.png, or remove the picture")
        if rows is not None and image.name not in rows:
            text = f"has no row in {split}/targets.csv: add file,target[,patient], or remove the picture"
            tell("no-target", location, text)
        target, given, given_scan = (rows or {}).get(image.name, (None, "", ""))
        patient, scan = patient_and_scan(image.name, given, given_scan, people, there)
        patient = plain(escape(patient))
        if not patient:
            text = "tells no patient: name slices volume-VVV_SSSS, or add a patient column to targets.csv"
            tell("no-patient", location, text)
        entries.append(PictureEntry(split=split, image=image, mask=mask, target=target, patient=patient, scan=scan))
    for mask in (masks[stem] for stem in masks.keys() - {image.stem for image in images}):
        tell("no-image", name_of(root, mask), "is a mask without a picture: add the picture, or remove the mask")
    if missing := sorted(set(rows or ()) - {image.name for image in images}):
        text = f"{len(missing):,} rows name no picture ({missing[0]!r} first): remove them, or add the pictures"
        tell("no-image", name_of(root, table), text, "warning")
    return entries


def _files(folder: Path) -> list[Path]:
    """Plain names only: hidden files (`._x` of macOS among them) are nobody's slices."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and not path.is_dir())


def _read_rows(root: Path, table: Path, found: list[Finding]) -> dict[str, tuple[int | None, str, str]]:
    location = name_of(root, table)
    try:
        read = read_table(table, ("file", "target"))
    except DataError as error:
        found.append(_of_file(table, "targets", location, error))
        return {}
    if read.guessed:
        text = "is neither UTF-8 nor says what it is, and was read as Windows-1252: look at its names"
        found.append(Finding("note", "targets", location, text))
    rows: dict[str, tuple[int | None, str, str]] = {}
    for line, file, row in read.rows:
        target = int(row["target"]) if row["target"] in ("0", "1", "2") else None
        if target is None:
            text = f"line {line}: the target {row['target']!r} is not 0, 1 or 2: mend it"
            found.append(Finding("error", "targets", location, text))
        rows[file] = (target, row.get("patient", ""), row.get("scan", ""))
    return rows


def _of_file(path: Path, kind: str, location: str, error: DataError) -> Finding:
    text = error.message.removeprefix(str(path)).strip().removesuffix(".")
    return Finding("error", kind, location, f"{text}: {error.fix}")
