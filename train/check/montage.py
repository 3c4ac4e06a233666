"""A contact sheet: for each split and class a row of slices, the liver outlined in green, lesions in red.

Drawn with Pillow, written whole or not at all. It shows the data's own pixels: where the data is real, so is the sheet.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from lits_deploy import DISCLAIMER
from lits_deploy.contract import CLASSES
from lits_deploy.errors import OutputError, SliceError
from lits_deploy.files import atomic_path
from lits_deploy.printable import printable
from lits_deploy.scans.image import load_slice
from train.check.examine import CONTRACT, SliceExamination
from train.check.report import CheckReport
from train.data.layout import SPLITS
from train.data.masks import read_labels
from train.data.spread import middles

COLUMNS, TILE, GAP, MARGIN, CAPTION, FOOT = 8, 192, 4, 150, 16, 28
LIVER, LESION = (60, 220, 90), (255, 70, 70)
_PAPER, _INK, _FAINT = (24, 24, 26), (235, 235, 235), (150, 150, 150)

Labels = npt.NDArray[np.uint8]


def check_path(path: Path) -> None:
    """Raise OutputError for a path that cannot become a contact sheet, before the work for it is done."""
    if path.suffix.lower() != ".png" or path.is_dir():
        raise OutputError(f"{path} is not the name of a PNG.", fix="for example --montage sheet.png")


def draw_montage(path: Path, report: CheckReport) -> None:
    """Write the contact sheet of a checked data set as a PNG.

    Slices are spread evenly over the slices of a split and class, so over its patients; the same data gives the same
    sheet. Raises OutputError where `path` is a folder or no PNG, or cannot be written.
    """
    check_path(path)
    rows = [(split, target) for split in SPLITS for target in range(len(CLASSES))]
    width = MARGIN + COLUMNS * (TILE + GAP)
    height = len(rows) * (TILE + CAPTION + GAP) + FOOT
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default
    for number, (split, target) in enumerate(rows):
        top = number * (TILE + CAPTION + GAP) + GAP
        chosen = [fact for fact in report.facts if fact.side and (fact.entry.split, fact.target) == (split, target)]
        text = f"{split}\n{target} {CLASSES[target]}\n{len(chosen):,} slices"
        draw.multiline_text((8, top + 8), text, fill=_INK, font=font(14), spacing=6)
        for column, item in enumerate(middles(chosen, COLUMNS)):
            left = MARGIN + column * (TILE + GAP)
            if (tile := _tile(item)) is not None:
                sheet.paste(tile, (left, top))
            draw.text((left + 1, top + TILE + 1), printable(item.entry.image.stem)[:30], fill=_FAINT, font=font(11))
    foot = height - FOOT + 6
    draw.text((8, foot), "liver", fill=LIVER, font=font(13))
    draw.text((44, foot), "lesion", fill=LESION, font=font(13))
    draw.text((MARGIN, foot), f"{printable(report.root.resolve().name)}. {DISCLAIMER}", fill=_FAINT, font=font(13))
    try:
        with atomic_path(path) as temporary:
            sheet.save(temporary, format="PNG", optimize=True)
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise OutputError(f"{path} cannot be written ({why}).", fix="name a folder that you may write to") from error


def _tile(item: SliceExamination) -> Image.Image | None:
    """A slice with its contours, or None where a file vanished or broke since the check."""
    try:
        pixels = load_slice(item.entry.image, CONTRACT)[0]
        labels = None if item.entry.mask is None else read_labels(item.entry.mask)
    except (SliceError, OSError):
        return None
    grey = Image.fromarray(pixels).resize((TILE, TILE), Image.Resampling.LANCZOS)
    tile = np.array(grey.convert("RGB"))
    if labels is not None:
        small = np.asarray(Image.fromarray(labels).resize((TILE, TILE), Image.Resampling.NEAREST))
        tile[_contour(small >= 1)] = LIVER
        tile[_contour(small == 2)] = LESION
    return Image.fromarray(tile)


def _contour(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Pixels of a mask that have a neighbour outside it."""
    around = np.pad(mask, 1)
    inside = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return np.asarray(mask & ~inside)
