"""One slice and its mask, decoded as training decodes them, and boiled down to what the rules need.

Runs in worker processes, a bunch of slices at a time: what goes back to the parent is a few hundred bytes a slice and
two histograms a patient, never pixels. Whatever is in a file, the answer is a problem or a fact; a bomb is refused by
its header. What would kill the whole process (none is known) ends the check.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from lits_deploy.contract import InputContract
from lits_deploy.errors import SliceError
from lits_deploy.scans.image import load_slice
from train.check.duplicates import fingerprint
from train.check.lesions import Labels, loose_pixels
from train.check.listing import PictureEntry
from train.data.labels import LabelsError
from train.data.masks import class_of, read_labels
from train.data.seen import key

CONTRACT = InputContract(window_hu=None)
"""What training decodes with; the window plays no part in it."""

Histogram = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class SliceExamination:
    """What a slice is like.

    entry: of the listing. problems: (kind, file, text) of everything that is wrong with its files.
    side: of the picture in pixels as stored, None where it cannot be read.
    target: class 0, 1, 2, or None where mask or row tell none.
    code: the fingerprint's bytes, None for an unreadable or nearly blank picture. key: of its pixels, likewise.
    loose: lesion pixels that lie apart from the liver within this slice.
    """

    entry: PictureEntry
    problems: tuple[tuple[str, Path, str], ...]
    side: int | None
    target: int | None
    code: bytes | None
    key: int | None
    loose: int


@dataclass(frozen=True)
class Greys:
    """Pixels per grey level, int64 [256]: of whole slices at 256×256, and under label 1 (liver without lesion)."""

    slices: int = 0
    all: Histogram = field(default_factory=lambda: np.zeros(256, np.int64))
    liver: Histogram = field(default_factory=lambda: np.zeros(256, np.int64))

    def __add__(self, other: Greys) -> Greys:
        return Greys(self.slices + other.slices, self.all + other.all, self.liver + other.liver)


Bunch = tuple[int, Sequence[PictureEntry]]
"""Some entries of the listing, and the index of the first one."""


def examine_bunch(bunch: Bunch) -> tuple[int, list[SliceExamination], dict[str, Greys]]:
    """Index of the first slice, facts of every slice, grey levels by patient; raises nothing for anything in a file."""
    facts = []
    greys: defaultdict[str, Greys] = defaultdict(Greys)
    for entry in bunch[1]:
        fact, grey = _examine(entry)
        facts.append(fact)
        greys[entry.patient] += grey
    return bunch[0], facts, dict(greys)


def _examine(entry: PictureEntry) -> tuple[SliceExamination, Greys]:
    problems: list[tuple[str, Path, str]] = []
    pixels = _read("image", entry.image, lambda path: load_slice(path, CONTRACT)[0], "mend or remove it", problems)
    labels = None
    if entry.mask is not None:
        labels = _read("mask", entry.mask, read_labels, "make the mask again", problems)
    side = None if pixels is None else _stored_side(entry.image)
    if side is not None and labels is not None and labels.shape[0] != side:
        size = f"{labels.shape[1]}×{labels.shape[0]}"
        text = f"is {size}, its picture {side}×{side}: make the mask on the picture's grid"
        problems.append(("mask-size", entry.mask or entry.image, text))
    target = entry.target if labels is None else class_of(labels)
    code = None if pixels is None else fingerprint(pixels)
    fact = SliceExamination(
        entry=entry,
        problems=tuple(problems),
        side=side,
        target=target,
        code=code,
        key=None if pixels is None or code is None else key(pixels),
        loose=int(loose_pixels(labels).sum()) if labels is not None and target == 2 else 0,
    )
    if pixels is None:
        return fact, Greys()
    liver = np.zeros(256, np.int64)
    if labels is not None and labels.shape[0] % CONTRACT.size == 0:
        step = labels.shape[0] // CONTRACT.size
        liver = np.bincount(pixels[labels[::step, ::step] == 1], minlength=256)
    return fact, Greys(1, np.bincount(pixels.ravel(), minlength=256), liver)


def _read(
    what: str, path: Path, read: Callable[[Path], Labels], mend: str, problems: list[tuple[str, Path, str]]
) -> Labels | None:
    """The pixels uint8 of a picture as training sees it, or of a mask; None and a problem where there are none."""
    try:
        return read(path)
    except LabelsError as error:
        problems.append(("mask-labels", path, f"holds {error}"))
    except SliceError as error:
        problems.append((f"unreadable-{what}", path, f"cannot be used ({error}): {mend}"))
    except (OSError, MemoryError) as error:
        problems.append((f"unreadable-{what}", path, f"cannot be read ({_why(error)}): {mend}"))
    return None


def _stored_side(path: Path) -> int:
    with Image.open(path) as picture:  # load_slice has opened it before: its header is sound
        return picture.width


def _why(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    return (getattr(error, "strerror", None) or type(error).__name__).lower()
