"""Architectures, data, loop and recipes of the thesis. The package itself imports no torch.

`train.train(data, out, …)` is `lits-deploy train` for programs; `train.run` is the module of a run.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from train.api import train

__all__ = ["train"]

if not TYPE_CHECKING:  # a checker would take any name for one of ours

    def __getattr__(name: str) -> Any:
        """`train`, when it is first used."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module("train.api"), name)
