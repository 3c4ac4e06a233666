"""Plots of a training: names of classes are text, never a formula."""

from __future__ import annotations

from pathlib import Path

import pytest


def test_hostile_class_names_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from train.plots import confusion

    names = ("$\\foo$", "a\x1b[31m$", "$x^$")
    confusion([[1, 0, 0], [0, 2, 0], [0, 0, 3]], names, tmp_path / "c.png", unit="slices")
    assert (tmp_path / "c.png").stat().st_size
