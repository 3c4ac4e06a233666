"""What a precision may cost. The defaults stand here; a flag overrides one, and the manifest records what was used."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lits_deploy.errors import UserError


@dataclass(frozen=True, kw_only=True)
class GateLimits:
    """Limits of one precision; None: not checked.

    flipped: share of slices that get another class, at most.
    lesions_lost: share of lesion slices that the original finds and the artifact does not, at most.
    lesions_lost_net: the same, less those that only the artifact finds.
    accuracy: of the artifact over that of the original, at least.
    dice: U-Net: fall of any class's Dice, at most.
    """

    flipped: float | None = None
    lesions_lost: float | None = None
    lesions_lost_net: float | None = None
    accuracy: float | None = None
    dice: float | None = None

    def __post_init__(self) -> None:
        for name, value in self.to_json().items():
            if value is not None and not 0 <= value <= 1:
                raise UserError(f"The gate limit {name}={value} is not a share.", fix="give a number from 0 to 1")

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary for JSON."""
        return dataclasses.asdict(self)

    def failures(self, figures: dict[str, Any]) -> list[str]:
        """One line for every limit that `comparison` figures break; one that is not a number breaks its limit."""
        found = []
        for name, value in figures["judged"].items():
            limit = getattr(self, name)
            if limit is None:
                continue
            at_least = name == "accuracy"
            kept = value is not None and (value >= limit if at_least else value <= limit)
            if not kept:
                shown = "not a number" if value is None else f"{value:.4f}"
                found.append(f"{name} {shown} ({'≥' if at_least else '≤'} {limit:g})")
        if figures["max_delta"] is None:
            found.append("probabilities that are not finite")
        return found


DEFAULTS: dict[str, GateLimits] = {
    "fp16": GateLimits(flipped=0.002, lesions_lost=0.0, dice=0.002),
    "int8": GateLimits(accuracy=0.99, lesions_lost_net=0.02, dice=0.01),
}
"""The Dice limits are ours: INT8 may cost one unit of the second decimal that papers print, FP16 a fifth of it."""


def override(changes: Sequence[str]) -> tuple[dict[str, GateLimits], list[str]]:
    """DEFAULTS with changes like `int8.accuracy=0.98` or `fp16.flipped=none`, and a line for each change.

    Raises UserError that lists the names for one that is none.
    """
    limits, said = dict(DEFAULTS), []
    for change in changes:
        path, _, text = change.partition("=")
        precision, _, name = path.strip().partition(".")
        names = [field.name for field in dataclasses.fields(GateLimits)]
        if precision not in limits or name not in names or not text.strip():
            fix = f"--gate fp16.NAME=SHARE or int8.NAME=SHARE, NAME one of: {', '.join(names)}"
            raise UserError(f"`{change}` is not a gate limit.", fix=fix)
        try:
            value = None if text.strip().lower() == "none" else float(text)
        except ValueError as error:
            raise UserError(f"`{change}` names no number.", fix="give a share from 0 to 1, or none") from error
        before = getattr(limits[precision], name)
        limits[precision] = dataclasses.replace(limits[precision], **{name: value})
        said.append(f"{precision}.{name}: {_text(before)} → {_text(value)}")
    return limits, said


def _text(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"
