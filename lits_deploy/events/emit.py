"""The seam of events: records of Python's `logging`, with a name and figures. Costs nothing where nobody listens."""

from __future__ import annotations

import logging
from typing import Any

LOGGER = logging.getLogger("lits_deploy")

PHASE, RUN, QUEUE, STUDY = "phase", "run", "queue", "study"
"""Names of events: a part of the work begins; a run has ended, with its figures; what waits in an inbox; one study."""


def emit(
    event: str, message: str = "", *, level: int = logging.DEBUG, plain: str | None = None, **figures: Any
) -> None:
    """Something happened. message: for people; figures: for machines, JSON, without identifiers and paths.

    plain: the line for somebody who asked for no log, where there is to be one.
    """
    LOGGER.log(level, "%s", message, extra={"event": event, "figures": figures, "plain": plain})


def phase(name: str, **figures: Any) -> None:
    """A part of the work begins."""
    emit(PHASE, phase=name, **figures)
