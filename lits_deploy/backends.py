"""Runtimes by name, which of them are here, and the one function that opens an artifact of a bundle on one of them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from lits_deploy.bundle import Artifact, Bundle
from lits_deploy.errors import BundleError, MissingExtra, UserError
from lits_deploy.runtime import memory, onnxruntime_, openvino_
from lits_deploy.runtime.base import Runtime
from lits_deploy.runtime.device import Device
from lits_deploy.runtime.onnxruntime_ import OnnxRuntime
from lits_deploy.runtime.openvino_ import OpenVino
from lits_deploy.trt.open import open_tensorrt, tensorrt_usable

RUNTIMES = ("onnxruntime", "openvino", "tensorrt")


def places() -> list[tuple[str, str]]:
    """Every (runtime, device) that is installed here; MissingExtra where there is none."""
    found = [("onnxruntime", "cpu")] if onnxruntime_.installed() else []
    found += [("onnxruntime", "cuda:0")] if onnxruntime_.cuda_usable() else []
    found += [("openvino", "cpu")] if openvino_.installed() else []
    found += [("tensorrt", "cuda:0")] if tensorrt_usable() else []
    if not found:
        raise MissingExtra("A runtime (ONNX Runtime, OpenVINO or TensorRT)", "cpu")
    return found


def resolve(runtime: str, device: str) -> tuple[str, Device]:
    """What `auto` means here, as in `open_runtime`. Raises UserError, DeviceError for names that are none."""
    if runtime not in ("auto", *RUNTIMES):
        raise UserError(f"`{runtime}` is not a runtime.", fix=f"use one of: auto, {', '.join(RUNTIMES)}")
    cuda = runtime == "tensorrt" or (
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


class Choice(NamedTuple):
    """An artifact and where it runs, in `open_runtime`'s words."""

    artifact: Artifact
    runtime: str
    device: str


def choose(bundle: Bundle, precision: str, *, runtime: str = "auto", device: str = "auto") -> Choice:
    """The artifact of a precision (or of that name) for a runtime and device.

    `auto` takes what it stands for here or, where no such artifact is placed for that, another runtime or device of
    this machine. Raises BundleError that lists what there is.
    """
    name, target = resolve(runtime, device)
    of_it = [artifact for artifact in bundle.manifest.artifacts if precision in (artifact.precision, artifact.name)]
    if not of_it:
        had = ", ".join(dict.fromkeys(artifact.precision for artifact in bundle.manifest.artifacts))
        again = f", or export the run again with --{precision}" if precision in ("fp16", "int8") else ""
        raise BundleError(f"{bundle.folder} has no precision `{precision}`.", fix=f"use one of: {had}{again}")
    others = [
        (other, where)
        for other, where in places()
        if runtime in ("auto", other) and (device == "auto" or Device.parse(device, auto=target) == _device(where))
    ]
    for other, where in [(name, str(target)), *others]:
        for artifact in of_it:
            if artifact.placed_for(other, where):
                return Choice(artifact, other, where)
    there = "; ".join(
        f"{artifact.precision} for {', '.join(artifact.runtimes) or 'any runtime'}"
        for artifact in bundle.manifest.artifacts
    )
    raise BundleError(
        f"{bundle.folder} has no {precision} artifact for {name} on {target} (it has {there}).",
        fix="choose one of those, or export the run again with --fp16 or --int8",
    )


def _device(text: str) -> Device:
    return Device.parse(text, auto=Device("cpu"))


def open_runtime(
    bundle: Bundle,
    *,
    runtime: str = "auto",
    device: str = "auto",
    artifact: Artifact | None = None,
    max_batch: int = 32,
    threads: int = 0,
    lanes: int = 1,
    wanted: tuple[str, ...] | None = None,
    engine_cache: Path | None = None,
    memory_limit_mib: int = memory.DEFAULT_MIB,
) -> Runtime:
    """Load an artifact of a bundle, its hash checked, on a runtime of this machine.

    runtime: one of RUNTIMES, or `auto`: OpenVINO on the CPU where it is installed, else ONNX Runtime; on a GPU ONNX
    Runtime, or TensorRT where that is all there is. device: `auto` takes CUDA where it works, else the CPU; anything
    else is taken at its word or refused (DeviceError). threads, lanes: on a CPU; `lanes` calls of `infer` may be under
    way at once, each on its share of the threads. wanted: graph outputs to return; None takes `logits` and
    `probabilities` of a classifier, `labels` of a U-Net. engine_cache: folder where TensorRT finds its engine, or
    builds it first, which may take minutes; None: `engines.cache.default_folder`. memory_limit_mib: on a CPU, what
    loading may take beside the weights, and a batch for each of its slices. Raises BundleError for an artifact that is
    not placed for the runtime: it may be slow there, or wrong.
    """
    name, target = resolve(runtime, device)
    chosen = artifact or bundle.artifact()
    if not chosen.placed_for(name, str(target)):
        placed = ", ".join(chosen.runtimes) + (f" on {', '.join(chosen.devices)}" if chosen.devices else "")
        fitting = [artifact.name for artifact in bundle.manifest.artifacts if artifact.placed_for(name, str(target))]
        raise BundleError(
            f"{chosen.name} is placed for {placed}, not for {name} on {target}.",
            fix=f"--artifact {' or '.join(fitting)}" if fitting else "another --runtime or --device",
        )
    default = ("logits", "probabilities") if bundle.manifest.task == "classify" else ("labels",)
    if name == "tensorrt":
        return open_tensorrt(
            bundle, chosen, device=target, wanted=wanted or default, max_batch=max_batch, engine_cache=engine_cache
        )
    kind: type[OnnxRuntime | OpenVino] = OpenVino if name == "openvino" else OnnxRuntime
    return kind(
        bundle.read(chosen),
        device=target,
        precision=chosen.precision,
        shape=bundle.manifest.contract.shape,
        wanted=wanted or default,
        max_batch=max_batch,
        threads=threads,
        lanes=lanes,
        memory_limit_mib=memory_limit_mib,
    )
