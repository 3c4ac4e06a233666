"""`python -m train …` is `lits-deploy train …`, in the form that torchrun starts.

torchrun --nproc-per-node N -m train --data DATA --out RUN …
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from lits_deploy.__main__ import main


def _one_of_several() -> NoReturn:
    """Run it, and end without Python's own good-bye: threads of PyTorch outlive their process group now and then, and
    Python's end takes itself away from them, which aborts a process that has done its work."""
    try:
        main()
    except SystemExit as end:
        from lits_deploy.signals import end_at_once  # not before `main` has looked at the system

        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        end_at_once(end.code if isinstance(end.code, int) else int(end.code is not None))


if __name__ == "__main__":
    sys.argv = ["lits-deploy", "train", *sys.argv[1:]]
    if os.environ.get("WORLD_SIZE", "1") == "1":
        main()
    _one_of_several()
