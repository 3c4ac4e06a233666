"""Operating points: the rules by which a slice gets class 2, and what each promises on new patients.

    argmax            the class of the highest probability
    balanced          a threshold at which the mean of sensitivity and specificity was highest
    sensitivity=0.9   the highest threshold that found this share of the slices with a lesion
    specificity=0.95  the lowest threshold that left this share of the other slices alone

A threshold is on the calibrated odds of a lesion, p2 / (p0 + p1). A slice that reaches it gets class 2; any other gets
0 or 1, whichever is more probable (`pipeline.decide`). Thresholds and promises are fitted at export (`export.promise`)
and lie in the manifest (`bundle.Artifact`). Knows nothing about logits, files or runtimes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lits_deploy.errors import BundleError, UserError
from lits_deploy.synthetic import CAVEAT

ARGMAX, BALANCED = "argmax", "balanced"
HELD = ("sensitivity", "specificity")
"""What a rule may hold at a wanted value."""

FORMS = "argmax, balanced, sensitivity=0.90 or specificity=0.95"
"""How rules are written, for help and errors."""

FEWEST = 10
"""Patients below which an interval over patients only hints at the spread."""

OUT_OF_FOLD, VALIDATE = "out of fold", "validate"
"""Where the answers came from that thresholds and promises were fitted on."""

MOVED = "moved"
"""False in `Artifact.promise`: of an average of networks whose thresholds are still those of the single ones."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share of slices, 0 to 1, and its 95 % interval over patients; None where there were too few for one."""

    value: float
    low: float | None
    high: float | None

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Share:
        """Read back a record of the manifest."""
        return cls(value=record["value"], low=record["low"], high=record["high"])

    @property
    def rest(self) -> Share:
        """The share of the other slices."""
        low, high = (None if end is None else 1 - end for end in (self.high, self.low))
        return Share(value=1 - self.value, low=low, high=high)

    def per_hundred(self) -> str:
        """`71 (52 to 85)`: of 100 slices."""
        text = _hundred(self.value)
        return (
            text if self.low is None or self.high is None else f"{text} ({_hundred(self.low)} to {_hundred(self.high)})"
        )


@dataclass(frozen=True, kw_only=True)
class Patients:
    """The same rule, patient by patient: of those with a lesion, how many had one of the lesion's slices marked
    (found); of those without, how many had any slice marked."""

    with_lesion: int
    found: int
    without: int
    marked: int


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A rule and what it promises on new patients.

    threshold: on the odds; None for argmax. sensitivity: of the slices with a lesion, the share expected to get class
    2; specificity: of the others, the share expected not to. None where nothing was promised.
    """

    rule: str = ARGMAX
    threshold: float | None = None
    sensitivity: Share | None = None
    specificity: Share | None = None
    patients: Patients | None = None

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> OperatingPoint:
        """Read back an entry of `Artifact.operating_points`."""
        return cls(
            rule=record["rule"],
            threshold=record["threshold"],
            sensitivity=Share.from_json(record["sensitivity"]),
            specificity=Share.from_json(record["specificity"]),
            patients=Patients(**record["patients"]),
        )

    def identity(self) -> dict[str, Any]:
        """For a run's identity, beside the bundle, which has the threshold; nothing for argmax, which was the rule
        before there were any."""
        return {} if self.threshold is None else {"operating_point": self.rule}


class HasPoints(Protocol):
    """What is asked of a `bundle.Artifact`."""

    @property
    def name(self) -> str:
        """What users type."""

    @property
    def operating_point(self) -> str:
        """The rule in force."""

    @property
    def operating_points(self) -> Sequence[Mapping[str, Any]]:
        """The rules that it has thresholds for."""


def parse_rule(text: str) -> str:
    """A rule as it is written in manifests. Raises UserError for what is none."""
    name, _, number = text.strip().lower().partition("=")
    if not number and name in (ARGMAX, BALANCED) and "=" not in text:
        return name
    try:
        wanted = float(number)
    except ValueError:
        wanted = 0.0
    if name not in HELD or not 0 < wanted < 1:
        raise UserError(f"`{text}` is not an operating point.", fix=f"one of {FORMS}, the number between 0 and 1")
    return f"{name}={wanted:g}"


def point_of(artifact: HasPoints, asked: str | None = None) -> OperatingPoint:
    """The operating point in force: the one asked for, or the artifact's own.

    Raises UserError for what is no rule, BundleError for one that the artifact has no threshold for.
    """
    rule = artifact.operating_point if asked is None else parse_rule(asked)
    known = {record["rule"]: record for record in artifact.operating_points}
    if rule in known:
        return OperatingPoint.from_json(known[rule])
    if rule == ARGMAX:
        return OperatingPoint()
    if not known:
        raise BundleError(
            f"{artifact.name} has no operating points: none were fitted at export.",
            fix="leave --operating-point out, or export again with labelled patients it was not trained on",
        )
    raise BundleError(f"{artifact.name} has no threshold for {rule}.", fix=f"one of {', '.join(known)}")


def odds_text(threshold: float, artifact: HasPoints) -> str:
    """A threshold of the artifact with three digits, or as many as tell it from its other ones."""
    all_of_them = {one["threshold"] for one in artifact.operating_points} - {None}
    for digits in range(3, 18):
        if len({f"{value:.{digits}g}" for value in all_of_them}) == len(all_of_them):
            break
    return f"{threshold:.{digits}g}"


def promised(point: OperatingPoint, record: Mapping[str, Any]) -> str | None:
    """What the rule will miss on new patients, in one plain sentence, and what that rests on in another.

    record: `Artifact.promise`, which may come from a stranger. None where nothing was promised.
    """
    if point.sensitivity is None or point.specificity is None:
        return None
    text = (
        f"Of 100 slices with a lesion it is expected to find {point.sensitivity.per_hundred()}; "
        f"of 100 without one it will mark {point.specificity.rest.per_hundred()}."
    )
    if rests := rests_on(record):
        text += f" {rests}"
    return f"{CAVEAT} {text}" if record.get("synthetic") is True else text


def rests_on(record: Mapping[str, Any]) -> str:
    """On which patients a promise rests, and how far to trust its interval."""
    patients, lesion = (
        value if isinstance(value := record.get(key), int) else None for key in ("patients", "with_lesion")
    )
    if patients is None or lesion is None:
        return ""
    how = {
        OUT_OF_FOLD: ", each answered by a network that had not seen them",
        VALIDATE: ", who also helped to choose the network: on others it may do worse",
    }.get(str(record.get("source")), "")
    text = f"Estimated on {patients} patients ({lesion} with a lesion){how}."
    if record.get(MOVED) is False:
        text += " The thresholds are still those of single networks: their average may find less, or mark more."
    return text + (" So few patients give little more than a hint." if min(patients, lesion) < FEWEST else "")


def by_patient(point: OperatingPoint) -> str | None:
    """The promise of a point as counts of patients, in a sentence; None without one."""
    if (p := point.patients) is None:
        return None
    texts = []
    if p.with_lesion:
        texts.append(f"in {p.found} of {p.with_lesion} patients with a lesion at least one slice of it was marked")
    if p.without:
        texts.append(f"in {p.marked} of {p.without} patients without one some slice was marked by mistake")
    text = "; ".join(texts)
    return f"{text[:1].upper()}{text[1:]}." if text else None


def _hundred(share: float) -> str:
    value = 100 * share
    return f"{value:.1f}" if 0 < value < 1 or 99 < value < 100 else f"{value:.0f}"
