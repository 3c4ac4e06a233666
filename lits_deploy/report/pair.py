"""What a page says of a pair's two networks: of a picture, a series, the run. Nothing where one network answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lits_deploy.ledger import ResultRow


def facts(about: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """What the ledger's record of the run (`pipeline.about`) says of the second network, as names and values."""
    pair = (about or {}).get("pair")
    if not pair:
        return []
    rows = [("Second network", pair["network"]), ("It looks", pair["looks"])]
    return [*rows, *(("Witnesses", line) for line in pair["out_of_fold"])]


def picture_text(row: ResultRow) -> str | None:
    """What both networks say of a pictured slice."""
    if row.log_odds is None or row.lesion is None:
        return None
    both = f"lesion by both {row.lesion:.2f}"
    if row.tumour is None or row.liver is None:
        return f"{both}; the U-Net did not look"
    return f"{both}; U-Net: {row.tumour:,} tumour pixels of {row.liver:,} liver pixels"


def series_text(rows: Sequence[ResultRow]) -> str | None:
    """What the U-Net found in a series."""
    if all(row.log_odds is None for row in rows):
        return None
    looked = [row.tumour for row in rows if row.tumour is not None]
    marked = sum(1 for pixels in looked if pixels)
    most = max(looked, default=0)
    return f"looked at {len(looked):,} of {len(rows):,} slices; tumour pixels in {marked:,} of them, at most {most:,}"
