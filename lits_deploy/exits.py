"""Every exit code of the program, in one place. Imports nothing: it is needed before anything else is there.

    0     done
    1     done, but some files failed (rows with their reasons); of a command that checks: no
    2     an error you can fix, one line that names the fix
    3     `verify`: the bundle does not hold on this machine
    4     in place of 1 where LITS_DEPLOY_UNATTENDED is set
    70    a bug of ours, with its traceback
    129, 130, 143    ended by SIGHUP, SIGINT (Ctrl-C), SIGTERM; the same command goes on
    141   whoever read standard output has gone (`| head`)

A crash never looks like one of ours: uncaught exceptions end with 70, not with Python's 1. Where Python itself cannot
start (a broken environment), it says 1 before any line of this package runs, so a program that takes "some files
failed" for a success, as `deploy/nightly.sh` does, sets LITS_DEPLOY_UNATTENDED and accepts 4.
"""

from __future__ import annotations

import os
import sys

DONE = 0
SOME_FAILED = 1
USER_ERROR = 2
BUNDLE_FAILS = 3
SOME_FAILED_UNATTENDED = 4
BUG = 70
BROKEN_PIPE = 141  # as a shell reports death by SIGPIPE

UNATTENDED = "LITS_DEPLOY_UNATTENDED"


def in_help(*own: str) -> str:
    """The line for a command's help: its own codes and those of every command."""
    return f"Exit codes: {', '.join((*own, *_OF_ALL))}."


_OF_ALL = ("2 an error you can fix", "70 a bug", "129, 130 or 143 stopped by a signal")


def unless_linux() -> None:
    """End the program on another system, in one line, before an import fails for what only Linux or POSIX has."""
    if sys.platform != "linux":
        fix = "run it in WSL2 or in a Linux container"
        sys.stderr.write(f"error: lits-deploy runs on Linux only; this is {sys.platform}. Fix: {fix}\n")
        raise SystemExit(USER_ERROR)


def of_signal(number: int) -> int:
    """The code of a program that a signal ended, as a shell reports it."""
    return 128 + number


def of_failures(failed: int) -> int:
    """Of a run in which so many files failed."""
    if not failed:
        return DONE
    return SOME_FAILED_UNATTENDED if os.environ.get(UNATTENDED) else SOME_FAILED
