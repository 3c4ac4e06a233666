"""How much smaller than the thesis: slices, epochs, the U-Net's width, minutes. Every output says it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lits_deploy.errors import UserError
from train.data.layout import SPLITS
from train.models.registry import UNET_WIDTH

FEWEST_EPOCHS = 2
"""A curve needs two points."""

FEWEST_SLICES = 6
"""Of a split, if it has them: two of each class."""


@dataclass(frozen=True, kw_only=True)
class WorkScale:
    """name: as typed. slices, epochs, minutes: factors. width: channels of the U-Net's first stage.

    most: slices of train, validate and test at most, whatever the factor; None: no such bound.
    slim: whether a finished run's last checkpoint keeps no optimiser, two thirds of its size: a longer run starts anew.
    """

    name: str
    slices: float
    epochs: float
    minutes: float
    width: int
    most: tuple[int, int, int] | None = None
    slim: bool = False

    @property
    def full(self) -> bool:
        """Whether nothing is smaller than in the thesis."""
        return self == FULL

    def slices_of(self, split: str, count: int) -> int:
        """How many of `count` slices of a split are used."""
        wanted = max(FEWEST_SLICES, round(count * self.slices))
        if self.most is not None:
            wanted = min(wanted, self.most[SPLITS.index(split)])
        return min(count, wanted)

    def epochs_of(self, count: int) -> int:
        """How many epochs stand for `count` of the thesis's."""
        return count if self.epochs == 1.0 else max(min(count, FEWEST_EPOCHS), round(count * self.epochs))


FULL = WorkScale(name="1", slices=1.0, epochs=1.0, minutes=1.0, width=UNET_WIDTH)
TINY = WorkScale(name="tiny", slices=1.0, epochs=2 / 15, minutes=1 / 600, width=4, most=(9, 6, 6), slim=True)
"""For a smoke test: the figures mean nothing."""


def parse_scale(text: str) -> WorkScale:
    """`tiny`, or a number F in (0, 1]; UserError for anything else.

    F is about the share of a classifier's work: slices and epochs each shrink to the root of F, and so does the
    U-Net's width; minutes shrink to F.
    """
    if text == "tiny":
        return TINY
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not 0.0 < factor <= 1.0:
        raise UserError(f"`{text}` is not a scale.", fix="give a number over 0 and up to 1, or tiny")
    if factor == 1.0:
        return FULL
    root = math.sqrt(factor)
    width = max(4, 4 * round(UNET_WIDTH * root / 4))
    return WorkScale(name=f"{factor:g}", slices=root, epochs=root, minutes=factor, width=width)
