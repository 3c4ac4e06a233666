"""Runtimes by name, which of them are here, and the one function that opens an artifact of a bundle on one of them."""

from __future__ import annotations

from typing import Any

from lits_deploy.bundle import Artifact, Bundle
from lits_deploy.errors import BundleError, MissingExtra, UserError
from lits_deploy.runtime import onnxruntime_, openvino_
from lits_deploy.runtime.base import Batch, Outputs, Runtime, RuntimeInfo
from lits_deploy.runtime.device import Device
from lits_deploy.runtime.onnxruntime_ import OnnxRuntime
from lits_deploy.runtime.openvino_ import OpenVino
from lits_deploy.runtime.trt_open import open_tensorrt, tensorrt_usable

RUNTIMES = ("onnxruntime", "onnxruntime-tensorrt", "openvino", "tensorrt")

_GPU_ONLY = ("tensorrt", "onnxruntime-tensorrt")

__all__ = [
    "RUNTIMES",
    "Batch",
    "Device",
    "Outputs",
    "Runtime",
    "RuntimeInfo",
    "choose",
    "open_runtime",
    "places",
    "resolve",
]


def places() -> list[tuple[str, str]]:
    """Every (runtime, device) that is installed here; MissingExtra where there is none."""
    found = [("onnxruntime", "cpu")] if onnxruntime_.installed() else []
    found += [("onnxruntime", "cuda:0")] if onnxruntime_.cuda_usable() else []
    found += [("onnxruntime-tensorrt", "cuda:0")] if onnxruntime_.tensorrt_provider_usable() else []
    found += [("openvino", "cpu")] if openvino_.installed() else []
    found += [("tensorrt", "cuda:0")] if tensorrt_usable() else []
    if not found:
        raise MissingExtra("A runtime (ONNX Runtime, OpenVINO or TensorRT)", "cpu")
    return found


def resolve(runtime: str, device: str) -> tuple[str, Device]:
    """What `auto` means here, as in `open_runtime`. Raises UserError, DeviceError for names that are none."""
    if runtime not in ("auto", *RUNTIMES):
        raise UserError(f"`{runtime}` is not a runtime.", fix=f"use one of: auto, {', '.join(RUNTIMES)}")
    cuda = runtime in _GPU_ONLY or (
        device == "auto"
        and runtime != "openvino"
        and (onnxruntime_.cuda_usable() or (runtime == "auto" and tensorrt_usable()))
    )
    target = Device.parse(device, auto=Device("cuda" if cuda else "cpu"))
    if runtime == "auto" and target.kind == "cpu":
        runtime = "openvino" if openvino_.installed() else "onnxruntime"
    elif runtime == "auto":
        only_tensorrt = not onnxruntime_.cuda_usable() and tensorrt_usable()
        runtime = "tensorrt" if only_tensorrt else "onnxruntime"
    return runtime, target


def choose(bundle: Bundle, precision: str, *, runtime: str = "auto", device: str = "auto") -> tuple[Artifact, str]:
    """The artifact of a precision (or of that name) for a runtime, and the runtime.

    `auto` takes the runtime it stands for here, or, where no such artifact is placed for it, another one on the same
    machine. Raises BundleError that lists what there is.
    """
    name, _ = resolve(runtime, device)
    of_it = [artifact for artifact in bundle.manifest.artifacts if precision in (artifact.precision, artifact.name)]
    names = [name] + ([other for other, where in places() if device in ("auto", where)] if runtime == "auto" else [])
    for candidate in names:
        for artifact in of_it:
            if artifact.placed_for(candidate):
                return artifact, candidate
    there = "; ".join(
        f"{artifact.precision} for {', '.join(artifact.runtimes) or 'any runtime'}"
        for artifact in bundle.manifest.artifacts
    )
    raise BundleError(
        f"{bundle.folder} has no {precision} artifact for {name} (it has {there}).",
        fix=f"choose one of those, or export the run again with --{precision.split('-')[0]}",
    )


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

    runtime: one of RUNTIMES, or `auto`: OpenVINO on the CPU where it is installed, else ONNX Runtime; on a GPU ONNX
    Runtime, or TensorRT where that is all there is. device: `auto` takes CUDA where it works, else the CPU; anything
    else is taken at its word or refused (DeviceError). wanted: graph outputs to return; None takes `logits` and
    `probabilities` of a classifier, `labels` of a U-Net. TensorRT finds its engine in the cache or builds it first,
    which may take minutes. Raises BundleError for an artifact that is not placed for the runtime: it may be slow there,
    or wrong.
    """
    name, target = resolve(runtime, device)
    chosen = artifact or bundle.artifact()
    if not chosen.placed_for(name):
        raise BundleError(
            f"{chosen.name} is placed for {', '.join(chosen.runtimes)}, not for {name}.",
            fix=f"--precision {chosen.precision} takes the file that is for {name}",
        )
    default = ("logits", "probabilities") if bundle.manifest.task == "classify" else ("labels",)
    if name == "tensorrt":
        return open_tensorrt(bundle, chosen, device=target, wanted=wanted or default, max_batch=max_batch)
    kind: type[OnnxRuntime | OpenVino] = OpenVino if name == "openvino" else OnnxRuntime
    options: dict[str, Any] = {"accelerator": "tensorrt"} if name == "onnxruntime-tensorrt" else {}
    return kind(
        bundle.path_of(chosen),
        device=target,
        precision=chosen.precision,
        shape=bundle.manifest.contract.shape,
        wanted=wanted or default,
        max_batch=max_batch,
        threads=threads,
        **options,
    )
