"""Schemas of manifest.json, from the first to today's: older ones are read, newer ones are explained.

    1   until 2026-11-24: one temperature and threshold for all files
    2   until 2026-11-29: each file has its own, with the record of how they were fitted, its place, and its gate;
        class 2 is given where it is the most probable
    3   class 2 is given by an operating point, one of those that a file has a threshold for, with what each promises

The schema grows by one when a field is renamed, goes, or takes another meaning; the step from the schema before stands
here, and a bundle of that schema in `tests/released`, for ever. A new optional field needs no new schema, and is
refused by those who do not know it (`manifest_check`): it might change answers. What only informs goes into one of the
free records (metrics, training, export, an artifact's calibration …), where whoever does not know it may pass it over.
Knows nothing about files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lits_deploy.errors import BundleError
from lits_deploy.operating_point import ARGMAX
from lits_deploy.release import __version__

SCHEMA = 3
"""Today's."""

UPDATE = "update lits-deploy"
"""The fix for a bundle that a newer version made."""

UPGRADED = "upgraded"
"""Where a manifest's `export` says what `bundle upgrade` made it of: a list of records, the oldest first."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """From one schema to the next. unknown: what nobody noted then, in words that end "is not known"."""

    values: Callable[[Mapping[str, Any]], dict[str, Any]]
    unknown: str


def _from_1(values: Mapping[str, Any]) -> dict[str, Any]:
    rule = {"temperature": values.get("temperature", 1.0), "abstain_below": values.get("abstain_below")}
    new = {key: value for key, value in values.items() if key not in rule}
    if isinstance(artifacts := values.get("artifacts"), list):  # anything else is refused with all other fields
        new["artifacts"] = [{**rule, **one} if isinstance(one, dict) else one for one in artifacts]
    return new


def _from_2(values: Mapping[str, Any]) -> dict[str, Any]:
    new = dict(values)
    if isinstance(artifacts := values.get("artifacts"), list):
        new["artifacts"] = [{**one, "operating_point": ARGMAX} if isinstance(one, dict) else one for one in artifacts]
    return new


STEPS: Mapping[int, Step] = {
    1: Step(
        values=_from_1, unknown="how temperature and threshold were fitted, and for which runtimes a file is meant,"
    ),
    2: Step(values=_from_2, unknown="how many lesion slices it will miss on new patients"),
}
"""By the schema that they begin at."""


def todays(values: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest in today's schema. What its fields hold is not looked at.

    Raises BundleError, naming what to do, for a schema that is newer than today's or never was.
    """
    schema = values.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < min((*STEPS, SCHEMA)):
        raise BundleError(f"The manifest has schema {str(schema)[:20]}, which never was one.", fix="export again")
    if schema > SCHEMA:
        raise BundleError(
            f"The bundle has schema {schema}, and lits-deploy {__version__} knows those up to {SCHEMA}: a newer "
            "lits-deploy made it.",
            fix=UPDATE,
        )
    new = dict(values)
    for number in range(schema, SCHEMA):
        new = {**STEPS[number].values(new), "schema": number + 1}
    return new


def unknown_since(schema: int) -> list[str]:
    """What a bundle of that schema cannot tell, a line each."""
    return [f"{STEPS[number].unknown} is not known" for number in range(schema, SCHEMA)]
