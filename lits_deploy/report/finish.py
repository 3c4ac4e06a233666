"""Whether a run draws a report when it is done. Imports nothing of the report unless it does: a night without one has
no room for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lits_deploy.bundle import Bundle
from lits_deploy.errors import UserError
from lits_deploy.pipeline.options import ClassifyOptions

if TYPE_CHECKING:
    from lits_deploy.pipeline.context import RunContext


def check_drawn(report: bool, segmenter: object) -> None:
    """Raise UserError for a segmenter that has no report to draw into."""
    if segmenter is not None and not report:
        raise UserError("--segmenter draws into the report.", fix="leave --no-report out")


def drawn_after(
    bundle: Bundle, options: ClassifyOptions, report: bool, segmenter: Path | None, say: Callable[[str], None]
) -> Callable[[RunContext], Sequence[Path]] | None:
    """What draws the report of a run when it is done; None without one. Raises UserError for a segmenter without it."""
    check_drawn(report, segmenter)
    if not report:
        return None
    from lits_deploy.report.after import reporter

    return reporter(bundle, options, segmenter=None if segmenter is None else Bundle.open(segmenter), say=say)
