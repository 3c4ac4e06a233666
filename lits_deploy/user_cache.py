"""Where this user's caches lie: settings that `--tune` found, and TensorRT engines."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache() -> Path | None:
    """`lits-deploy` in $XDG_CACHE_HOME, else in ~/.cache; None where there is no home folder. It need not exist.

    A service or container may run under a user number with neither $HOME nor a line in the list of users. Paths that
    are not absolute are ignored, as the XDG specification says.
    """
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
    for base in (os.environ.get("XDG_CACHE_HOME", ""), os.path.join(home, ".cache")):  # noqa: PTH118 - text
        if os.path.isabs(base):  # noqa: PTH117
            return Path(base, "lits-deploy")
    return None
