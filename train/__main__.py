"""`python -m train …` is `lits-deploy train …`, in the form that torchrun starts.

    torchrun --nproc-per-node N -m train --data DATA --out RUN …

The command line is lits_deploy's, above this package; so it is started by name, not imported.
"""

from __future__ import annotations

import runpy
import sys

if __name__ == "__main__":
    sys.argv = ["lits-deploy", "train", *sys.argv[1:]]
    runpy.run_module("lits_deploy", run_name="__main__")
