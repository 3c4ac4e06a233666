"""Two benchmarks, before and after: what became slower, larger or less accurate by more than it may.

Rows are matched by scenario, runtime, device, artifact, original or not, batch size and threads. A row that was there
and is missing or failed is a regression; a new one is not. Figures of two machines, or of a machine that was busy, say
nothing about the code: differing machines are named, and the caller decides. Accuracies are held against each other
only where both are of the same slices (`benchmarks.same_slices`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks import same_slices
from benchmarks.report import TIMED, all_rows, title_of, value_of

Row = dict[str, Any]
Key = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class ChangeLimits:
    """Largest changes for the worse that pass. Shares (0.1: ten per cent), except accuracy, in absolute terms."""

    throughput: float = 0.10
    latency: float = 0.10
    tail: float = 0.25
    start: float = 0.25
    memory: float = 0.10
    size: float = 0.01
    accuracy: float = 0.005
    energy: float = 0.15


@dataclass(frozen=True, kw_only=True)
class Change:
    """One figure of one row in both. worse: by how much (a share, or absolute for accuracy); negative is better."""

    row: str
    figure: str
    before: float
    after: float
    worse: float
    limit: float

    @property
    def regression(self) -> bool:
        """Worse by more than the limit."""
        return self.worse > self.limit + 1e-12


@dataclass(frozen=True, kw_only=True)
class BenchmarkComparison:
    """changes: of every figure in both; gone: rows that were there, and what became of them; notes: to read first.

    test_sets: whether the accuracies are of the same slices; where they are `different`, none is among the changes.
    """

    changes: list[Change]
    gone: list[str]
    new: list[str]
    notes: list[str]
    test_sets: same_slices.Relation

    @property
    def regressions(self) -> list[Change]:
        """Changes beyond their limits."""
        return [change for change in self.changes if change.regression]

    @property
    def passed(self) -> bool:
        """No regression, and no row lost."""
        return not self.regressions and not self.gone


def compare(before: dict[str, Any], after: dict[str, Any], limits: ChangeLimits | None = None) -> BenchmarkComparison:
    """Hold every row of `after` against its like in `before`."""
    limits = limits or ChangeLimits()
    scored = all(same_slices.scored(all_rows(document)) for document in (before, after))
    slices = same_slices.relation(before, after) if scored else "same"  # without accuracies there are none to mislead
    accuracy = {"same": "accuracy", "not recorded": f"accuracy ({same_slices.NOT_RECORDED})", "different": None}[slices]
    old, new = ({_key(row): row for row in all_rows(document)} for document in (before, after))
    changes: list[Change] = []
    gone: list[str] = []
    for key, row in old.items():
        other = new.get(key)
        if row["error"] is not None:
            continue
        if other is None or other["error"] is not None:
            gone.append(f"{title_of(row)}: {'missing' if other is None else other['error']}")
        else:
            changes += _changes(row, other, limits, accuracy)
    fresh = [title_of(row) for key, row in new.items() if key not in old and row["error"] is None]
    notes = _notes(before, after, slices)
    return BenchmarkComparison(changes=changes, gone=gone, new=fresh, notes=notes, test_sets=slices)


def _key(row: Row) -> Key:
    batch = row.get("batch") if row["scenario"] in TIMED else None
    return (row["scenario"], row["runtime"], row["device"], row["artifact"], row["original"], batch, row["threads"])


def _changes(row: Row, other: Row, limits: ChangeLimits, accuracy: str | None) -> list[Change]:
    """accuracy: what the figure is called, None where the accuracies do not compare."""
    found = []
    shares = [
        ("slices/s", "slices_per_second", limits.throughput, True),
        ("steady slices/s", "steady_slices_per_second", limits.throughput, True),
        ("p50 ms", "latency_ms.p50", limits.latency, False),
        ("p90 ms", "latency_ms.p90", limits.latency, False),
        ("p99 ms", "latency_ms.p99", limits.tail, False),
        ("load s", "cold.load_s", limits.start, False),
        ("first call ms", "cold.first_ms", limits.start, False),
        ("peak MB", "cold.peak_mb", limits.memory, False),
        ("size MB", "size_mb", limits.size, False),
        ("joules per 1,000 slices", "energy.joules_per_1000_slices", limits.energy, False),
    ]
    if row["scenario"] == "server":
        shares = [("slices/s in time", "slices_per_second", limits.throughput, True)]
    for figure, path, limit, more_is_better in shares:
        a, b = value_of(row, path), value_of(other, path)
        if a is None or b is None or a <= 0:
            continue
        worse = (a - b) / a if more_is_better else (b - a) / a
        found.append(Change(row=title_of(row), figure=figure, before=a, after=b, worse=worse, limit=limit))
    if accuracy is not None and row["accuracy"] is not None and other["accuracy"] is not None:
        a, b = row["accuracy"], other["accuracy"]
        found.append(Change(row=title_of(row), figure=accuracy, before=a, after=b, worse=a - b, limit=limits.accuracy))
    return found


def _notes(before: dict[str, Any], after: dict[str, Any], slices: same_slices.Relation) -> list[str]:
    found = []
    for what in ("processor", "cores", "gpus", "board"):
        a, b = before["machine"].get(what), after["machine"].get(what)
        if a != b:
            found.append(f"another machine: {what} {a or 'none'} before, {b or 'none'} after")
    for name in sorted({*before["machine"]["libraries"], *after["machine"]["libraries"]}):
        a, b = (document["machine"]["libraries"].get(name, "none") for document in (before, after))
        if a != b:
            found.append(f"{name} {a} before, {b} after")
    a, b = (document["bundle"]["sha256"] for document in (before, after))
    if a != b:
        found.append(f"another bundle: {a[:12]} before, {b[:12]} after")
    if slices == "different":
        found.append(f"two test sets: {same_slices.named(before)} before, {same_slices.named(after)} after")
    elif slices == "not recorded":
        found.append(f"{same_slices.NOT_RECORDED}: whether the accuracies are of the same slices is not known")
    elif same_slices.relation(before, after) == "different":  # which slices were timed, where none has an accuracy
        found.append(f"other slices: {before['data']['line']} before, {after['data']['line']} after")
    for name, document in (("before", before), ("after", after)):
        found += [f"{name}: {note}" for note in document["notes"] if "not idle" in note or "other machines" in note]
    return found
