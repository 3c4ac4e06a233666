"""Runtimes by name, which of them are here, and the one function that opens an artifact of a bundle on one of them."""

from __future__ import annotations

from lits_deploy.bundle import Artifact, Bundle
from lits_deploy.errors import MissingExtra, UserError
from lits_deploy.runtime import onnxruntime_, openvino_
from lits_deploy.runtime.base import Batch, Outputs, Runtime, RuntimeInfo
from lits_deploy.runtime.device import Device
from lits_deploy.runtime.onnxruntime_ import OnnxRuntime
from lits_deploy.runtime.openvino_ import OpenVino

RUNTIMES = ("onnxruntime", "openvino")

__all__ = ["RUNTIMES", "Batch", "Device", "Outputs", "Runtime", "RuntimeInfo", "open_runtime", "places", "resolve"]


def places() -> list[tuple[str, str]]:
    """Every (runtime, device) that is installed here; MissingExtra where there is none."""
    found = [("onnxruntime", "cpu")] if onnxruntime_.installed() else []
    found += [("onnxruntime", "cuda:0")] if onnxruntime_.cuda_usable() else []
    found += [("openvino", "cpu")] if openvino_.installed() else []
    if not found:
        raise MissingExtra("A runtime (ONNX Runtime or OpenVINO)", "cpu")
    return found


def resolve(runtime: str, device: str) -> tuple[str, Device]:
    """What `auto` means here, as in `open_runtime`. Raises UserError, DeviceError for names that are none."""
    if runtime not in ("auto", *RUNTIMES):
        raise UserError(f"`{runtime}` is not a runtime.", fix=f"use one of: auto, {', '.join(RUNTIMES)}")
    cuda = device == "auto" and runtime != "openvino" and onnxruntime_.cuda_usable()
    target = Device.parse(device, auto=Device("cuda" if cuda else "cpu"))
    if runtime == "auto":
        runtime = "openvino" if target.kind == "cpu" and openvino_.installed() else "onnxruntime"
    return runtime, target


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

    runtime: one of RUNTIMES, or `auto`: OpenVINO on the CPU where it is installed, else ONNX Runtime. device: `auto`
    takes CUDA where it works, else the CPU; anything else is taken at its word or refused (DeviceError). wanted: graph
    outputs to return; None takes `logits` and `probabilities` of a classifier, `labels` of a U-Net.
    """
    name, target = resolve(runtime, device)
    chosen = artifact or bundle.artifact()
    default = ("logits", "probabilities") if bundle.manifest.task == "classify" else ("labels",)
    kind: type[OnnxRuntime | OpenVino] = OpenVino if name == "openvino" else OnnxRuntime
    return kind(
        bundle.path_of(chosen),
        device=target,
        precision=chosen.precision,
        shape=bundle.manifest.contract.shape,
        wanted=wanted or default,
        max_batch=max_batch,
        threads=threads,
    )
