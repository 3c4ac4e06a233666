"""The whole check of a data set: list, look at every slice in processes, then judge what only the whole set shows."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from lits_deploy.contract import CLASSES
from lits_deploy.errors import SliceError, UserError
from train.check.duplicates import BITS, Copy, find_copies
from train.check.examine import CONTRACT, Bunch, Greys, SliceFacts, examine_bunch
from train.check.findings import Finding, Severity, in_order, place_of
from train.check.intensity import judge_intensity
from train.check.lesions import Labels, loose_pixels, still_loose
from train.check.listing import Entry, Listing, list_data
from train.check.report import Judged, Report, patient_order, tabulate
from train.data.layout import SPLITS, WITHOUT_CLASS
from train.data.masks import read_labels
from train.data.slices import Progress, run_jobs

_AT_ONCE = 64  # slices in a bunch: a process is asked and answers that often

Facts = list[SliceFacts]


def check_data(
    root: Path,
    *,
    window: tuple[float, float] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Look at every file of the training data set `root`.

    window: (low, high) HU that the slices were made with, in place of what dataset.json declares; workers: processes,
    by default one per processor; progress: called with (slices done, slices in all).

    A broken file becomes a finding. Raises DataError where there is no data set, UserError for an empty window.
    """
    if window is not None and not window[0] < window[1]:
        raise UserError(f"The window {window[0]:g}…{window[1]:g} HU is empty.", fix="give LOW HIGH with LOW < HIGH")
    listing = list_data(root)
    entries = listing.entries
    facts, greys = _look(entries, workers, progress)
    findings = list(listing.findings)
    for fact in facts:
        for kind, path, text in fact.problems:
            findings.append(Finding(severity="error", kind=kind, place=place_of(root, path), message=text))
    findings += _sizes(facts)
    findings += _leaks(listing)
    copies = _copies(entries, facts)
    findings += _copy_findings(root, listing, copies)
    findings += _empty_patients(entries, facts)
    findings += _absent_classes(entries, facts)
    findings += _loose_lesions(root, entries, facts)
    intensity, doubts = judge_intensity(greys, window or listing.window_hu)
    findings += doubts
    unreadable = [fact.side is None for fact in facts]
    coded = sum(fact.code is not None for fact in facts)
    return Report(
        root=root,
        splits=tabulate(entries, [fact.target for fact in facts]),
        by_slice=listing.by_slice or bool(_in_two_splits(entries)),
        sizes=dict(Counter(fact.side for fact in facts if fact.side is not None)),
        compared=coded,
        nearly_blank=len(facts) - coded - sum(unreadable),
        copies=len(copies),
        intensity=intensity,
        findings=tuple(in_order(findings)),
        judged=tuple(
            Judged(entry=entry, target=fact.target)
            for entry, fact in zip(entries, facts, strict=True)
            if fact.side is not None and fact.target is not None
        ),
    )


def _look(entries: tuple[Entry, ...], workers: int | None, progress: Progress | None) -> tuple[Facts, dict[str, Greys]]:
    """Facts of every slice, in order, and the grey levels of every patient."""
    bunches = [Bunch(first=i, entries=entries[i : i + _AT_ONCE]) for i in range(0, len(entries), _AT_ONCE)]
    by_first: dict[int, tuple[SliceFacts, ...]] = {}
    greys: dict[str, Greys] = defaultdict(Greys)
    done = 0
    for bunch in run_jobs(examine_bunch, bunches, workers):
        by_first[bunch.first] = bunch.slices
        for (_, patient), here in bunch.greys.items():
            greys[patient] = greys[patient] + here
        done += len(bunch.slices)
        if progress is not None:
            progress(done, len(entries))
    return [fact for first in sorted(by_first) for fact in by_first[first]], dict(greys)


def _sizes(facts: Facts) -> list[Finding]:
    sides = Counter(fact.side for fact in facts if fact.side is not None)
    listed = ", ".join(f"{count:,} of {side}×{side}" for side, count in sides.most_common(4))
    if len(sides) > 1:
        text = f"pictures of {len(sides)} sizes ({listed}): make them all of one size, {CONTRACT.size}×{CONTRACT.size}"
        return [Finding(severity="warning", kind="sizes", place="data set", message=text)]
    if sides and CONTRACT.size not in sides:
        text = f"all pictures are resized for training ({listed}): nothing to do"
        return [Finding(severity="note", kind="sizes", place="data set", message=text)]
    return []


def _in_two_splits(entries: tuple[Entry, ...]) -> dict[str, Counter[str]]:
    """Slices per split of every patient that stands in more than one."""
    where: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in entries:
        if entry.patient:
            where[entry.patient][entry.split] += 1
    return {name: where[name] for name in sorted(where, key=patient_order) if len(where[name]) > 1}


