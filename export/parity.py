"""The parity gate: PyTorch against an artifact on a runtime, slice by slice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from export.source import Original
from lits_deploy.errors import ParityError
from lits_deploy.parity import Parity
from lits_deploy.runtime import Runtime

MINIMUM = 256
"""Fewest slices the gate is held on."""

NamedSlices = tuple[list[str], npt.NDArray[np.uint8]]


def original_probabilities(original: Original, slices: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """FP32 probabilities of the PyTorch module on the CPU, one batch."""
    with torch.inference_mode():
        outputs = dict(zip(original.module.outputs, original.module(torch.from_numpy(slices)), strict=True))
    probabilities: npt.NDArray[np.float32] = outputs["probabilities"].numpy()
    return probabilities


def gate(
    original: Original,
    runtime: Runtime,
    named: NamedSlices,
    tolerance: float,
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> Parity:
    """Compare both on all slices; raises ParityError, listing where they differ, if the rule does not hold."""
    names, slices = named
    parity = Parity(tolerance)
    for start in range(0, len(slices), runtime.max_batch):
        part = slices[start : start + runtime.max_batch]
        got = runtime.infer(part).probabilities
        assert got is not None
        parity.add(names[start : start + len(part)], original_probabilities(original, part), got)
        progress(len(part))
    if not parity.passed:
        verdict = parity.verdict()
        raise ParityError(
            f"The exported graph does not compute what the original does: max |Δp| {parity.max_delta:.2e} "
            f"(limit {tolerance:.0e}), {verdict['flipped']} of {parity.slices} slices flipped.\n  "
            + "\n  ".join(parity.lines()),
            fix="nothing was written; report this with the network's name and the versions of torch and onnxruntime",
        )
    return parity
