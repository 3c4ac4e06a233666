"""Results of ours that lie among the scans: masks are no scans, and are passed over.

A folder of masks has its mark; an output folder (`pipeline.output`) has a ledger, or a run.json beside a table. Names
alone decide, so that a folder costs a few look-ups and nothing of it is read. Knows nothing about what results are.
"""

from __future__ import annotations

import os

LEDGER, MASKS_MARK = "ledger.sqlite", ".lits-deploy"
_RUN = "run.json"
_TABLES = tuple(f"slices.{kind}" for kind in ("csv", "parquet", "jsonl"))


def is_masks(folder: str) -> bool:
    """True for a folder of masks that `segment` wrote."""
    return _has(folder, MASKS_MARK)


def is_out(folder: str) -> bool:
    """True for an output folder of `classify`, `segment` or `watch`; scans may lie in it all the same."""
    return _has(folder, LEDGER) or (_has(folder, _RUN) and any(_has(folder, name) for name in _TABLES))


def _has(folder: str, name: str) -> bool:
    return os.path.isfile(os.path.join(folder, name))  # noqa: PTH113, PTH118 - a Path costs more, once per folder
