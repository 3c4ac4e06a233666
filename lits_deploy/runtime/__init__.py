"""Runtimes by name, and the one function that opens an artifact of a bundle on one of them."""

from __future__ import annotations

from lits_deploy.bundle import Artifact, Bundle
from lits_deploy.errors import UserError
from lits_deploy.runtime.base import Batch, Outputs, Runtime, RuntimeInfo
from lits_deploy.runtime.device import Device

RUNTIMES = ("onnxruntime",)

__all__ = ["RUNTIMES", "Batch", "Device", "Outputs", "Runtime", "RuntimeInfo", "open_runtime"]


def open_runtime(
    bundle: Bundle,
    *,
    runtime: str = "auto",
    device: str = "auto",
    artifact: Artifact | None = None,
    max_batch: int = 32,
    threads: int = 0,
    wanted: tuple[str, ...] | None = None,
) -> Runtime:
    """Load an artifact of a bundle, its hash checked, on a runtime of this machine.

    runtime: `auto` or one of RUNTIMES. device: `auto` takes CUDA where it works, else the CPU; anything else is taken
    at its word or refused (DeviceError). wanted: graph outputs to return; None takes `logits` and `probabilities` of a
    classifier, `labels` of a U-Net.
    """
    if runtime not in ("auto", *RUNTIMES):
        raise UserError(f"`{runtime}` is not a runtime.", fix=f"use one of: auto, {', '.join(RUNTIMES)}")
    from lits_deploy.runtime.onnxruntime_ import OnnxRuntime, cuda_usable

    chosen = artifact or bundle.artifact()
    target = Device.parse(device, auto=Device("cuda") if device == "auto" and cuda_usable() else Device("cpu"))
    default = ("logits", "probabilities") if bundle.manifest.task == "classify" else ("labels",)
    return OnnxRuntime(
        bundle.path_of(chosen),
        device=target,
        precision=chosen.precision,
        shape=bundle.manifest.contract.shape,
        wanted=wanted or default,
        max_batch=max_batch,
        threads=threads,
    )
