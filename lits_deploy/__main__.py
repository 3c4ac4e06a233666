"""`python -m lits_deploy` and the `lits-deploy` script.

`train`, `export` and `benchmarks` are plain names: with `python -m`, a `train.py` in the user's current folder would
win over our package. So the current folder leaves the import path before anything else is imported.
"""

import os
import sys


def _drop_current_folder() -> None:
    here = os.path.realpath(os.getcwd())  # noqa: PTH109 - pathlib is not imported yet, on purpose
    package_root = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120
    if here == package_root:
        return  # the checkout itself: the folder *is* where the packages live
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry or ".") != here]


def main() -> None:
    """Run the command line; exits 0, 1 (some files failed), 2 (the user's error) or 130 (Ctrl-C)."""
    _drop_current_folder()
    try:
        from lits_deploy.cli.app import run
    except KeyboardInterrupt:  # Ctrl-C while Python is still importing; `run` has its own answer
        print("stopped", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
