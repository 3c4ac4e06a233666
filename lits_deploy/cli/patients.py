"""What every command does that reads or writes data of patients."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from lits_deploy import private

P = ParamSpec("P")
R = TypeVar("R")


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """A command that makes files for their owner alone, whichever library makes them, and leaves no core."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        private.no_core_dumps()
        with private.private_umask():
            return command(*args, **kwargs)

    return run
