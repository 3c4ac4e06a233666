"""Who is who: the patients, their scans, and what an earlier preparation called them.

A patient may have several scans. What belongs together is decided by patient (the split, a leak), what lies side by
side by scan (slice numbers, neighbours, orientation, spacing). A scan has a number, volume-NUMBER_SLICE; a patient has
the number of its first scan, so its name stands in provenance.json alone. Numbers and splits, once given, stay: more
volumes, added with --resume, move nobody and rename nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from train.prepare.contents import ScanSource

Record = dict[str, Any]
ScanKey = tuple[str, str]
"""Patient and scan."""


def key_of(record: Record) -> ScanKey:
    """Of a record; one of an early version knows no scans."""
    return record["patient"], record.get("scan", "")


def title(patient: str, scan: str) -> str:
    """A scan in messages: the patient, and the scan where it has a name of its own."""
    return patient if scan in ("", "*", patient) else f"{patient}/{scan}"


def remembered(source: ScanSource, records: Mapping[ScanKey, Record]) -> Record | None:
    """What an earlier start noted of this scan, or None."""
    return records.get((source.patient, source.scan)) or records.get((source.patient, ""))


def numbered(sources: Sequence[ScanSource], records: Mapping[ScanKey, Record]) -> list[ScanSource]:
    """The scans with their numbers and those of their patients, in order of their numbers.

    A number that a scan had before stays; one that any other scan had is not given again. Then come the numbers that
    the source wishes for, and after the highest the others, in order of names.
    """
    numbers: dict[ScanKey, int] = {}
    taken, given = {record["number"] for record in records.values()}, set()
    ordered = sorted(sources, key=_by_name)
    for source in ordered:
        before = remembered(source, records)
        if before is not None and before["number"] not in given:
            numbers[source.patient, source.scan] = before["number"]
            given.add(before["number"])
    for source in ordered:
        key = (source.patient, source.scan)
        if key not in numbers and source.number >= 0 and source.number not in taken:
            numbers[key] = source.number
            taken.add(source.number)
    following = max([*taken, *(source.number for source in sources)], default=-1) + 1
    for source in ordered:
        if (key := (source.patient, source.scan)) not in numbers:
            numbers[key], following = following, following + 1
    own: defaultdict[str, list[int]] = defaultdict(list)
    earlier: defaultdict[str, list[int]] = defaultdict(list)
    for source in ordered:
        own[source.patient].append(numbers[source.patient, source.scan])
        if known := remembered(source, records):
            earlier[source.patient].append(known["patient_number"] if "patient_number" in known else known["number"])
    first = {
        patient: min((number for number in earlier[patient] if number in mine), default=min(mine))
        for patient, mine in own.items()
    }
    done = [
        replace(source, number=numbers[source.patient, source.scan], patient_number=first[source.patient])
        for source in sources
    ]
    return sorted(done, key=lambda source: source.number)


def splits_before(records: Mapping[ScanKey, Record]) -> dict[str, str]:
    """The split of every patient that was prepared before, as a whole."""
    found: dict[str, str] = {}
    for (patient, _), record in records.items():
        if record["status"] == "prepared" and isinstance(record["slices"]["split"], str):
            found.setdefault(patient, record["slices"]["split"])
    return found


def _by_name(source: ScanSource) -> tuple[str, int, str]:
    return source.patient, int(source.scan) if source.scan.isdecimal() else -1, source.scan
