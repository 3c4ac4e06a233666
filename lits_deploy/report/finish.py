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


def drawn_after(
    bundle: Bundle, options: ClassifyOptions, report: bool, segmenter: Path | None, say: Callable[[str], None]
) -> Callable[[RunContext], Sequence[Path]] | None:
    """What draws the report of a run when it is done; None without one. Raises UserError for a segmenter without it."""
    if not report:
        if segmenter is not None:
            raise UserError("--segmenter draws into the report.", fix="leave --no-report out")
        return None
    from lits_deploy.report.after import reporter

    return reporter(bundle, options, segmenter=None if segmenter is None else Bundle.open(segmenter), say=say)
