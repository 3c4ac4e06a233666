"""What was measured, in Markdown."""

from __future__ import annotations

from typing import Any

from lits_deploy.synthetic import CAVEAT
from lits_deploy.witnesses import figure_text

NOTES = (
    "`less their lesions`: the series with a lesion stand once more among those without, less the slices that show one",
    "and two on either side. `chosen out of fold`: each fold by the way that does best on the others, by its place",
    "among their series. Grey values at the level of soft tissue or liver: each series moved to the mean of its fold's",
    "training series before the network answers.",
)


def page(record: dict[str, Any]) -> str:
    """The record in Markdown."""
    few = record["series"] - record["series_with_lesion"]
    lines = [
        "# What ranks series",
        "",
        f"`python -m benchmarks.suspicion RUN`: {record['network']}, {record['folds']} folds of {record['data']}, "
        f"{record['series']} series, {few} of them without a lesion. AUROC out of fold, 95 % intervals by bootstrap "
        "over patients." + (f" {CAVEAT}" if record["synthetic"] else ""),
        "",
        *NOTES,
    ]
    for level in record["levels"]:
        lines += [
            "",
            f"## Grey values: {level['grey_values']}",
            "",
            f"Lesion slices: {figure_text(level['lesion_slice_auroc'])}.",
            "",
            "| a series is scored by | series | and less their lesions |",
            "|---|---|---|",
            *(
                f"| {row['pool']} | {figure_text(row['series'])} | {figure_text(row['less_their_lesions'])} |"
                for row in level["series"]
            ),
            "",
            "Chosen: "
            + "; ".join(f"fold {number} {name}" for number, name in enumerate(level["series"][-1]["taken"], 1))
            + ".",
        ]
    return "\n".join(lines) + "\n"
