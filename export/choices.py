"""What `export` may be asked for in words. Imports nothing, so that the command's help needs no PyTorch."""

from typing import Literal

Checkpoint = Literal["best", "last"]
"""The best by validate, or the last epoch's."""

Flips = Literal["none", "sides", "all"]
"""none; sides: left and right exchanged, too; all: upside down, and both, too (`export.flips`)."""

Networks = Literal["best", "average", "all"]
"""Of a folded run (`export.folded`)."""
