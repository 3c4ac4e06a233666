"""A record of `benchmarks.drift.power` as a page in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lits_deploy import DISCLAIMER
from lits_deploy.drift.features import BY_NAME
from lits_deploy.nights.smallest import POWER
from lits_deploy.synthetic import MARK


def page(record: dict[str, Any]) -> str:
    """The page of a record."""
    return "\n".join([*_head(record), *_limits(record), *_planted(record), *_smallest(record)]) + "\n"


def _head(record: dict[str, Any]) -> Iterator[str]:
    patients, sizes = record["patients"], list(record["nights"])
    data, command = f"patients of {record['data']} (train and validate)", "DATA"
    if record["synthetic"]:
        data, command = f"phantoms ({MARK})", f"--phantoms {patients}"
    yield "# Is tonight like the training data? False alarms and power"
    yield ""
    yield (
        f"**{DISCLAIMER}** {patients} {data}, one series each, {record['rounds']} nights a row. Made by "
        f"`python -m benchmarks.drift.power {command}`."
    )
    yield ""
    yield (
        f"- One series: each patient beside the other {patients - 1}. By rule {record['marked_of']} of {patients} that "
        "are alike are marked."
    )
    for size in sizes:
        rest = patients - int(size)
        yield (
            f"- A night of {size} beside {rest}: drawn anew for each night. Share of nights in which anything is found "
            f"to differ (by rule at most {record['false_share']:g} of nights that are alike), and share of their "
            f"series that is marked (by rule {record['by_rule'][size]:.3f} of series that are alike)."
        )


def _limits(record: dict[str, Any]) -> Iterator[str]:
    if record["synthetic"]:
        yield "- Phantoms vary in fewer ways than patients do: this shows what HU and mm add, not how patients differ."
        return
    yield (
        "- Pictures hold 8 bits of one window. Not measured here: HU of the body, noise in HU, spacing, thickness, "
        "scanner and kernel; nor probabilities and abstentions, for no network runs."
    )
    yield (
        "- Below the window all HU are one value, so a small offset or noise leaves a gap there that real HU would "
        "fill: +10 HU and noise of 10 HU are found more easily here than on the scans themselves."
    )


def _planted(record: dict[str, Any]) -> Iterator[str]:
    sizes, patients = list(record["nights"]), record["patients"]
    columns = ["planted", "one series: marked", "mostly for"]
    for size in sizes:
        columns += [f"night of {size}: found", "series marked"]
    yield from ("", f"## What is found, {patients} series", "", _row(columns), _row(["---"] * len(columns)))
    for name, row in record["alone"].items():
        cells = [name, f"{row['marked']} of {row['of']}", row["for"] or "–"]
        for size in sizes:
            night = record["nights"][size][name]
            cells += [f"{night['found']:.2f}", f"{night['marked']:.2f}"]
        yield _row(cells)


def _smallest(record: dict[str, Any]) -> Iterator[str]:
    sizes = list(next(iter(record["smallest"].values()))["found"])
    yield ""
    yield f"## The smallest shift that a night beside {record['patients']} training series shows"
    yield ""
    yield (
        f"The night's median must lie below the first or above the second value to be found in {POWER:.0%} of nights "
        "that are alike in everything else."
    )
    yield ""
    columns = ["number", "median (range) of the patients", *(f"night of {size}" for size in sizes)]
    yield from (_row(columns), _row(["---"] * len(columns)))
    for name, row in record["smallest"].items():
        number = BY_NAME[name]
        low, high = map(number.text, row["range"])
        title = f"{number.what}, {number.unit}" if number.unit else number.what
        edges = (["none" if edge is None else number.text(edge) for edge in row["found"][size]] for size in sizes)
        yield _row([title, f"{number.text(row['median'])} ({low} to {high})", *(" / ".join(pair) for pair in edges)])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
