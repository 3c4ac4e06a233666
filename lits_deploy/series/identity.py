"""Which slices of one series UID (or folder) belong together: those of one patient that lie comparably.

Compared with tolerances, never as text: exporters and anonymisers round. Nothing else splits: neither free text, nor
demographics, nor a frame of reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lits_deploy.series.facts import Geometry, SliceFacts

SAME_DIRECTION = 1e-3
"""Of each cosine: 0.06°. Positions 300 mm from the origin then agree to 0.3 mm, a tenth of a usual distance."""

SAME_SPACING = 1e-3
"""As a share."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Slices (indices) of one patient and geometry. variant: tells it from others of its series UID, patients apart."""

    patient: str
    variant: str
    geometry: Geometry
    members: tuple[int, ...]
    unnamed: int = 0


def groups(facts: Sequence[SliceFacts], members: Sequence[int]) -> list[Group]:
    """The groups of the members, which are of one series UID; each has its own in the order of `members`."""
    patients = sorted({one.patient for one in facts if one.patient})
    nameless = [""] if not patients or not all(one.patient for one in facts) else []
    found = []
    for patient in patients if len(patients) == 1 else [*patients, *nameless]:
        # An anonymiser may have left the id out of some files: with one patient around they are theirs.
        own = [i for i in members if facts[i].patient == patient or len(patients) <= 1]
        found += _by_geometry(facts, own, patient, len(patients))
    return found


def _by_geometry(facts: Sequence[SliceFacts], own: Sequence[int], patient: str, patients: int) -> list[Group]:
    distinct = sorted({facts[i].geometry for i in own}, key=_order)
    firsts: list[Geometry] = []
    cluster_of: dict[Geometry, int] = {}
    for geometry in distinct:
        cluster = next((n for n, first in enumerate(firsts) if comparable(geometry, first)), None)
        if cluster is None:
            cluster = len(firsts)
            firsts.append(geometry)
        cluster_of[geometry] = cluster
    names: list[str] = []
    for first in firsts:
        kind = f"{first.rows}x{first.columns} {first.reorientation}"
        names.append(f"{kind} {sum(name.startswith(kind + ' ') for name in names)}")
    members: list[list[int]] = [[] for _ in firsts]
    for i in own:
        members[cluster_of[facts[i].geometry]].append(i)
    return [
        Group(
            patient=patient,
            variant=name,
            geometry=first,
            members=tuple(some),
            unnamed=len(some) if patients > 1 and not patient else 0,
        )
        for name, first, some in zip(names, firsts, members, strict=True)
    ]


def comparable(one: Geometry, other: Geometry) -> bool:
    """Whether slices of these may lie in one volume."""
    if (one.rows, one.columns, one.reorientation) != (other.rows, other.columns, other.reorientation):
        return False
    same_spacing = _similar(one.spacing_mm, other.spacing_mm, SAME_SPACING, relative=True)
    return same_spacing and _similar(one.directions, other.directions, SAME_DIRECTION, relative=False)


def _similar(one: Sequence[float] | None, other: Sequence[float] | None, tolerance: float, *, relative: bool) -> bool:
    if one is None or other is None:
        return one is other
    return all(
        abs(a - b) <= tolerance * (max(abs(a), abs(b)) if relative else 1.0) for a, b in zip(one, other, strict=True)
    )


def _order(geometry: Geometry) -> tuple[object, ...]:
    return geometry.rows, geometry.columns, geometry.reorientation, geometry.spacing_mm or (), geometry.directions or ()
