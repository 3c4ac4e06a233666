"""A library that is not installed is the user's error, in one line that names the extra."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lits_deploy.errors import MissingExtra

_OURS = ("lits_deploy", "train", "export", "benchmarks")


@contextmanager
def needs(extra: str, what: str = "") -> Iterator[None]:
    """Raises MissingExtra where an import within fails for want of a library; a module of ours that fails is a bug.

    what: needs that library, in words.
    """
    try:
        yield
    except ImportError as error:
        if (error.name or _OURS[0]).split(".")[0] in _OURS:
            raise
        raise MissingExtra(f"{error.name}, which {what} needs," if what else str(error.name), extra) from error
