"""`python -m train …` is `lits-deploy train …`, in the form that torchrun starts.

torchrun --nproc-per-node N -m train --data DATA --out RUN …
"""

from __future__ import annotations

import sys

from lits_deploy.__main__ import main

if __name__ == "__main__":
    sys.argv = ["lits-deploy", "train", *sys.argv[1:]]
    main()
