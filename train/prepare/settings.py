"""What a preparation was asked for: a record that is compared when an unfinished one is taken up again."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lits_deploy.errors import UserError
from train.choices import LayoutName, SplitBy
from train.data.labels import Meaning
from train.data.layout import SPLITS

VOLUME_LAYOUTS: tuple[LayoutName, ...] = ("lits", "msd")
"""Layouts of volumes in HU; the others are pictures that went through a window already."""

SIZE = 256
"""Side of a prepared slice in pixels."""

USUAL_WINDOWS = "--window -160 240 (level 40, width 400), --window -200 200, --window -200 250 or --window -40 160"


@dataclass(frozen=True, kw_only=True)
class PrepareSettings:
    """How to prepare.

    window_hu: (low, high) in HU that map to 0 and 255. Volumes need one, and there is no default. For pictures it only
        declares the window that they were made with; None: unknown.
    split_by: "slice" reproduces the thesis's leaky split; the data set is marked so.
    fractions: shares of train, validate and test; only their ratio counts.
    labels: what the values of masks mean (`train.data.labels.parse_labels`); None: they are labels 0, 1 and 2.
    fix_orientation: turn volumes whose pixels clearly lie otherwise than they should.

    Raises UserError for impossible values.
    """

    layout: LayoutName
    window_hu: tuple[float, float] | None
    split_by: SplitBy = "patient"
    fractions: tuple[float, ...] = (70.0, 15.0, 15.0)
    seed: int = 0
    fix_orientation: bool = False
    labels: Meaning | None = None

    def __post_init__(self) -> None:
        if self.window_hu is None and self.layout in VOLUME_LAYOUTS:
            raise UserError(
                "Volumes in HU need a window, and there is no default.", fix=f"for the liver: {USUAL_WINDOWS}"
            )
        if self.window_hu is not None and not self.window_hu[0] < self.window_hu[1]:
            low, high = self.window_hu
            raise UserError(f"The window {low:g} {high:g} HU is empty.", fix="give --window LOW HIGH with LOW < HIGH")
        if len(self.fractions) != len(SPLITS) or not all(0 < share < float("inf") for share in self.fractions):
            raise UserError(
                f"Three positive fractions are needed, not {self.fractions}.", fix="for example --fractions 70,15,15"
            )
        if self.labels is not None and self.layout == "lits-png":
            raise UserError(
                "The masks of lits-png are one of the liver and one of the lesions, whatever their values.",
                fix="leave --labels out",
            )
        colours = [value for value, _ in self.labels or () if len(value) == 6]
        if colours and self.layout in VOLUME_LAYOUTS:
            raise UserError(f"A volume has no colour {colours[0]}.", fix="name numbers: --labels 0=0,5=1,6=2")
        if self.seed < 0:
            raise UserError(f"The seed {self.seed} is negative.", fix="give a seed of 0 or more")

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary for JSON."""
        values = dataclasses.asdict(self)
        values["window_hu"] = None if self.window_hu is None else list(self.window_hu)
        values["fractions"] = list(self.fractions)
        values["labels"] = None if self.labels is None else dict(self.labels)
        return values


def parse_fractions(text: str) -> tuple[float, ...]:
    """`70,15,15` as numbers; UserError where it is something else."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UserError(f"--fractions {text!r} are not numbers.", fix="for example --fractions 70,15,15") from error


def check_folders(src: Path, out: Path) -> None:
    """Refuse a missing source, and an output folder inside the source or around it."""
    if not src.is_dir():
        raise UserError(f"There is no folder {src}.", fix="name the folder that holds the volumes or pictures")
    inner, outer = out.resolve(), src.resolve()
    if inner == outer or outer in inner.parents or inner in outer.parents:
        raise UserError(f"{out} and {src} lie within each other.", fix="name an output folder beside the source")
