"""What a source folder holds: one record a scan, with the files of its slices, for each of the four layouts.

    lits      volume-N.nii[.gz] and segmentation-N.nii[.gz], in any folder below
    msd       imagesTr/liver_N.nii[.gz] and labelsTr/liver_N.nii[.gz], there or one folder below
    lits-png  volume-V_S.png, segmentation-V_livermask_S.png, segmentation-V_lesionmask_S.png, in any folder below
    masks     images/ and masks/, there or in folders named for splits (see `folders`)

Slice numbers come from file names, never from a table: the Kaggle copy's `instance_number` wraps at 256. Hidden files
(`._liver_3.nii.gz` of macOS archives) and `__MACOSX` are skipped. Which scans are of one patient is given by a
patients.csv in the folder (`file,patient`), else each volume is a patient. Opens no volume and no picture.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from lits_deploy.errors import DataError
from train.choices import LayoutName
from train.data.layout import plain
from train.data.tables import read_table
from train.data.volumes import arranged
from train.prepare.contents import ScanSource, SourceContents, SourcePicture, listed
from train.prepare.folders import find_masks

_VOLUME = re.compile(r"volume-(\d+)\.nii(?:\.gz)?")
_SEGMENTATION = re.compile(r"segmentation-(\d+)\.nii(?:\.gz)?")
_MSD = re.compile(r"liver_(\d+)\.nii(?:\.gz)?")
_PNG = re.compile(r"(?:volume-(\d+)_(\d+)|segmentation-(\d+)_(livermask|lesionmask)_(\d+))\.png")


def find_sources(src: Path, layout: LayoutName) -> SourceContents:
    """List the scans of a source folder. Raises DataError, naming what was looked for, where there are none."""
    find, wanted = {
        "lits": (_find_lits, "volume-N.nii and segmentation-N.nii"),
        "msd": (_find_msd, "imagesTr/liver_N.nii.gz and labelsTr/liver_N.nii.gz"),
        "lits-png": (_find_png, "volume-V_S.png and segmentation-V_livermask_S.png"),
        "masks": (find_masks, "images/*.png and masks/*.png"),
    }[layout]
    found = find(src) if layout == "masks" else _with_patients(src, find(src))
    if not found.sources:
        raise DataError(f"{src} holds no {wanted}.", fix="name another folder, or another --layout")
    return found


def _with_patients(src: Path, found: SourceContents) -> SourceContents:
    """The scans with the patients that patients.csv names."""
    if not (src / "patients.csv").is_file():
        return found
    people = {row.file: row.cells["patient"] for row in read_table(src / "patients.csv", ("file", "patient")).rows}
    sources = []
    for source in found.sources:
        named = {people[path.name] for path in source.files if people.get(path.name)}
        if len(named) > 1:
            raise DataError(f"{src / 'patients.csv'} gives volume {source.scan} to {len(named)} patients.")
        sources.append(replace(source, patient=plain(named.pop())) if named else source)
    tables = tuple(path for path in found.tables if path != src / "patients.csv")
    return replace(found, sources=tuple(sources), tables=tables)


def visible_files(root: Path) -> Iterator[Path]:
    """Files below a folder in order; hidden ones and `__MACOSX` left out, linked folders walked once."""
    walked: set[str] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in walked:
            folders.clear()
            continue
        walked.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def _find_lits(src: Path) -> SourceContents:
    files = list(visible_files(src))
    images, masks = _numbered(files, _VOLUME), _numbered(files, _SEGMENTATION)
    notes = []
    if tests := sum(path.name.startswith("test-volume-") for path in files):
        notes.append(f"{tests} test-volume files have no segmentation: left out")
    if orphans := [number for number in masks if number not in images]:
        notes.append(f"segmentations without a volume: {listed(orphans)}")
    return SourceContents(sources=_pairs(images, masks, "segmentation-{}.nii"), notes=tuple(notes))


def _find_msd(src: Path) -> SourceContents:
    folders = [src, *sorted(path for path in src.iterdir() if path.is_dir())]
    root = next((folder for folder in folders if (folder / "imagesTr").is_dir()), None)
    if root is None:
        return SourceContents(sources=())
    images, labels, tests = (_numbered(visible_files(root / n), _MSD) for n in ("imagesTr", "labelsTr", "imagesTs"))
    notes = ["imagesTr holds the LiTS volumes: never test on it what was trained on LiTS"]
    if tests:
        notes.append(f"imagesTs: {len(tests)} volumes without labels left out")
    if orphans := sorted(set(labels) - set(images)):
        notes.append(f"labels without a volume: {listed(orphans)}")
    return SourceContents(sources=_pairs(images, labels, "labelsTr/liver_{}.nii.gz"), notes=tuple(notes))


def _numbered(files: Iterable[Path], pattern: re.Pattern[str]) -> dict[int, list[Path]]:
    """The files whose names are of the pattern, by number."""
    found: dict[int, list[Path]] = {}
    for path in files:
        if match := pattern.fullmatch(path.name):
            found.setdefault(int(match[1]), []).append(path)
    return found


def _pairs(images: dict[int, list[Path]], masks: dict[int, list[Path]], wanted: str) -> tuple[ScanSource, ...]:
    """A scan of each volume. wanted: what its segmentation is called, {} for the number."""
    sources = []
    for number, volumes in sorted(images.items()):
        own, problem = masks.get(number, []), None
        if (most := max(len(volumes), len(own))) > 1:
            problem = f"{most} files are called volume or segmentation {number}"
        elif not own:
            problem = f"there is no {wanted.format(number)}"
        mask = own[0] if own else None
        sources.append(
            ScanSource(
                patient=str(number), scan=str(number), number=number, image=volumes[0], mask=mask, problem=problem
            )
        )
    return tuple(sources)


def _find_png(src: Path) -> SourceContents:
    images: dict[tuple[int, int], list[Path]] = {}
    masks: dict[tuple[int, int], dict[str, list[Path]]] = {}
    tables: list[Path] = []
    probes: set[str] = set()
    for path in visible_files(src):
        inside = next((part for part in path.relative_to(src).parts if part.lower().startswith("lits_probe")), None)
        if inside is not None:
            probes.add(inside)
        elif path.suffix.lower() == ".csv":
            tables.append(path)
        elif match := _PNG.fullmatch(path.name):
            if match[1] is not None:
                images.setdefault((int(match[1]), int(match[2])), []).append(path)
            else:
                masks.setdefault((int(match[3]), int(match[5])), {}).setdefault(match[4], []).append(path)
    notes = [f"{', '.join(sorted(probes))}: duplicates of the test set, skipped"] if probes else []
    if orphans := set(masks) - set(images):
        notes.append(f"{len(orphans)} masks without a slice of volumes {listed(sorted({v for v, _ in orphans}))}")
    volumes: dict[int, list[int]] = {}
    for volume, number in images:
        volumes.setdefault(volume, []).append(number)
    return SourceContents(
        sources=tuple(_png_source(volume, numbers, images, masks) for volume, numbers in volumes.items()),
        notes=tuple(notes),
        tables=tuple(tables),
    )


def _png_source(
    volume: int,
    numbers: list[int],
    images: dict[tuple[int, int], list[Path]],
    masks: dict[tuple[int, int], dict[str, list[Path]]],
) -> ScanSource:
    pictures, problem = [], None
    for number in numbers:
        kinds = masks.get((volume, number), {})
        files = [images[volume, number], kinds.get("livermask", []), kinds.get("lesionmask", [])]
        if any(len(paths) > 1 for paths in files):
            problem = problem or f"slice {number} stands there twice"
        elif missing := [name for name in ("livermask", "lesionmask") if name not in kinds]:
            problem = problem or f"there is no segmentation-{volume}_{missing[0]}_{number}.png"
        else:
            pictures.append(SourcePicture(image=files[0][0], masks=(files[1][0], files[2][0]), number=number))
    order = arranged([picture.image.name for picture in pictures], [picture.number for picture in pictures]).slices
    return ScanSource(
        patient=str(volume),
        scan=str(volume),
        number=volume,
        pictures=tuple(pictures[i] for i in order),
        problem=problem,
    )
