"""Who is told how the program ends: one witness, such as the log and metrics of a command (`events.session`).

`program` tells it of every end, `signals` of one that comes at once. Imports nothing of ours: it is needed before
anything else is there.
"""

from __future__ import annotations

from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, Protocol

    Kind = Literal["error", "stopped", "bug"]

    class Witness(Protocol):
        """Somebody who keeps a record of how a command went."""

        def failed(self, kind: Kind, text: str, error: BaseException | None) -> bool:
            """Why it ends. text: the line or traceback for standard error; True: it has been printed there already."""

        def ended(self, code: int, *, at_once: bool) -> None:
            """The exit code. at_once: in a signal handler, with the rest of the program where it was."""


_witness: Witness | None = None
_awaited = False


def expect() -> None:
    """This program tells its end: a witness need not see to it by itself."""
    global _awaited
    _awaited = True


def awaited() -> bool:
    """Whether `program` runs this process, and will say how it ends."""
    return _awaited


def witness(one: Witness | None) -> None:
    """Have it notified; None: nobody any more."""
    global _witness
    _witness = one


def failed(kind: Kind, text: str, error: BaseException | None = None) -> bool:
    """Tell why the program ends; whether that stands on standard error already."""
    try:
        return _witness is not None and _witness.failed(kind, text, error)
    except Exception:  # a log on a full disk, say: the program then tells it itself
        return False


def ended(code: int, *, at_once: bool = False) -> None:
    """Tell the exit code, once. Raises nothing: no record changes how the program ends."""
    global _witness
    one, _witness = _witness, None
    if one is not None:
        with suppress(Exception):
            one.ended(code, at_once=at_once)
