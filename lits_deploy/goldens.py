"""The goldens of a bundle: slices of a phantom with the original's answers, and a network held against them.

Used by `verify`, by `doctor` and by the gate of TensorRT engines. Knows nothing about runtimes beyond `infer`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from lits_deploy.bundle import Bundle
from lits_deploy.errors import BundleError
from lits_deploy.parity import Parity


class HasProbabilities(Protocol):
    """What `infer` returns: `lits_deploy.runtime.Outputs`."""

    @property
    def probabilities(self) -> npt.NDArray[np.float32] | None:
        """Float32 [N, K] or [N, K, S, S]."""
        ...


class Network(Protocol):
    """A loaded network: `lits_deploy.runtime.Runtime`."""

    max_batch: int

    def infer(self, batch: npt.NDArray[np.uint8], /) -> HasProbabilities:
        """Run uint8 [N, C, S, S]."""
        ...


def read_golden(bundle: Bundle) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Slices uint8 [N, C, S, S] and the original's FP32 probabilities [N, 3] or [N, 3, S, S]."""
    try:
        with np.load(bundle.golden(), allow_pickle=False) as arrays:
            return arrays["slices"], arrays["probabilities"]
    except (KeyError, ValueError, OSError) as error:
        raise BundleError("golden.npz does not hold goldens.", fix="export again") from error


def compare(
    runtime: Network, slices: npt.NDArray[np.uint8], expected: npt.NDArray[np.float32], tolerance: float
) -> Parity:
    """Run known slices through a network and hold its probabilities against the expected ones, batch by batch.

    slices: uint8 [N, C, S, S]; expected: float32 [N, K] or [N, K, S, S]. Raises what `Runtime.infer` raises.
    """
    parity = Parity(tolerance)
    for start in range(0, len(slices), runtime.max_batch):
        end = min(start + runtime.max_batch, len(slices))
        got = runtime.infer(slices[start:end]).probabilities
        assert got is not None
        parity.add([f"golden {index}" for index in range(start, end)], expected[start:end], got)
    return parity
