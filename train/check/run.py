"""The whole check of a data set: list, look at every slice in processes, then check what only the whole set shows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from lits_deploy.contract import CLASSES
from lits_deploy.errors import SliceError, UserError
from train.check.duplicates import BITS, Copy, find_copies
from train.check.examine import CONTRACT, Greys, SliceExamination, examine_bunch
from train.check.findings import Finding, in_order, name_of
from train.check.intensity import check_intensity
from train.check.lesions import Labels, loose_pixels, still_loose
from train.check.listing import PictureEntry, PictureListing, list_data
from train.check.order import check_copies, check_order, stacks
from train.check.report import CheckReport, patient_order
from train.data.layout import SPLITS, WITHOUT_CLASS
from train.data.masks import read_labels
from train.data.slices import Progress, run_jobs

_AT_ONCE = 64  # slices in a bunch: a process is asked and answers that often

Facts = list[SliceExamination]


def check_data(
    root: Path,
    *,
    window: tuple[float, float] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> CheckReport:
    """Look at every file of the training data set `root`.

    window: (low, high) HU that the slices were made with, in place of what dataset.json declares; workers: processes,
    by default one per processor; progress: called with (slices done, slices in all).

    A broken file becomes a finding. Raises DataError where there is no data set, UserError for an empty window.
    """
    if window is not None and not window[0] < window[1]:
        raise UserError(f"The window {window[0]:g}…{window[1]:g} HU is empty.", fix="give LOW HIGH with LOW < HIGH")
    listing = list_data(root)
    facts, greys = _look(listing.entries, workers, progress)
    copies = _copies(facts)
    intensity, doubts = check_intensity(greys, window or listing.window_hu)
    findings = [
        *listing.findings,
        *(Finding("error", kind, name_of(root, path), text) for fact in facts for kind, path, text in fact.problems),
        *_sizes(facts),
        *_leaks(listing),
        *_copy_findings(root, listing, copies),
        *check_copies(root, facts),
        *check_order(root, facts, by_slice=listing.by_slice),
        *_empty_patients(facts),
        *_absent_classes(facts),
        *(one for _, stack in stacks([f for f in facts if f.entry.mask is not None]) for one in _loose_in(root, stack)),
        *doubts,
    ]
    return CheckReport(
        root=root,
        facts=facts,
        by_slice=listing.by_slice or bool(_in_two_splits(listing.entries)),
        copies=len(copies),
        intensity=intensity,
        findings=in_order(findings),
    )


def _look(
    entries: list[PictureEntry], workers: int | None, progress: Progress | None
) -> tuple[Facts, dict[str, Greys]]:
    """Facts of every slice, in order, and the grey levels of every patient."""
    bunches = [(first, entries[first : first + _AT_ONCE]) for first in range(0, len(entries), _AT_ONCE)]
    found: dict[int, Facts] = {}
    greys: dict[str, Greys] = defaultdict(Greys)
    for first, facts, by_patient in run_jobs(examine_bunch, bunches, workers):
        found[first] = facts
        for patient, here in by_patient.items():
            greys[patient] += here
        if progress is not None:
            progress(sum(map(len, found.values())), len(entries))
    return [fact for first in sorted(found) for fact in found[first]], dict(greys)


def _sizes(facts: Facts) -> Iterator[Finding]:
    sides = Counter(fact.side for fact in facts if fact.side is not None)
    listed = ", ".join(f"{count:,} of {side}×{side}" for side, count in sides.most_common(4))
    if len(sides) > 1:
        text = f"pictures of {len(sides)} sizes ({listed}): make them all of one size, {CONTRACT.size}×{CONTRACT.size}"
        yield Finding("warning", "sizes", "data set", text)
    elif sides and CONTRACT.size not in sides:
        text = f"all pictures are resized for training ({listed}): nothing to do"
        yield Finding("note", "sizes", "data set", text)


def _in_two_splits(entries: list[PictureEntry]) -> dict[str, Counter[str]]:
    """Slices per split of every patient that stands in more than one."""
    where: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in entries:
        if entry.patient:
            where[entry.patient][entry.split] += 1
    return {name: where[name] for name in sorted(where, key=patient_order) if len(where[name]) > 1}


def _leaks(listing: PictureListing) -> Iterator[Finding]:
    leaks = _in_two_splits(listing.entries)
    if listing.by_slice:
        text = (
            f"split by slice: {len(leaks)} patients occur in more than one split, so every figure on this set is leaky."
            " Split by patient for figures that mean something"
        )
        yield Finding("warning", "split-by-slice", "data set", text)
        return
    for name, splits in leaks.items():
        found = ", ".join(f"{split} ({splits[split]:,} slices)" for split in SPLITS if splits[split])
        text = f"stands in {found}: keep the patient in one split, or mark dataset.json split_by: slice"
        yield Finding("error", "patient-leak", f"patient {name}", text)


def _copies(facts: Facts) -> list[Copy]:
    numbers: dict[str, int] = {}
    people = [  # a slice without a patient may be anyone's: it is compared with all
        numbers.setdefault(fact.entry.patient or f"\0{index}", len(numbers)) for index, fact in enumerate(facts)
    ]
    return find_copies([fact.code for fact in facts], [SPLITS.index(fact.entry.split) for fact in facts], people)


def _copy_findings(root: Path, listing: PictureListing, copies: list[Copy]) -> Iterator[Finding]:
    """One finding for each pair of patients, with its closest pair of slices."""
    groups: dict[tuple[str, str, str, str], list[Copy]] = defaultdict(list)
    for copy in copies:
        a, b = listing.entries[copy.first], listing.entries[copy.second]
        groups[a.split, a.patient, b.split, b.patient].append(copy)
    for (split_a, name_a, split_b, name_b), pairs in groups.items():
        best = min(pairs, key=lambda pair: (pair.bits, pair.first, pair.second))
        first, second = (name_of(root, listing.entries[i].image) for i in (best.first, best.second))
        text = (
            f"the same picture as {first} ({best.bits} of {BITS:,} bits differ); {len(pairs):,} such"
            f" {'pair' if len(pairs) == 1 else 'pairs'} of patient {name_a or '?'} in {split_a} and patient"
            f" {name_b or '?'} in {split_b}: remove one side, or keep both in one split"
        )
        yield Finding("warning" if listing.by_slice else "error", "near-duplicate", second, text)


def _empty_patients(facts: Facts) -> Iterator[Finding]:
    """Patients of whom every mask is read and empty."""
    targets: dict[str, list[int | None]] = defaultdict(list)
    for fact in facts:
        if fact.entry.mask is not None and fact.entry.patient:
            targets[fact.entry.patient].append(fact.target)
    for name, all_of in targets.items():
        if set(all_of) == {0}:
            text = (
                f"every mask is empty (slices: {len(all_of):,}), so all count as class 0: look whether the"
                " liver is missing from the scan or from the masks"
            )
            yield Finding("warning", "empty-masks", f"patient {name}", text)


def _absent_classes(facts: Facts) -> Iterator[Finding]:
    """Classes that a split has no slice of, where it has any whose class is known."""
    known = {(fact.entry.split, fact.target) for fact in facts if fact.target is not None}
    for split in {split for split, _ in known}:
        for target, name in enumerate(CLASSES):
            if (split, target) not in known:
                what = f"holds no slice of class {target} ({name}): {WITHOUT_CLASS[split]}"
                yield Finding("warning", "class-absent", split, f"{what}; move or add patients who have it")


def _loose_in(root: Path, stack: Facts) -> Iterator[Finding]:
    """Lesions of a scan that hang on no liver, neither in their slice nor in the next; one finding."""

    @cache
    def load(position: int) -> Labels | None:
        """The labels there, None where they are broken: that was found before."""
        try:
            return read_labels(stack[position].entry.mask or Path())
        except (SliceError, OSError):
            return None

    suspects = {position: load(position) for position, fact in enumerate(stack) if fact.loose}
    loose = {position: loose_pixels(labels) for position, labels in suspects.items() if labels is not None}
    if left := still_loose(loose, load, len(stack)):
        worst = max(sorted(left), key=lambda position: left[position].sum())
        entry = stack[worst].entry
        text = (
            f"{int(left[worst].sum()):,} lesion pixels lie outside the liver, here and in {len(left) - 1:,} more"
            f" slices of patient {entry.patient or '?'}: look at the masks"
        )
        yield Finding("warning", "lesion-outside-liver", name_of(root, entry.mask or entry.image), text)
