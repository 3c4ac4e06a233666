"""Every exception of the project, in one tree.

    LitsError
    ├── UserError             one line that names the fix; the command line exits 2 without a traceback
    │   ├── BundleError       a bundle that is missing, altered or not what was asked for
    │   ├── ContractError     input and contract disagree
    │   ├── DataError         a training data set that cannot be read as one
    │   ├── DeviceError       a device or runtime that is not there
    │   ├── EngineError       a TensorRT engine that cannot be built, trusted or proven
    │   ├── MachineError      the machine ran out of open files, memory, threads or processes
    │   ├── MissingExtra      a library that is not installed; names the extra
    │   ├── ParityError       an exported graph that does not compute what the original does
    │   ├── OutputError       an output folder that may not be written
    │   │   └── LedgerError   a ledger whose rows are not those that were written
    │   └── StorageError      an object store that does not answer, or may not be used
    ├── SliceError            one file or slice cannot be used: becomes a row with this reason, never an abort
    └── DeviceOutOfMemory     the device ran out of memory: something smaller is tried, or `mishaps` words it

Caught once, in `lits_deploy.program`. Anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

import sys
from typing import Any

from lits_deploy.printable import printable

_CALLS = 4  # calls that an error remembers: a helper's helper gets its words from whoever called it


class LitsError(Exception):
    """Root of the tree. Its text is one printable line, whatever a library or a file's name brought into it."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


class UserError(LitsError):
    """Something the user can mend.

    `message` says what is wrong, `fix` what to do or type next. made_at: the statements that made it, the innermost
    first, each as file, function and line (`events.wording` looks up their words).
    """

    def __init__(self, message: str, *, fix: str | None = None) -> None:
        super().__init__(message if fix is None else f"{message} Fix: {fix}")
        self.message = printable(message)
        self.fix = None if fix is None else printable(fix)
        self.made_at = _made_at()


def _made_at() -> tuple[tuple[str, str, int], ...]:
    calls, frame = list[tuple[str, str, int]](), sys._getframe(2)
    while frame is not None and len(calls) < _CALLS:
        calls.append((frame.f_code.co_filename, frame.f_code.co_name, frame.f_lineno))
        frame = frame.f_back  # type: ignore[assignment]
    return tuple(calls)


class BundleError(UserError):
    """A bundle that is missing, altered or not what was asked for."""


class ContractError(UserError):
    """Input and input contract disagree."""


class DataError(UserError):
    """A training data set that cannot be read as one."""


class DeviceError(UserError):
    """A device or runtime that was asked for and is not there."""


class EngineError(UserError):
    """A TensorRT engine that cannot be built, may not be trusted, or fails its goldens."""


class MachineError(UserError):
    """The machine has no further open files, memory, threads or processes (`mishaps`)."""


class MissingExtra(UserError):  # noqa: N818 - reads better where it is raised
    """A library that is not installed; `extra` is the extra of lits-deploy that brings it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} is not installed.", fix=f"pip install 'lits-deploy[{extra}]'")
        self.extra = extra


class ParityError(UserError):
    """An exported graph that does not compute what the original does."""


class OutputError(UserError):
    """An output folder that may not be written or holds something else."""


class LedgerError(OutputError):
    """A damaged ledger: no result is made from it."""


class StorageError(UserError):
    """An object store that does not answer, or does not give or take what it is asked for.

    why: a few words without a path, for a file's row.
    """

    def __init__(self, message: str, *, fix: str, why: str) -> None:
        super().__init__(message, fix=fix)
        self.why = why


class SliceError(LitsError):
    """One file or slice cannot be used; `str(error)` is the reason written to its row. Holds no path.

    series: of the file, if its header was understood before it failed (a `scans.Series`).
    """

    def __init__(self, reason: str, *, series: Any = None) -> None:
        super().__init__(reason)
        self.series = series


class DeviceOutOfMemory(LitsError):  # noqa: N818
    """The device ran out of memory; something smaller may fit. What ends a command because of it is a DeviceError."""
