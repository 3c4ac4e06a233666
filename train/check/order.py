"""How slices follow each other, as `lits_deploy.series` says: what has no order, gaps, and slices that are there twice.

Neighbours, volumes and the lesions of `lesions` go by this order. A gap costs nothing but neighbours that lie further
away; a slice that is there twice counts twice, in training and in figures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from lits_deploy.series import Arranged, steps_of
from train.check.examine import SliceExamination
from train.check.findings import Finding, name_of
from train.data.layout import SPLITS
from train.data.volumes import volumes


def stacks(facts: Sequence[SliceExamination]) -> list[tuple[Arranged, list[SliceExamination]]]:
    """Each volume of each split, and its slices in order."""
    found = []
    for split in SPLITS:
        here = [fact for fact in facts if fact.entry.split == split]
        for volume in volumes([(fact.entry.image.name, fact.entry.patient, fact.entry.scan) for fact in here]):
            found.append((volume, [here[i] for i in volume.slices]))
    return found


def check_order(root: Path, facts: Sequence[SliceExamination], *, by_slice: bool) -> list[Finding]:
    """One finding for each doubt of a split, and one for its gaps; by_slice: other splits hold what is missing."""
    doubtful: defaultdict[tuple[str, str], list[list[SliceExamination]]] = defaultdict(list)
    uneven: defaultdict[str, list[tuple[int, list[SliceExamination]]]] = defaultdict(list)
    for volume, stack in stacks(facts):
        split = stack[0].entry.split
        for doubt in volume.doubts:
            doubtful[split, doubt].append(stack)
        steps = steps_of(number for number in volume.coordinates if number is not None)
        if steps.missing or steps.irregular:
            uneven[split].append((steps.missing, stack))
    found = []
    for (_, doubt), here in doubtful.items():
        text = f"{doubt} ({_scans(here)}), so they have no neighbours: name them volume-VVV_SSSS, or part them"
        found.append(Finding("warning", "order", name_of(root, here[0][0].entry.image), text))
    for gaps in [] if by_slice else uneven.values():
        most, worst = max(gaps, key=lambda gap: gap[0])
        text = (
            f"slices do not follow each other evenly ({_scans([stack for _, stack in gaps])}): by their numbers"
            f" {sum(missing for missing, _ in gaps):,} are missing, {most:,} of them here, and neighbours lie further"
            " apart there: ignore this if the scan itself has gaps"
        )
        found.append(Finding("note", "gaps", name_of(root, worst[0].entry.image), text))
    return found


def check_copies(root: Path, facts: Sequence[SliceExamination]) -> list[Finding]:
    """One finding for each pair of patients, or patient, with slices of equal pixels in one split."""
    first: dict[tuple[str, int], SliceExamination] = {}
    pairs: defaultdict[tuple[str, str, str], list[tuple[SliceExamination, SliceExamination]]] = defaultdict(list)
    for fact in facts:
        if fact.key is None:
            continue
        original = first.setdefault((fact.entry.split, fact.key), fact)
        if original is not fact:
            pairs[fact.entry.split, original.entry.patient, fact.entry.patient].append((original, fact))
    found = []
    for (_, one, other), copies in pairs.items():
        original, copy = copies[0]
        whose = f"patient {one or '?'}" if one == other else f"patients {one or '?'} and {other or '?'}"
        text = (
            f"the same pixels as {name_of(root, original.entry.image)}; {len(copies):,} such"
            f" {'pair' if len(copies) == 1 else 'pairs'} of {whose}: they count twice, remove one of each"
        )
        found.append(Finding("warning", "copy", name_of(root, copy.entry.image), text))
    return found


def _scans(stacks: Sequence[Sequence[SliceExamination]]) -> str:
    return f"{len(stacks):,} scan{'' if len(stacks) == 1 else 's'}, {sum(map(len, stacks)):,} slices"