def _leaks(listing: Listing) -> list[Finding]:
    leaks = _in_two_splits(listing.entries)
    if listing.by_slice:
        text = (
            f"split by slice: {len(leaks)} patients stand in more than one split, so every figure on this set is leaky."
            " Split by patient for figures that mean something"
        )
        return [Finding(severity="warning", kind="split-by-slice", place="data set", message=text)]
    found = []
    for name, splits in leaks.items():
        places = ", ".join(f"{split} ({splits[split]:,} slices)" for split in SPLITS if splits[split])
        text = f"stands in {places}: keep the patient in one split, or mark dataset.json split_by: slice"
        found.append(Finding(severity="error", kind="patient-leak", place=f"patient {name}", message=text))
    return found


def _copies(entries: tuple[Entry, ...], facts: Facts) -> list[Copy]:
    numbers: dict[str, int] = {}
    people = [  # a slice without a patient may be anyone's: it is compared with all
        numbers.setdefault(entry.patient or f"\0{index}", len(numbers)) for index, entry in enumerate(entries)
    ]
    return find_copies([fact.code for fact in facts], [SPLITS.index(e.split) for e in entries], people)


def _copy_findings(root: Path, listing: Listing, copies: list[Copy]) -> list[Finding]:
    """One finding for each pair of patients, with its closest pair of slices."""
    groups: dict[tuple[str, str, str, str], list[Copy]] = defaultdict(list)
    for copy in copies:
        a, b = listing.entries[copy.first], listing.entries[copy.second]
        groups[a.split, a.patient, b.split, b.patient].append(copy)
    found = []
    for (split_a, name_a, split_b, name_b), pairs in groups.items():
        best = min(pairs, key=lambda pair: (pair.bits, pair.first, pair.second))
        first, second = (place_of(root, listing.entries[i].image) for i in (best.first, best.second))
        text = (
            f"the same picture as {first} ({best.bits} of {BITS:,} bits differ); {len(pairs):,} such"
            f" {'pair' if len(pairs) == 1 else 'pairs'} of patient {name_a or '?'} in {split_a} and patient"
            f" {name_b or '?'} in {split_b}: remove one side, or keep both in one split"
        )
        severity: Severity = "warning" if listing.by_slice else "error"
        found.append(Finding(severity=severity, kind="near-duplicate", place=second, message=text))
    return found


def _empty_patients(entries: tuple[Entry, ...], facts: Facts) -> list[Finding]:
    """Patients of whom every mask is read and empty."""
    highest: dict[str, list[int | None]] = defaultdict(list)
    for entry, fact in zip(entries, facts, strict=True):
        if entry.mask is not None and entry.patient:
            highest[entry.patient].append(fact.target)
    found = []
    for name in sorted(highest, key=patient_order):
        if set(highest[name]) == {0}:
            text = (
                f"every mask is empty (slices: {len(highest[name]):,}), so all count as class 0: look whether the"
                " liver is missing from the scan or from the masks"
            )
            found.append(Finding(severity="warning", kind="empty-masks", place=f"patient {name}", message=text))
    return found


def _absent_classes(entries: tuple[Entry, ...], facts: Facts) -> list[Finding]:
    """Classes that a split has no slice of, where it has any whose class is known."""
    known: dict[str, set[int]] = defaultdict(set)
    for entry, fact in zip(entries, facts, strict=True):
        if fact.target is not None:
            known[entry.split].add(fact.target)
    found = []
    for split, present in known.items():
        for target, name in enumerate(CLASSES):
            if target not in present:
                what = f"holds no slice of class {target} ({name}): {WITHOUT_CLASS[split]}"
                text = f"{what}; move or add patients who have it"
                found.append(Finding(severity="warning", kind="class-absent", place=split, message=text))
    return found


def _loose_lesions(root: Path, entries: tuple[Entry, ...], facts: Facts) -> list[Finding]:
    """Lesions that hang on no liver, neither in their slice nor in the next; one finding a scan and split."""
    stacks: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for index, entry in enumerate(entries):
        if entry.mask is not None:
            stacks[entry.split, entry.patient or entry.image.name, entry.scan].append(index)
    found = []
    for stack in stacks.values():
        if not any(facts[index].loose for index in stack):
            continue
        stack.sort(key=lambda index: entries[index].order)
        cache: dict[int, Labels | None] = {}

        def load(position: int, stack: list[int] = stack, cache: dict[int, Labels | None] = cache) -> Labels | None:
            if position not in cache:
                cache[position] = _labels(entries[stack[position]])
            return cache[position]

        loose = {
            position: loose_pixels(labels)
            for position, index in enumerate(stack)
            if facts[index].loose and (labels := load(position)) is not None
        }
        left = still_loose(loose, load, len(stack))
        if left:
            worst = max(sorted(left), key=lambda position: left[position].sum())
            entry = entries[stack[worst]]
            text = (
                f"{int(left[worst].sum()):,} lesion pixels lie outside the liver, here and in {len(left) - 1:,} more"
                f" slices of patient {entry.patient or '?'}: look at the masks"
            )
            place = place_of(root, entry.mask or entry.image)
            found.append(Finding(severity="warning", kind="lesion-outside-liver", place=place, message=text))
    return found


def _labels(entry: Entry) -> Labels | None:
    """The labels of an entry, None where they are broken: that was found before."""
    if entry.mask is None:
        return None
    try:
        return read_labels(entry.mask)
    except (SliceError, OSError):
        return None
