"""Results of ours that lie among the scans: masks are no scans, and are passed over.

A folder of masks has its mark; an output folder (`pipeline.output`) has a ledger, or a run.json beside a table. Names
alone decide, so that a folder costs a few look-ups and nothing of it is read. Knows nothing about what results are.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

LEDGER, MASKS_MARK = "ledger.sqlite", ".lits-deploy"
_RUN = "run.json"
_TABLES = tuple(f"slices.{kind}" for kind in ("csv", "parquet", "jsonl"))


def is_masks(folder: str) -> bool:
    """True for a folder of masks that `segment` wrote."""
    return holds_masks(partial(_has, folder))


def is_out(folder: str) -> bool:
    """True for an output folder of `classify`, `segment` or `watch`; scans may lie in it all the same."""
    return holds_results(partial(_has, folder))


def holds_masks(has: Callable[[str], bool]) -> bool:
    """As `is_masks`; has: whether a file of that name lies in the folder."""
    return has(MASKS_MARK)


def holds_results(has: Callable[[str], bool]) -> bool:
    """As `is_out`, in the same way."""
    return has(LEDGER) or (has(_RUN) and any(map(has, _TABLES)))


def _has(folder: str, name: str) -> bool:
    return os.path.isfile(os.path.join(folder, name))  # noqa: PTH113, PTH118 - a Path costs more, once per folder
