"""Synthetic data: how it is known, and the caveat of every figure measured on it."""

from __future__ import annotations

MARK = "SYNTHETIC"

CAVEAT = f"{MARK}: measured on phantoms, not on patients. Such figures say that a pipeline works, and no more."


def is_synthetic(declared: object) -> bool:
    """Whether a record of a data set (dataset.json, `Layout.describe`, figures measured on it) tells of phantoms.

    `synthetic` is the mark; data sets and bundles made before there was one say `source: phantom`.
    """
    return isinstance(declared, dict) and (declared.get("synthetic") is True or declared.get("source") == "phantom")
