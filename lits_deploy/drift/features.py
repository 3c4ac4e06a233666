"""The numbers that series are compared by: what each is called, what a high or low one says, and on which scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[np.float64]


class FeatureScale(NamedTuple):
    """On which values are compared, and the way back."""

    of: Callable[[Column], Column]
    back: Callable[[Column], Column]


def _logarithm(floor: float) -> FeatureScale:
    return FeatureScale(lambda values: np.log(np.maximum(values, 0) + floor), lambda scaled: np.exp(scaled) - floor)


PLAIN = FeatureScale(np.asarray, np.asarray)
_ROOT = FeatureScale(lambda values: np.sqrt(np.maximum(values, 0)), lambda scaled: np.maximum(scaled, 0) ** 2)
_ANGLE = FeatureScale(lambda values: np.arctanh(np.clip(values, -0.98, 0.98)), np.tanh)  # Fisher's z


@dataclass(frozen=True)
class Number:
    """One of them.

    what: its name for people. clause: what it says of a series, with {} where `less` or `more` goes. unit, digits: as
    it is shown, times `shown`. lowest, highest: the range of possible values; None where it has no end. scale: on which
    it is compared, so that equal steps mean equally much; step: the least difference there that means anything.
    answers: it depends on the network.
    """

    name: str
    what: str
    clause: str
    less: str
    more: str
    unit: str = ""
    digits: int = 0
    shown: float = 1.0
    lowest: float | None = None
    highest: float | None = None
    scale: FeatureScale = PLAIN
    step: float = 1.0
    answers: bool = False

    def text(self, value: float) -> str:
        """A value as a reader wants it, without its unit."""
        return f"{value * self.shown:.{self.digits}f}".replace("-", "−")

    def limits(self) -> tuple[float, float]:
        """The range of possible values on the scale; infinite where it has no end."""
        ends = ((self.lowest, -inf), (self.highest, inf))
        low, high = (none if end is None else float(self.scale.of(np.array([end]))[0]) for end, none in ends)
        return low, high

    def said(self, higher: bool) -> str:
        """What a high or low value says of a series."""
        return self.clause.format(self.more if higher else self.less)


_PER_MILLE: dict[str, Any] = {"unit": "%", "shown": 0.1, "lowest": 0.0, "highest": 1000.0}
_GREY: dict[str, Any] = {"unit": "grey levels", "lowest": 0.0, "highest": 255.0}
_TENTHS: dict[str, Any] = {"shown": 0.1, "digits": 1, "lowest": 0.0, "scale": _logarithm(10), "step": 0.02}
_PART: dict[str, Any] = {"scale": _logarithm(10), "step": 0.02, **_PER_MILLE}
_SHARE: dict[str, Any] = {"scale": _ROOT, "step": 0.5, **_PER_MILLE}
_SIDE: dict[str, Any] = {"digits": 1, "step": 2.0, **_PER_MILLE}
_MM: dict[str, Any] = {"unit": "mm", "scale": _logarithm(0), "step": 0.02}
_RISE: dict[str, Any] = {"digits": 2, "lowest": -1.0, "highest": 1.0, "scale": _ANGLE, "step": 0.05}
_PROBABILITY: dict[str, Any] = {"lowest": 0.0, "highest": 1.0, "answers": True}
_MEAN: dict[str, Any] = {"digits": 3, "scale": _ROOT, "step": 0.01, **_PROBABILITY}
_SURE: dict[str, Any] = {"digits": 3, "step": 0.005, **_PROBABILITY}
_SLICES: dict[str, Any] = {"unit": "%", "shown": 100.0, "scale": _ROOT, "step": 0.02, **_PROBABILITY}

AS_SEEN = (
    Number("tissue", "share of tissue", "the body fills {} of the picture", "less", "more", **_PART),
    Number(
        "light", "share of bone and contrast medium", "{} of it is as bright as bone", "less", "more", digits=1, **_PART
    ),
    Number("low", "dark soft tissue", "its dark soft tissue is {}", "darker", "brighter", **_GREY),
    Number("middle", "soft tissue", "its soft tissue is {}", "darker", "brighter", **_GREY),
    Number("high", "bright soft tissue", "its bright soft tissue is {}", "darker", "brighter", **_GREY),
    Number("noise", "noise", "it has {} noise", "less", "more", unit="grey levels", **_TENTHS),
    Number("height", "height of the body", "the body is {}", "flatter", "taller", **_SIDE),
    Number("width", "width of the body", "the body is {}", "narrower", "wider", **_SIDE),
    Number("hollow", "air and fat in the left half", "its left half holds {} air and fat", "less", "more", **_SHARE),
    Number(
        *("rise", "rise of air and fat", "along it, air and fat {}", "shrink (does it run head first?)", "grow more"),
        **_RISE,
    ),
    Number("climb", "rise of brightness", "along it, its brightness {}", "falls", "grows more", **_RISE),
)
IN_HU = (
    Number("body", "share of body", "the body fills {} of the field of view", "less", "more", **_PART),
    Number("hu_low", "low HU of the body", "its low HU are {}", "lower", "higher", unit="HU"),
    Number("hu_middle", "median HU of the body", "its HU are {}", "lower", "higher", unit="HU"),
    Number("hu_high", "high HU of the body", "its high HU are {}", "lower", "higher", unit="HU"),
    Number("hu_noise", "noise in HU", "it has {} noise in HU", "less", "more", unit="HU", **_TENTHS),
    Number("fat", "share of fat", "it shows {} fat", "less", "more", **_SHARE),
)
BY_HEADER = (
    Number("field_mm", "field of view", "its field of view is {}", "smaller", "larger", **_MM),
    Number("body_mm", "size of the body", "the body is {}", "smaller", "larger", **_MM),
    Number("step_mm", "distance of slices", "its slices lie {}", "closer together", "farther apart", digits=2, **_MM),
    Number("thickness_mm", "thickness of slices", "its slices are {}", "thinner", "thicker", digits=2, **_MM),
)
ANSWERED = (
    Number("liver", "share of slices with liver", "{} of its slices show liver", "fewer", "more", **_SLICES),
    Number("unsure", "share of abstentions", "{} of its slices get no class", "fewer", "more", **_SLICES),
    Number(*("suspect", "mean lesion probability", "its mean lesion probability is {}", "lower", "higher"), **_MEAN),
    Number(*("surest", "mean of the highest probabilities", "the network is {} of it", "less sure", "surer"), **_SURE),
)
NUMBERS = (*AS_SEEN, *IN_HU, *BY_HEADER, *ANSWERED)
"""All of them, in reading order."""

BY_NAME = {number.name: number for number in NUMBERS}
