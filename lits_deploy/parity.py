"""Do two sets of probabilities say the same? The torch-free arithmetic of the parity gate and of `verify`.

The rule: max |Δp| ≤ tolerance, and the same class wherever the original's margin between its first and second class
exceeds twice the tolerance (then no Δp within tolerance can flip it).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

FP32_TOLERANCE = 1e-4
"""Largest |Δp| between an FP32 artifact and the original, on any runtime and device."""

FP16_TOLERANCE = 1e-3
"""The least that an FP16 artifact, or the FP32 one in TF32, is allowed: both multiply in eleven bits of significand."""


@dataclass
class Parity:
    """Adds up batches of (original, artifact) probabilities; `verdict` is what the manifest records."""

    tolerance: float
    slices: int = 0
    max_delta: float = 0.0
    flipped: int = 0
    """Slices (for U-Net: slices with a pixel) whose class differs where the original was sure."""
    close_calls: int = 0
    """Slices or pixels whose class differs within the margin: allowed, counted."""
    worst: list[tuple[float, str, list[float], list[float]]] = field(default_factory=list)
    _sum: float = 0.0
    _values: int = 0

    def add(self, names: list[str], original: npt.NDArray[np.float32], artifact: npt.NDArray[np.float32]) -> None:
        """One batch: probabilities [N, K] or [N, K, H, W] of the same slices, and their names.

        A NaN in either counts as an infinite difference.
        """
        delta = np.abs(original.astype(np.float64) - artifact.astype(np.float64))
        delta[~np.isfinite(delta)] = np.inf
        ordered = np.sort(original, axis=1)
        sure = (ordered[:, -1] - ordered[:, -2]) > 2 * self.tolerance
        differs = original.argmax(axis=1) != artifact.argmax(axis=1)
        others = tuple(range(1, sure.ndim))
        self.flipped += int((sure & differs).any(axis=others).sum() if others else (sure & differs).sum())
        self.close_calls += int((~sure & differs).sum())
        self.slices += len(names)
        self._sum += float(delta.sum())
        self._values += delta.size
        per_slice = delta.reshape(len(names), -1).max(axis=1)
        self.max_delta = max(self.max_delta, float(per_slice.max(initial=0.0)))
        for index in np.flatnonzero(per_slice > self.tolerance):
            where = np.unravel_index(delta[index].argmax(), delta[index].shape)[1:]
            pick = (int(index), slice(None), *where)
            row = (float(per_slice[index]), names[index], original[pick].tolist(), artifact[pick].tolist())
            self.worst = sorted([*self.worst, row], reverse=True)[:10]

    @property
    def passed(self) -> bool:
        """True where the rule of this module holds on at least one slice."""
        return self.slices > 0 and self.max_delta <= self.tolerance and self.flipped == 0

    def verdict(self) -> dict[str, Any]:
        """slices, max and mean |Δp|, flipped, close_calls, tolerance, passed."""
        return {
            "slices": self.slices,
            "max_delta": None if np.isinf(self.max_delta) else self.max_delta,
            "mean_delta": None if np.isinf(self._sum) else self._sum / max(1, self._values),
            "flipped": self.flipped,
            "close_calls": self.close_calls,
            "tolerance": self.tolerance,
            "passed": self.passed,
        }

    def lines(self) -> list[str]:
        """Where they differ, worst first: for the error message."""

        def text(values: list[float]) -> str:
            return " ".join(f"{value:.5f}" for value in values)

        return [f"{name}: original [{text(o)}], artifact [{text(a)}], |Δp| {d:.2e}" for d, name, o, a in self.worst]
