"""One slice and its mask, decoded as training decodes them, and boiled down to what the rules need.

Runs in worker processes, a bunch of slices at a time: what goes back to the parent is a few hundred bytes a slice and
two histograms a patient, never pixels. Whatever is in a file, the answer is a problem or a fact; a bomb is refused by
its header. What would kill the whole process (none is known) ends the check.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from lits_deploy.contract import InputContract
from lits_deploy.errors import SliceError
from lits_deploy.scans.image import load_slice
from train.check.duplicates import fingerprint
from train.check.lesions import loose_pixels
from train.check.listing import Entry
from train.data.labels import LabelsError
from train.data.masks import class_of, read_labels

CONTRACT = InputContract(window_hu=None)
"""What training decodes with; the window plays no part in it."""

Histogram = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Bunch:
    """Some entries of the listing; `first` is the index of the first one."""

    first: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True)
class SliceFacts:
    """What a slice is like.

    problems: (kind, file, text) of everything that is wrong with its files.
    side: of the picture in pixels as stored, None where it cannot be read.
    target: class 0, 1, 2, or None where mask or row tell none.
    code: the fingerprint's bytes, None for an unreadable or nearly blank picture.
    loose: lesion pixels that lie apart from the liver within this slice.
    """

    problems: tuple[tuple[str, Path, str], ...]
    side: int | None
    target: int | None
    code: bytes | None
    loose: int


@dataclass(frozen=True)
class Greys:
    """Pixels per grey level, int64 [256]: of whole slices at 256×256, and under label 1 (liver without lesion)."""

    slices: int = 0
    all: Histogram = field(default_factory=lambda: np.zeros(256, np.int64))
    liver: Histogram = field(default_factory=lambda: np.zeros(256, np.int64))

    def __add__(self, other: Greys) -> Greys:
        return Greys(self.slices + other.slices, self.all + other.all, self.liver + other.liver)


@dataclass(frozen=True, kw_only=True)
class BunchFacts:
    """Facts of the slices of a bunch, in order, and grey levels by (split, patient)."""

    first: int
    slices: tuple[SliceFacts, ...]
    greys: dict[tuple[str, str], Greys]


def examine_bunch(bunch: Bunch) -> BunchFacts:
    """Look at every slice of a bunch; raises nothing for anything in a file."""
    facts = []
    greys: dict[tuple[str, str], Greys] = {}
    for entry in bunch.entries:
        fact, grey = _examine(entry)
        facts.append(fact)
        if grey is not None:
            key = (entry.split, entry.patient)
            greys[key] = greys.get(key, Greys()) + grey
    return BunchFacts(first=bunch.first, slices=tuple(facts), greys=greys)


def _examine(entry: Entry) -> tuple[SliceFacts, Greys | None]:
    problems: list[tuple[str, Path, str]] = []
    pixels = _read_image(entry.image, problems)
    side = None if pixels is None else _stored_side(entry.image)
    labels = None if entry.mask is None else _read_mask(entry.mask, side, problems)
    target = entry.target if labels is None else class_of(labels)
    loose = 0
    if labels is not None and target == 2:
        apart = loose_pixels(labels)
        loose = int(apart.sum())
    code = None if pixels is None else fingerprint(pixels)
    grey = None
    if pixels is not None:
        liver = np.zeros(256, np.int64)
        if labels is not None and labels.shape[0] % CONTRACT.size == 0:
            step = labels.shape[0] // CONTRACT.size
            liver = np.bincount(pixels[labels[::step, ::step] == 1], minlength=256)
        grey = Greys(1, np.bincount(pixels.ravel(), minlength=256), liver)
    return SliceFacts(problems=tuple(problems), side=side, target=target, code=code, loose=loose), grey


def _read_image(path: Path, problems: list[tuple[str, Path, str]]) -> npt.NDArray[np.uint8] | None:
    """The picture uint8 [256, 256] as training sees it, or None and a problem."""
    try:
        pixels: npt.NDArray[np.uint8] = load_slice(path, CONTRACT)[0]
        return pixels
    except SliceError as error:
        problems.append(("unreadable-image", path, f"cannot be used ({error}): mend or remove it"))
    except (OSError, MemoryError) as error:
        problems.append(("unreadable-image", path, f"cannot be read ({_why(error)}): mend or remove it"))
    return None


def _stored_side(path: Path) -> int:
    with Image.open(path) as picture:  # load_slice has opened it before: its header is sound
        return picture.width


def _read_mask(path: Path, side: int | None, problems: list[tuple[str, Path, str]]) -> npt.NDArray[np.uint8] | None:
    try:
        labels = read_labels(path)
    except LabelsError as error:
        problems.append(("mask-labels", path, f"holds {error}"))
        return None
    except SliceError as error:
        problems.append(("unreadable-mask", path, f"cannot be used ({error}): make the mask again"))
        return None
    except (OSError, MemoryError) as error:
        problems.append(("unreadable-mask", path, f"cannot be read ({_why(error)}): make the mask again"))
        return None
    if side is not None and labels.shape[0] != side:
        size = f"{labels.shape[1]}×{labels.shape[0]}"
        problems.append(
            ("mask-size", path, f"is {size}, its picture {side}×{side}: make the mask on the picture's grid")
        )
    return labels


def _why(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    return (getattr(error, "strerror", None) or type(error).__name__).lower()
