"""What the pixels of a mask mean: labels 0 background, 1 liver, 2 lesion, or other values that the user translates.

A mask is taken by what it *shows*, never by the numbers behind a palette: programs that make PNGs smaller put a palette
in any order. Labels are grey 0, 1, 2, the colours of our own masks (`lits_deploy.segmentation.pictures`) and those of
PASCAL VOC. Anything else, such as 0, 127, 255, is refused, and named with the option that translates it:

    lits-deploy data prepare … --labels 0=0,127=1,255=2           grey values, of 8 or 16 bits
    lits-deploy data prepare … --labels 000000=0,ff0000=1,00ff00=2    colours

Opens no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image

from lits_deploy.errors import SliceError, UserError
from lits_deploy.segmentation.pictures import PALETTE

Shown = npt.NDArray[np.uint32]
"""What each pixel shows, [rows, columns]: 0xRRGGBB; DEEP and the value where a grey one has more than 8 bits."""

Meaning = tuple[tuple[str, int], ...]
"""`--labels`: pairs of a value, decimal or six hex digits, and its label."""

DEEP, _GREY = 1 << 24, 0x010101

_OWN = {int.from_bytes(bytes(PALETTE[3 * label : 3 * label + 3]), "big"): label for label in range(3)}
_CONVENTIONS: tuple[Mapping[int, int], ...] = (
    {label * _GREY: label for label in range(3)},
    _OWN,
    {0: 0, 0x800000: 1, 0x008000: 2},
)

_ENTRY = re.compile(r"#?([0-9a-f]{6})=([012])|(\d{1,5})=([012])", re.IGNORECASE)


class LabelsError(SliceError):
    """Values that are no labels; the text names the first few, and the option that translates them."""

    def __init__(self, values: Iterable[str], *, known: bool) -> None:
        self.values = tuple(values)
        few = ", ".join(self.values[:4]) + (", …" if len(self.values) > 4 else "")
        many = len(self.values) > 1
        why = "--labels does not name" if known else f"{'are no labels' if many else 'is no label'} (0, 1, 2)"
        self.what = f"the value{'s' if many else ''} {few}, which {why}"
        self.fix = "name every value: " if known else "translate them: "
        self.fix += f"`lits-deploy data prepare … --labels {_example(self.values)}`"
        super().__init__(f"{self.what}: {self.fix}")


def parse_labels(text: str) -> Meaning:
    """`0=0,127=1,255=2` or `000000=0,ff0000=1`, each value once; UserError where it is something else."""
    found: dict[str, int] = {}
    for part in text.split(","):
        match = _ENTRY.fullmatch(part.strip())
        value = match and (match[1] or match[3])
        if match is None or value is None or int(match[3] or 0) > 0xFFFF:
            raise UserError(
                f"--labels {text!r}: {part!r} is not VALUE=LABEL.",
                fix="grey values such as 0=0,127=1,255=2 or colours such as 000000=0,ff0000=1; labels are 0, 1 and 2",
            )
        value = value.lower() if match[1] else str(int(value))
        if value in found:
            raise UserError(f"--labels {text!r} names {value} twice.", fix="name each value once")
        found[value] = int(match[2] or match[4])
    if len({code_of(value) for value in found}) < len(found):
        raise UserError(f"--labels {text!r} names a value twice, in grey and as a colour.", fix="name each value once")
    return tuple(found.items())


def shown(picture: Image.Image) -> Shown:
    """What every pixel of a picture shows; transparency counts for nothing. SliceError for other kinds of pixels."""
    if picture.mode in ("1", "LA"):
        picture = picture.convert("L") if picture.mode == "1" else picture.getchannel("L")
    if picture.mode in ("RGB", "RGBA", "P"):
        if picture.mode == "P":
            table = np.zeros(256, np.uint32)
            colours = np.array(picture.getpalette("RGB") or (), np.uint32).reshape(-1, 3)
            table[: len(colours)] = _codes(colours)
            indices = np.asarray(picture)
            if len(colours) <= int(indices.max(initial=0)):
                raise SliceError("its palette lacks colours that it uses")
            return np.asarray(table[indices], np.uint32)
        return _codes(np.asarray(picture)[..., :3].astype(np.uint32))
    if picture.mode not in ("L", "I", "I;16", "I;16B"):
        raise SliceError(f"its pixels are neither grey nor colours ({picture.mode})")
    grey = np.asarray(picture).astype(np.uint32)
    return np.where(grey > 255, DEEP + grey, grey * _GREY).astype(np.uint32)


def labels_of(values: Shown, meaning: Meaning | None = None) -> npt.NDArray[np.uint8]:
    """The labels uint8 [rows, columns] of a mask; meaning: what its values mean, None: they are labels already.

    Raises LabelsError for a value that is no label, or that `meaning` does not name.
    """
    if meaning is None:  # nearly always, and quick
        labels = (values & 255).astype(np.uint8)
        if labels.max(initial=0) <= 2 and (labels * np.uint32(_GREY) == values).all():
            return labels
    there = np.unique(values)
    tables = _CONVENTIONS if meaning is None else ({code_of(value): label for value, label in meaning},)
    for table in tables:
        if all(int(code) in table for code in there):
            known = np.array([table[int(code)] for code in there], np.uint8)
            return np.asarray(known[np.searchsorted(there, values)], np.uint8)
    strange = [code for code in there if meaning is None or int(code) not in tables[0]]
    raise LabelsError(map(name_of, strange), known=meaning is not None)


def code_of(value: str) -> int:
    """What a value of `--labels` is in `Shown`."""
    if len(value) == 6:  # a grey value has five digits at most
        return int(value, 16)
    grey = int(value)
    return grey * _GREY if grey <= 255 else DEEP + grey


def name_of(code: int | np.integer) -> str:
    """A value of `Shown` as `--labels` names it."""
    code = int(code)
    if code >= DEEP:
        return str(code - DEEP)
    return str(code & 255) if code == (code & 255) * _GREY else f"{code:06x}"


def _codes(colours: Shown) -> Shown:
    """[…, 3] → […]."""
    return np.asarray(colours[..., 0] << 16 | colours[..., 1] << 8 | colours[..., 2], np.uint32)


def _example(values: tuple[str, ...]) -> str:
    """An example with the values at hand, where they are few; a grey mask has a background."""
    if not 1 <= len(values) <= 3 or not all(value.isdecimal() for value in values):
        colours = any(not value.isdecimal() for value in values)
        return "000000=0,ff0000=1,00ff00=2" if colours else "0=0,127=1,255=2"
    named = [value for value in values if value != "0"]
    return ",".join(["0=0", *(f"{value}={label}" for label, value in enumerate(named[:2], start=1))])
