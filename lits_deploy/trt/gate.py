"""The gate: an engine is used only after the bundle's goldens have passed through it, on this GPU with this driver."""

from __future__ import annotations

import time

from lits_deploy.bundle import Artifact, Bundle
from lits_deploy.errors import EngineError
from lits_deploy.goldens import compare, read_golden
from lits_deploy.runtime import Runtime
from lits_deploy.trt.cuda import Gpu
from lits_deploy.trt.record import Proof


def prove(network: Runtime, bundle: Bundle, artifact: Artifact, gpu: Gpu) -> Proof:
    """Run the goldens through a network that returns probabilities, in full batches and the first slice alone.

    Both, because TensorRT picks other kernels for other batches. Raises EngineError, with the worst golden, where they
    differ from the original's outputs by more than the artifact's tolerance or by a class.
    """
    slices, expected = read_golden(bundle)
    parity = compare(network, slices, expected, artifact.tolerance)
    alone = compare(network, slices[:1], expected[:1], artifact.tolerance)
    failed = next((found for found in (parity, alone) if not found.passed), None)
    if failed is not None:
        worst = f"; worst: {failed.lines()[0]}" if failed.lines() else ""
        raise EngineError(
            f"The engine of {artifact.name} fails the goldens on {gpu.name}: max |Δp| {failed.max_delta:.1e} "
            f"(≤ {artifact.tolerance:.0e}), {failed.flipped} flipped{worst}.",
            fix="use another --artifact, or --runtime onnxruntime; it is not used until it passes",
        )
    return Proof(
        gpu=gpu.name, compute_capability=gpu.compute_capability, driver=gpu.driver, slices=parity.slices,
        max_delta=max(parity.max_delta, alone.max_delta), tolerance=artifact.tolerance,
        date=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    )  # fmt: skip
