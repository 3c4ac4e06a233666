"""What a pair's manifest says of its two networks alone and together, out of fold (`export.pair.figures`).

A manifest comes from a stranger: what is not as it must be counts as not measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lits_deploy.manifest_check import is_count, is_number

PAIR = "pair"
"""In a manifest's `metrics`."""

WITNESSES = {"classifier": "classifier alone", "segmenter": "U-Net alone", "pair": "both"}
FIGURES = {
    "lesion_auroc": "lesion-slice AUROC",
    "sensitivity": "sensitivity at a specificity of 0.95",
    "series_auroc": "series AUROC",
}
_COUNTS = ("slices", "patients", "with_lesion", "series", "series_with_lesion")


def pair_figures(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record, looked at; None for a bundle that is no pair."""
    found = metrics.get(PAIR)
    if not isinstance(found, dict) or not all(is_count(found.get(key)) for key in _COUNTS):
        return None
    each = [found.get(name) for name in WITNESSES]
    figures = [one.get(key) if isinstance(one, dict) else None for one in each for key in FIGURES]
    return found if all(map(_figure, [*figures, found.get("looks"), found.get("lesions_seen")])) else None


def pair_lines(found: Mapping[str, Any]) -> list[str]:
    """The same in words, figures with their 95 % intervals over patients."""
    return [
        f"out of fold, on {found['slices']:,} slices of {found['patients']:,} patients ({found['with_lesion']:,} with "
        f"a lesion), {found['series']:,} series ({found['series_with_lesion']:,} with a lesion):",
        *(
            f"{title}: " + ", ".join(f"{label} {figure_text(found[name][key])}" for key, label in FIGURES.items())
            for name, title in WITNESSES.items()
        ),
        looks_line(found),
    ]


def looks_line(found: Mapping[str, Any]) -> str:
    """At how many slices the U-Net looks."""
    looks, seen = (100 * (found[key]["value"] or 0.0) for key in ("looks", "lesions_seen"))
    return f"the U-Net looks at {looks:.0f} of 100 slices, and at {seen:.1f} of 100 with a lesion"


def figure_text(figure: Mapping[str, float | None]) -> str:
    """`0.905 (0.850 to 0.950)`."""
    value, low, high = (figure[key] for key in ("value", "low", "high"))
    if value is None:
        return "not defined"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f} to {high:.3f})"


def _figure(value: object) -> bool:
    keys = ("value", "low", "high")
    return isinstance(value, dict) and all(key in value and _or_none(value[key]) for key in keys)


def _or_none(value: object) -> bool:
    return value is None or is_number(value)
