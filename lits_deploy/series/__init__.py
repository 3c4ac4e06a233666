"""One rule for what belongs together, in which order, and what counts once: pure functions over header facts.

    facts       what headers say of a slice           identity    patient and geometry: which slices are comparable
    copies      the same slice twice                  parts       phases and reconstructions under one series UID
    order       position, Slice Location, Instance Number, name; steps, gaps
    neighbours  the neighbours of a slice, for networks of several channels

`arrange` asks them all. Nobody else sorts slices: readers, ledger, tables, report, `scan` and training go through it.
Knows nothing about files, pixels or tables, and takes the slices of one series UID (or folder) at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lits_deploy.series.copies import copies
from lits_deploy.series.facts import CRITERIA, Geometry, SliceFacts, SliceHeader, Value
from lits_deploy.series.identity import groups
from lits_deploy.series.neighbours import neighbours_of
from lits_deploy.series.order import By, Steps, natural, ordered, steps_of
from lits_deploy.series.parts import parts

__all__ = [
    "CRITERIA",
    "Arranged",
    "By",
    "Geometry",
    "SliceFacts",
    "SliceHeader",
    "Steps",
    "Value",
    "arrange",
    "natural",
    "neighbours_of",
    "steps_of",
]


@dataclass(frozen=True, kw_only=True)
class Arranged:
    """A volume: slices that belong together, from first to last; slices are indices into the facts.

    slices: without copies, in order; coordinates: what orders each, None for one that lacks it. copies: copy →
    original, of these slices. failed: files without slices. patient: its id, or empty. variant: tells apart the
    geometries under one series UID. part, parts: the n-th volume of so many of one geometry; label: what tells it from
    the others (`acquisition 1`). by: what gave the order. doubts: for people, what stays unknown.
    neighboured: a slice's neighbours are those before and after it; else it has none but itself.
    """

    slices: tuple[int, ...]
    coordinates: tuple[float | None, ...]
    copies: Mapping[int, int]
    failed: tuple[int, ...]
    patient: str
    variant: str
    geometry: Geometry
    part: int
    parts: int
    label: str
    by: By
    steps: Steps
    doubts: tuple[str, ...]
    neighboured: bool

    @property
    def name(self) -> str:
        """`part 1 of 2: acquisition 1`; empty for a series that is one volume."""
        return f"part {self.part} of {self.parts}: {self.label}" if self.parts > 1 else ""

    def neighbours(self, channels: int) -> dict[int, tuple[int, ...]]:
        """For each slice and copy the slices that become its channels (`neighbours_of`)."""
        found = {}
        for index, one in enumerate(self.slices):
            others = neighbours_of(index, len(self.slices), channels) if self.neighboured else [index] * channels
            found[one] = tuple(self.slices[i] for i in others)
        for copy, original in self.copies.items():
            found[copy] = tuple(copy if one == original else one for one in found[original])
        return found


def arrange(facts: Sequence[SliceFacts], *, named: bool = True, by_folder: bool = False) -> list[Arranged]:
    """The volumes of the slices of one series UID, whatever the order in which they come.

    Slices of another one, or of another folder where there is no UID, are not to be among them. named: paths are names;
    False where they are hashes, which tell no order. by_folder: there is no series UID.
    """
    by_name = sorted(range(len(facts)), key=lambda i: (natural(facts[i].path), facts[i].index))
    found = []
    for group in groups(facts, by_name):
        there = [i for i in group.members if facts[i].header is not None]
        copy_of, contradictions = copies(facts, there)
        volumes = parts(facts, [i for i in there if i not in copy_of])
        for number, part in enumerate(volumes, start=1):
            order = ordered(facts, part.members)
            own = set(part.members)
            positions = [at for at in order.coordinates if at is not None and order.by == "position"]
            doubts = []
            if group.unnamed:
                doubts.append("its patient is not known, and the series UID is that of several patients")
            if by_folder and len(part.members) > 1:
                doubts.append("no series UID: the files of one folder are taken for a series")
            if part.doubtful:
                doubts.append("slices lie at one position, and nothing tells them apart")
            if contradictions:
                doubts.append("slices of one SOP instance UID differ")
            if order.astray:
                doubts.append(f"{order.by} missing in {order.astray} of {len(order.indices)} slices")
            has_order = order.by != "name" or (named and _numbered(facts, order.indices))
            if not has_order and len(order.indices) > 1:
                doubts.append("nothing tells the order of its slices")
            found.append(
                Arranged(
                    slices=order.indices,
                    coordinates=order.coordinates,
                    copies={i: original for i, original in copy_of.items() if original in own},
                    failed=tuple(i for i in group.members if facts[i].header is None) if number == 1 else (),
                    patient=group.patient,
                    variant=group.variant,
                    geometry=group.geometry,
                    part=number,
                    parts=len(volumes),
                    label=part.label,
                    by=order.by,
                    steps=steps_of(positions),
                    doubts=tuple(doubts),
                    neighboured=has_order and not part.doubtful,
                )
            )
    return found


def _numbered(facts: Sequence[SliceFacts], indices: Sequence[int]) -> bool:
    """Whether names tell an order: each holds a number."""
    return all(any(c.isdigit() for c in facts[i].path.rpartition("/")[2]) for i in indices)
