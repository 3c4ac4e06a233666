"""Checkpoint → bundle: the graph, the parity gate, the goldens, the model card.

`export.export(run, out, …)` is `lits-deploy export` for programs; `export.run` is the module that makes a bundle.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from export.api import export

__all__ = ["export"]

if not TYPE_CHECKING:  # a checker would take any name for one of ours

    def __getattr__(name: str) -> Any:
        """`export`, when it is first used."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module("export.api"), name)
