"""The layout all training reads, as a list of samples. Imports no torch and decodes no picture.

    DATA/
      dataset.json                 optional: {"window_hu": [low, high], "split_by": "patient" or "slice",
                                   "patient_of": {"7": "3"} (volume 7 is another scan of patient 3), …}
      <split>/images/*.{png,jpg}   8-bit grey slices, square
      <split>/masks/<stem>.png     labels 0 background, 1 liver, 2 lesion
      <split>/targets.csv          instead of masks: columns file, target and optionally patient and scan

Splits are `train`, `validate` and `test`. The name `volume-VVV_SSSS` tells the scan and, unless targets.csv or
`patient_of` say otherwise, the patient. A patient may have several scans: splits and figures go by patient, neighbours
and volumes by scan. A slice's class is the largest label in its mask.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lits_deploy.errors import DataError
from lits_deploy.scans.paths import escape
from lits_deploy.series import neighbours_of
from lits_deploy.synthetic import is_synthetic
from train.data.tables import read_table
from train.data.volumes import named, volumes

SPLITS = ("train", "validate", "test")
WITHOUT_CLASS = {
    "train": "it cannot be learnt",
    "validate": "the best epoch, temperature and threshold are chosen without it",
    "test": "no figure says how well it is recognised",
}
"""What follows where a split has no slice of a class."""

SUFFIXES = (".png", ".jpg", ".jpeg")
_NAME = re.compile(r"volume-(\d+)_(\d+)")


@dataclass(frozen=True)
class Sample:
    """One slice: its picture, its mask or its given class, its patient.

    scan: number of its volume without leading zeros, or what targets.csv or its name tell of it.
    row, index: the pictures of its volume, in order, and its own index there; empty where no order is known.
    """

    image: Path
    mask: Path | None
    target: int | None
    patient: str
    scan: str = ""
    row: tuple[Path, ...] = field(default=(), compare=False, repr=False)
    index: int = field(default=0, compare=False, repr=False)

    def neighbours(self, channels: int) -> tuple[Path, ...]:
        """The pictures that become its channels, its own in the middle."""
        row = self.row or (self.image,)
        return tuple(row[i] for i in neighbours_of(self.index, len(row), channels))


@dataclass(frozen=True)
class Layout:
    """A training data set on disk: samples per split and what dataset.json declares."""

    root: Path
    splits: dict[str, tuple[Sample, ...]]
    declared: dict[str, Any]

    @property
    def window_hu(self) -> tuple[float, float] | None:
        """The declared window in HU, or None: there is no default."""
        return window_of(self.declared)

    def patients(self, split: str) -> list[str]:
        """Patients of a split, sorted."""
        return sorted({sample.patient for sample in self.splits[split]})

    @property
    def split_by(self) -> str:
        """ "slice" where dataset.json declares it or a patient stands in two splits, else "patient".

        Every accuracy on the data carries it: by slice, slices beside those of the test were trained on.
        """
        return "slice" if self.declared.get("split_by") == "slice" or self.leaks() else "patient"

    @property
    def synthetic(self) -> bool:
        """True where dataset.json says that these are phantoms: figures on them carry it, too."""
        return is_synthetic(self.declared)

    def describe(self) -> dict[str, Any]:
        """For manifests and reports: slices and patients per split, and how the data was split."""
        return {
            "name": self.root.resolve().name,
            "source": self.declared.get("source"),
            "synthetic": self.synthetic,
            "split_by": self.split_by,
            "slices": {split: len(samples) for split, samples in self.splits.items()},
            "patients": {split: self.patients(split) for split in self.splits},
        }

    def leaks(self) -> list[str]:
        """Patients that stand in more than one split; `7` and `007` are one patient."""
        names = {split: self.patients(split) for split in self.splits}
        seen = Counter(one for patients in names.values() for one in {plain(name) for name in patients})
        return sorted({name for patients in names.values() for name in patients if seen[plain(name)] > 1})


def plain(name: str) -> str:
    """Who a patient is, or which scan, however the number is written: `7` and `007` are one."""
    return (name.lstrip("0") or "0") if name.isdecimal() else name


def read_layout(root: Path, splits: Sequence[str] = SPLITS) -> Layout:
    """List the samples of a data set.

    Raises DataError, naming the fix, where a split, a mask or a row is missing or a name tells no patient.
    """
    if not root.is_dir():
        raise DataError(
            f"There is no data at {root}.",
            fix=f"`lits-deploy data phantom {root}` makes synthetic slices, or give --data DATA",
        )
    declared = _declared(root)
    people = people_of(declared)
    return Layout(root, {split: _read_split(root / split, people) for split in splits}, declared)


def layout_for(root: Path, split: str) -> Layout:
    """The whole layout; where that cannot be read, of the split that is needed alone. Raises DataError."""
    try:
        return read_layout(root)
    except DataError:
        return read_layout(root, (split,))


def people_of(declared: dict[str, Any]) -> dict[int, str]:
    """`patient_of` of dataset.json: patients of volumes that are not named for them. ValueError says what is wrong."""
    given = declared.get("patient_of") or {}
    if not isinstance(given, dict) or not all(
        volume.isdecimal() and type(patient) in (int, str) and str(patient).strip() for volume, patient in given.items()
    ):
        raise ValueError("patient_of is not {volume number: patient}")
    return {int(volume): str(patient).strip() for volume, patient in given.items()}


def patient_and_scan(
    name: str, given: str, scan: str, people: dict[int, str], there: Collection[str]
) -> tuple[str, str]:
    """Patient and scan of a picture, the patient "" where nothing tells it; given, scan: of targets.csv, or "".

    there: as for `volumes.named`. A patient that `people` numbers has as many digits as the volume in the name.
    """
    match = _NAME.match(name.rpartition(".")[0])
    if match is None:
        return given, scan or named(name, there)[0]
    patient = people.get(int(match[1]), match[1])
    return given or (patient.zfill(len(match[1])) if patient.isdecimal() else patient), scan or plain(match[1])


def declared_window(root: Path) -> tuple[float, float] | None:
    """The window in HU that dataset.json declares; None where it declares none or is not there."""
    return window_of(_declared(root))


def window_of(declared: dict[str, Any]) -> tuple[float, float] | None:
    """`window_hu` of dataset.json, or None. ValueError says what is wrong."""
    window = declared.get("window_hu")
    if window is None:
        return None
    try:
        low, high = (float(edge) for edge in window)
        if low < high:
            return low, high
    except (TypeError, ValueError, OverflowError):
        pass  # said below, as for an empty window
    raise ValueError("window_hu is not [low, high] in HU")


def _declared(root: Path) -> dict[str, Any]:
    """What dataset.json says, its window and patients as they must be."""
    declared = read_declared(root)
    try:
        window_of(declared), people_of(declared)
    except ValueError as error:
        raise DataError(f"{root / 'dataset.json'}: {error}.", fix="mend it") from error
    return declared


def read_declared(root: Path) -> dict[str, Any]:
    """The JSON object in dataset.json, empty where there is none; DataError where it is something else."""
    path = root / "dataset.json"
    if not path.is_file():
        return {}
    try:
        declared = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error}).", fix="mend or remove it") from error
    if not isinstance(declared, dict):
        raise DataError(f"{path} is not a JSON object.", fix="mend or remove it")
    return declared


_LAYOUT = (
    "DATA/<train|validate|test>/images/volume-VVV_SSSS.png with a mask of the same name in masks/, or a targets.csv"
    " (file,target[,patient]) beside images/; `lits-deploy data prepare` makes it"
)


def _instead(folder: Path) -> str:
    """What lies where a split should be, where that helps: folders per class, as other tools read them."""
    if not folder.is_dir():
        there = sorted(path.name for path in folder.parent.iterdir() if path.is_dir())
        return f": there is no {folder.name}/, only {', '.join(there[:4])}" if there else ""
    classes = [path for path in folder.iterdir() if path.is_dir() and path.name not in ("images", "masks")]
    pictured = sorted(path.name for path in classes if any(p.suffix.lower() in SUFFIXES for p in path.rglob("*")))
    return f": folders per class ({', '.join(pictured[:4])}) are not read" if pictured else ""


def _read_split(folder: Path, people: dict[int, str]) -> tuple[Sample, ...]:
    images = sorted(p for p in folder.glob("images/*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not images:
        raise DataError(f"{folder / 'images'} holds no PNG or JPEG{_instead(folder)}.", fix=_LAYOUT)
    table = folder / "targets.csv"
    targets = _read_targets(table) if table.is_file() else None
    samples = []
    there = {escape(image.name) for image in images}
    for image in images:
        if targets is not None:
            if image.name not in targets:
                raise DataError(f"{table} has no row for {image.name}.", fix="add it: file,target[,patient]")
            target, given, scan = targets[image.name]
            sample = Sample(image, None, target, *patient_and_scan(image.name, given, scan, people, there))
        else:
            mask = folder / "masks" / f"{image.stem}.png"
            if not mask.is_file():
                raise DataError(f"{image} has no mask at {mask}.", fix="add the mask, or a targets.csv for the split")
            sample = Sample(image, mask, None, *patient_and_scan(image.name, "", "", people, there))
        if not sample.patient:
            raise DataError(
                f"{image.name} tells no patient.",
                fix="name slices volume-VVV_SSSS, or add a patient column to targets.csv",
            )
        samples.append(sample)
    for volume in volumes([(one.image.name, one.patient, one.scan) for one in samples]):
        row = tuple(samples[i].image for i in volume.slices) if volume.neighboured else ()
        for index, i in enumerate(volume.slices):
            samples[i] = replace(samples[i], row=row, index=index if row else 0)
    return tuple(samples)


def _read_targets(table: Path) -> dict[str, tuple[int, str, str]]:
    """Class, patient and scan of every file; "" where the table tells none."""
    found = {}
    for line, file, row in read_table(table, ("file", "target")).rows:
        if row["target"] not in ("0", "1", "2"):
            raise DataError(f"{table}, line {line}: target {row['target']!r} is not 0, 1 or 2.")
        found[file] = (int(row["target"]), row.get("patient", ""), row.get("scan", ""))
    return found
