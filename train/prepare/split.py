"""Which split a patient, or a slice, goes to: by a hash of seed and name, so that others do not matter.

A patient keeps its split when volumes are added or others are missing. The price: of few patients the shares are only
near the fractions. From three patients on every split has at least one; filling an empty split takes a patient who has
not been assigned before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from train.data.layout import SPLITS

FEWEST_PATIENTS = 3


def split_of(seed: int, name: str, fractions: Sequence[float]) -> str:
    """The split of a name alone."""
    number, edge = _uniform(seed, name) * sum(fractions), 0.0
    for split, share in zip(SPLITS, fractions, strict=True):
        edge += share
        if number < edge:
            return split
    return SPLITS[-1]


def split_patients(
    patients: Iterable[str], seed: int, fractions: Sequence[float], before: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Split of every patient, at least one in each split where there are three patients.

    before: splits that patients have already. They stay there, even where another split remains empty.
    """
    assigned = before or {}
    found = {patient: assigned.get(patient) or split_of(seed, patient, fractions) for patient in sorted(set(patients))}
    if len(found) < FEWEST_PATIENTS:
        return found
    for split in SPLITS:
        members = {name: [p for p, s in found.items() if s == name] for name in SPLITS}
        if members[split]:
            continue
        free = {name: [patient for patient in members[name] if patient not in assigned] for name in SPLITS}
        fullest = max((name for name in SPLITS if free[name]), key=lambda name: len(members[name]), default=None)
        if fullest is None or len(members[fullest]) < 2:
            continue
        # The first by hash if what is missing lies before the fullest split, else the last: it was nearest to it.
        nearest = min if SPLITS.index(split) < SPLITS.index(fullest) else max
        found[nearest(free[fullest], key=lambda patient: _uniform(seed, patient))] = split
    return found


def _uniform(seed: int, name: str) -> float:
    """A number in 0…1 from seed and name."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:7], "big") / 2**56
