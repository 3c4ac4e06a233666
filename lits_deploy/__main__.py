"""`python -m lits_deploy` and the `lits-deploy` script.

`train`, `export` and `benchmarks` are plain names: with `python -m`, a `train.py` in the user's current folder would
win over our package. So the current folder leaves the import path before anything else is imported.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # built in, so nobody's file can be in its place
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # without the module, which might be another's
    from typing import NoReturn


def _drop_current_folder() -> None:
    try:
        here = os.path.realpath(os.getcwd())  # noqa: PTH109 - pathlib is not imported yet, on purpose
    except FileNotFoundError:  # the folder has been removed: nothing can be imported from it
        return
    package_root = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120
    if here == package_root:
        return  # the checkout itself: the folder *is* where the packages live
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry or ".") != here]


def main() -> NoReturn:
    """Run the command line; ends with a code of `lits_deploy.exits`."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        # Until a handler of ours can be imported, Ctrl-C ends the program without a traceback of Python's.
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    _drop_current_folder()
    from lits_deploy import exits

    exits.unless_linux()
    from lits_deploy import signals

    signals.end_on_any()  # nothing has begun
    from lits_deploy.program import run_program

    run_program(_run)


def _run() -> int:
    from lits_deploy.cli.app import run

    return run()


if __name__ == "__main__":
    main()
