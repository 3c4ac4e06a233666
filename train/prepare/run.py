"""Prepare a source folder: one job a scan, resumable, dataset.json last. The command line calls `prepare`."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from lits_deploy.errors import DataError, OutputError
from lits_deploy.events.wording import Quoting
from lits_deploy.files import canonical_json, sha256_bytes
from lits_deploy.synthetic import is_synthetic
from train.data import technique
from train.data.in_hu import joined
from train.data.layout import SPLITS
from train.data.slices import LABELS, Progress, count_classes, drop_leftovers, run_jobs, slice_name
from train.prepare.contents import ScanSource, SourceContents, listed
from train.prepare.convert import ConversionJob, convert, names_of
from train.prepare.flags import check_flags
from train.prepare.orientation import ORIENTATIONS, UNSURE, UPRIGHT, reference
from train.prepare.patients import numbered, remembered, splits_before, title
from train.prepare.settings import VOLUME_LAYOUTS, PrepareSettings, check_folders
from train.prepare.sources import find_sources
from train.prepare.split import split_patients
from train.prepare.state import State

Record = dict[str, Any]

_SOURCES = {
    "lits": "LiTS volumes",
    "msd": "MSD Task03_Liver",
    "lits-png": "LiTS as PNG (Kaggle)",
    "masks": "image and mask folders",
}


@dataclass(frozen=True, kw_only=True)
class PreparedData:
    """What came of it.

    dataset: what dataset.json holds. failed: (scan, reason). kept: scans that an earlier start had done.
    orientation: of the slices, with the scans, by their pixels; reoriented: those that were.
    warnings: what the user should know; notes: what was left out or read another way.
    """

    dataset: dict[str, Any]
    prepared: int
    kept: int
    failed: tuple[tuple[str, str], ...]
    orientation: dict[str, list[str]]
    reoriented: dict[str, list[str]]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


def prepare(
    src: Path,
    out: Path,
    settings: PrepareSettings,
    *,
    workers: int | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> PreparedData:
    """Turn `src` into the training layout in `out` (`train.data.layout`), with dataset.json and provenance.json.

    workers: processes, one scan a job; None: one per processor. The bytes do not depend on them, nor on how often
    the work was cut off. resume: go on in a folder that an equal preparation began, or finished.

    Raises UserError, DataError where nothing can be prepared, OutputError where `out` may not be written.
    """
    check_folders(src, out)
    found = find_sources(src, settings.layout)
    settings = _declared(settings, found, src)
    if settings.split_by == "slice" and found.split:
        raise DataError(f"{src} comes split already, and keeps its split.", fix="leave --split-by slice out")
    state = State.open(out, settings, resume=resume)
    jobs = _jobs(src, out, found, settings, state)
    records: dict[int, Record] = {
        job.source.number: {**before, **names_of(job.source)}
        for job in jobs
        if (before := remembered(job.source, state.records)) is not None and _still_holds(before, job)
    }
    kept = len(records)
    todo = [job for job in jobs if job.source.number not in records]
    if progress is not None:
        progress(kept, len(jobs))
    try:
        for record in run_jobs(partial(convert, template=reference()), todo, workers) if todo else ():
            records[record["number"]] = record
            if progress is not None:
                progress(len(records), len(jobs))
    except BrokenProcessPool as error:
        raise OutputError(
            "A process that prepares volumes was killed, perhaps for want of memory.",
            fix="the same command with --resume and fewer --workers",
        ) from error
    ordered = sorted(records.values(), key=lambda record: record["number"])
    if all(record["status"] == "failed" for record in ordered):
        first = ordered[0]
        raise DataError(
            f"None of {len(ordered)} volumes of {src} can be used; volume {_title(first)}: {first['reason']}.",
            fix="mend the files, or name another --layout",
        )
    drop_leftovers(out, {(split, slice_name(r["number"], number)) for r, split, number, _ in _slices(ordered)})
    dataset = _describe(src, ordered, settings, found)
    summary = _summary(ordered, dataset, settings, found, kept)
    state.finish(ordered, dataset, [*summary.warnings, *summary.notes])
    return summary


def _declared(settings: PrepareSettings, found: SourceContents, src: Path) -> PrepareSettings:
    """The settings with the window that the source itself declares; DataError where another was given."""
    if found.window_hu is None or settings.window_hu == found.window_hu:
        return settings
    low, high = found.window_hu
    if settings.window_hu is not None:
        raise DataError(f"{src} declares the window {low:g} {high:g} HU.", fix=f"--window {low:g} {high:g}")
    return replace(settings, window_hu=found.window_hu)


def _jobs(src: Path, out: Path, found: SourceContents, settings: PrepareSettings, state: State) -> list[ConversionJob]:
    sources = numbered(found.sources, state.records)
    splits: dict[str, str] = {}
    if settings.split_by == "patient" and not found.split:
        people = [source.patient for source in sources]
        splits = split_patients(people, settings.seed, settings.fractions, splits_before(state.records))
    return [
        ConversionJob(
            src=src,
            out=out,
            source=source,
            settings=settings,
            split=splits.get(source.patient),
            key=_key(src, source, splits.get(source.patient)),
            record=state.record_path(source.number),
        )
        for source in sources
    ]


def _key(src: Path, source: ScanSource, split: str | None) -> str:
    """Hash of what a record depends on beside the settings: files with size and time, names, split."""
    files = []
    for path in source.files:
        status = path.stat()
        files.append([path.relative_to(src).as_posix(), status.st_size, status.st_mtime_ns])
    came = [[picture.number, picture.split] for picture in source.pictures]
    return sha256_bytes(canonical_json([files, came, source.number, split, source.problem]).encode())[:32]


def _still_holds(record: Record, job: ConversionJob) -> bool:
    """Whether an earlier record is of the same files and its slices are there."""
    if record["status"] != "prepared" or record["key"] != job.key or record["number"] != job.source.number:
        return False
    return all(
        (job.out / split / kind / slice_name(record["number"], number)).is_file()
        for _, split, number, _ in _slices([record])
        for kind in ("images", "masks")
    )


def _title(record: Record) -> str:
    return title(record["patient"], record["scan"])


def _slices(records: Iterable[Record]) -> Iterable[tuple[Record, str, int, int]]:
    """(record, split, number, class) of every prepared slice."""
    for record in records:
        if record["status"] == "prepared":
            columns = record["slices"]
            split = columns["split"]
            splits = [split] * len(columns["number"]) if isinstance(split, str) else split
            for each, number, target in zip(splits, columns["number"], columns["class"], strict=True):
                yield record, each, number, target


def _describe(src: Path, records: Sequence[Record], settings: PrepareSettings, found: SourceContents) -> dict[str, Any]:
    slices = list(_slices(records))
    patients = {split: sorted({r["patient_number"] for r, s, _, _ in slices if s == split}) for split in SPLITS}
    leaks = len(set().union(*patients.values())) < sum(len(numbers) for numbers in patients.values())
    by_slice = settings.split_by == "slice" or leaks
    note = f"Prepared by `lits-deploy data prepare --layout {settings.layout}`; see provenance.json."
    if by_slice:
        note += " Patients occur in more than one split: accuracies on it are too high."
    return {
        "source": _SOURCES[settings.layout],
        **({"synthetic": True} if _synthetic(src) else {}),
        "source_folder": src.resolve().name,
        "layout": settings.layout,
        "window_hu": None if settings.window_hu is None else list(settings.window_hu),
        "split_by": "slice" if by_slice else "patient",
        "split_given": found.split,
        "seed": settings.seed,
        "fractions": list(settings.fractions),
        "patients": patients,
        "patient_of": {str(r["number"]): r["patient_number"] for r in records if r["patient_number"] != r["number"]},
        "slices_per_class": count_classes((split, target) for _, split, _, target in slices),
        "spacing_mm": {str(r["number"]): r["spacing_mm"] for r in records if r.get("spacing_mm") is not None},
        **joined((str(r["number"]), r.get("hu", {})) for r in records),
        **technique.joined((str(r["number"]), r.get("technique", {})) for r in records),
        "failed": [r["number"] for r in records if r["status"] == "failed"],
        "labels": LABELS,
        "note": note,
    }


def _synthetic(src: Path) -> bool:
    """Whether the source itself says that it holds phantoms: then what is made of them does, too."""
    from train.phantom.folder import RECORDS

    for name in set(RECORDS.values()):
        try:
            if is_synthetic(json.loads((src / name).read_text(encoding="utf-8"))):
                return True
        except (OSError, ValueError):
            continue
    return False


def _summary(
    records: Sequence[Record], dataset: dict[str, Any], settings: PrepareSettings, found: SourceContents, kept: int
) -> PreparedData:
    ready = [record for record in records if record["status"] == "prepared"]
    return PreparedData(
        dataset=dataset,
        prepared=len(ready),
        kept=kept,
        failed=tuple((_title(record), record["reason"]) for record in records if record["status"] == "failed"),
        orientation=_by_title(ready, "pixels"),
        reoriented=_by_title(ready, "turned"),
        warnings=tuple(_warnings(ready, dataset, settings)),
        notes=(*found.notes, *check_flags(found.tables, records), *_remarks(ready, settings)),
    )


def _by_title(records: Sequence[Record], what: str) -> dict[str, list[str]]:
    """The scans by what their records say of orientation, if anything."""
    found: dict[str, list[str]] = defaultdict(list)
    for record in records:
        if way := record["orientation"][what]:
            found[way].append(_title(record))
    return dict(found)


def _warnings(records: Sequence[Record], dataset: dict[str, Any], settings: PrepareSettings) -> Iterable[str]:
    if settings.split_by == "slice":
        yield (
            "split by slice: slices of one patient stand in all splits, as in the thesis, so every accuracy will be "
            "too high. dataset.json says so, and so does every figure made from it."
        )
    elif dataset["split_by"] == "slice":
        yield "the source's own split has patients in more than one split: marked as split by slice."
    for split, numbers in dataset["patients"].items():
        if not numbers:
            yield f"{split} is empty: training needs all three splits (another --seed, --fractions, or more patients)."
    lying = [r for r in records if r["orientation"]["pixels"] not in (ORIENTATIONS[UPRIGHT], UNSURE)]
    if left := [_title(r) for r in lying if not r["orientation"]["turned"]]:
        count, way = f"the pixels of {len(left)} volumes do not lie upright", "--fix-orientation turns them."
        yield Quoting(f"{count} ({listed(left)}): {way}", logged=f"{count}: {way}")
    unsure = [r for r in records if r["orientation"]["pixels"] == UNSURE]
    if guessed := [_title(r) for r in unsure if r["orientation"]["basis"].startswith("assumed")]:
        count = f"orientation is only assumed of {len(guessed)} volumes"
        why = "their headers claim nothing, and the pixels do not tell. Look at them."
        yield Quoting(f"{count} ({listed(guessed)}): {why}", logged=f"{count}: {why}")


def _remarks(records: Sequence[Record], settings: PrepareSettings) -> Iterable[str]:
    by_note: dict[str, list[str]] = defaultdict(list)
    for record in records:
        for note in record["notes"]:
            by_note[note].append(_title(record))
    for note, volumes in by_note.items():
        yield f"volume{'s' if len(volumes) > 1 else ''} {listed(volumes)}: {note}"
    if settings.layout not in VOLUME_LAYOUTS:
        return
    if by_pixels := [_title(r) for r in records if r["orientation"]["basis"] == "pixels"]:
        yield f"volumes {listed(by_pixels)}: the header claims no orientation, the pixels by_pixels it"
    if unknown := [_title(r) for r in records if r["spacing_mm"] is None]:
        yield f"volumes {listed(unknown)}: the spacing is unknown (the header claims 1×1×1 mm)"
