"""Runtimes by name, which of them are here, and the one function that opens an artifact of a bundle on one of them."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from lits_deploy import nvidia
from lits_deploy.bundle import TF32, Artifact, Bundle
from lits_deploy.errors import BundleError, MissingExtra, UserError
from lits_deploy.fusion import Fusion
from lits_deploy.nvidia import Trouble
from lits_deploy.printable import printable
from lits_deploy.runtime import onnxruntime_, openvino_
from lits_deploy.runtime.base import DEFAULTS, Runtime, RuntimeOptions
from lits_deploy.runtime.device import Device
from lits_deploy.runtime.onnxruntime_ import OnnxRuntime
from lits_deploy.runtime.openvino_ import OpenVino
from lits_deploy.runtime.pair import PairRuntime

COUNTS = "counts"
"""The output that only a pair has (`runtime.pair`)."""

RUNTIMES = ("onnxruntime", "openvino", "tensorrt")

SEGMENTER_BATCH = {"cpu": 2, "cuda": 16}
"""Slices in a batch of a pair's U-Net, by kind of device: its activations are large, and those of few slices fill the
cache of a processor."""


def _tensorrt_trouble() -> Trouble | None:
    """As `tensorrt_trouble`; a machine without a GPU starts without our TensorRT modules."""
    if not nvidia.gpu_here():
        return nvidia.NO_GPU
    from lits_deploy.trt.open import tensorrt_trouble

    return tensorrt_trouble()


_ON_GPU = {"onnxruntime": onnxruntime_.cuda_trouble, "tensorrt": _tensorrt_trouble}
"""What keeps a runtime from the GPU here, in the order in which `auto` asks."""


def targets() -> list[tuple[str, str]]:
    """Every (runtime, device) that works here; a line tells of a GPU that none works on. MissingExtra without any."""
    found = [("onnxruntime", "cpu")] if onnxruntime_.installed() else []
    found += [("openvino", "cpu")] if openvino_.installed() else []
    found += [(name, "cuda:0") for name in _on_gpu(*_ON_GPU)]
    if not found:
        raise MissingExtra("A runtime (ONNX Runtime, OpenVINO or TensorRT)", "cpu")
    return found


def resolve(runtime: str, device: str) -> tuple[str, Device]:
    """What `auto` means here, as in `open_runtime`. Where there is a GPU that `auto` does not take, one line tells why.

    Raises UserError, DeviceError for names that are none.
    """
    if runtime not in ("auto", *RUNTIMES):
        raise UserError(f"`{runtime}` is not a runtime.", fix=f"use one of: auto, {', '.join(RUNTIMES)}")
    asked = tuple(_ON_GPU) if runtime == "auto" else (runtime,)
    target = Device.parse(device, auto=Device("cuda" if runtime == "tensorrt" else "cpu"))
    if device == "auto" and runtime in ("auto", "onnxruntime") and next(_on_gpu(*asked), None):
        target = Device("cuda")
    if runtime == "auto" and target.kind == "cuda":
        runtime = next((name for name in asked if _ON_GPU[name]() is None), "onnxruntime")
    elif runtime == "auto":
        runtime = "openvino" if openvino_.installed() else "onnxruntime"
    return runtime, target


def _on_gpu(*names: str) -> Iterator[str]:
    """Those of these runtimes that compute on the GPU here, each tried when it is asked for; a line where none does."""
    troubles = []
    for name in names:
        if trouble := _ON_GPU[name]():
            troubles.append(trouble)
        else:
            yield name
    if nvidia.gpu_here() and len(troubles) == len(names):
        _warn("; ".join(dict.fromkeys(trouble.found for trouble in troubles)), troubles[0].fix)


@functools.cache  # once in a process
def _warn(found: str, fix: str) -> None:
    line = f"note: running on the CPU, not on the NVIDIA GPU: {found}. Fix: {fix}"
    logging.getLogger(__name__).warning(printable(line))


def fits(artifact: Artifact, runtime: str, device: str) -> bool:
    """True where the artifact is placed for that runtime and device, and the device can compute in it."""
    if not artifact.placed_for(runtime, device):
        return False
    capability = nvidia.compute_capability(_device(device).index) if artifact.precision == TF32 else None
    return capability is None or capability >= (8, 0)  # None: whoever opens it says what is wrong with the GPU


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
    of_it = [artifact for artifact in bundle.artifacts if precision in (artifact.precision, artifact.name)]
    if not of_it:
        had = ", ".join(dict.fromkeys(artifact.precision for artifact in bundle.manifest.artifacts))
        again = f", or export the run again with --{precision}" if precision in ("fp16", "int8") else ""
        raise BundleError(f"{bundle.folder} has no precision `{precision}`.", fix=f"use one of: {had}{again}")
    others = [
        (other, where)
        for other, where in targets()
        if runtime in ("auto", other) and (device == "auto" or Device.parse(device, auto=target) == _device(where))
    ]
    for other, where in [(name, str(target)), *others]:
        for artifact in of_it:
            if fits(artifact, other, where):
                return Choice(artifact, other, where)
    if precision == TF32:
        raise nvidia.no_tf32(f"{name} on {target} is none")
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
    wanted: tuple[str, ...] | None = None,
    options: RuntimeOptions = DEFAULTS,
) -> Runtime:
    """Load an artifact of a bundle, its hash checked, on a runtime of this machine.

    runtime: one of RUNTIMES, or `auto`: OpenVINO on the CPU where it is installed, else ONNX Runtime; on a GPU ONNX
    Runtime, or TensorRT where that is all there is. device: `auto` takes CUDA where it works, else the CPU; anything
    else is taken at its word or refused (DeviceError). max_batch: what is opened may take fewer (`Runtime.max_batch`)
    where a GPU has too little memory. wanted: graph outputs to return; None takes `logits` and `probabilities` of a
    classifier, `labels` of a U-Net, of a pair `counts`, too: its U-Net is opened where they are among them.
    Raises BundleError for an artifact that is not placed for the runtime: it may be slow there, or wrong.
    """
    name, target = resolve(runtime, device)
    chosen = artifact or bundle.artifact()
    if not fits(chosen, name, str(target)):
        if chosen.precision == TF32:
            raise nvidia.no_tf32(f"{name} on {target} is none")
        placed = ", ".join(chosen.runtimes) + (f" on {', '.join(chosen.devices)}" if chosen.devices else "")
        fitting = [artifact.name for artifact in bundle.manifest.artifacts if artifact.placed_for(name, str(target))]
        raise BundleError(
            f"{chosen.name} is placed for {placed}, not for {name} on {target}.",
            fix=f"--artifact {' or '.join(fitting)}" if fitting else "another --runtime or --device",
        )
    default = ("logits", "probabilities") if bundle.manifest.task == "classify" else ("labels",)
    if chosen.fusion and (wanted is None or COUNTS in wanted):
        both = partial(open_runtime, runtime=name, device=str(target))
        first = tuple(dict.fromkeys(["logits", *(one for one in wanted or default if one != COUNTS)]))
        return _pair(
            partial(both, bundle, artifact=chosen, max_batch=max_batch, wanted=first, options=options),
            partial(
                both,
                bundle.segmenter,
                artifact=bundle.segmenter_artifact(chosen),
                max_batch=SEGMENTER_BATCH[target.kind],
                wanted=("labels",),
                options=replace(options, insist=False),
            ),
            Fusion.of(chosen.fusion, chosen.temperature),
        )
    if name == "tensorrt":
        from lits_deploy.trt.open import open_tensorrt

        return open_tensorrt(
            bundle, chosen, device=target, wanted=wanted or default, max_batch=max_batch, options=options
        )
    kind: type[OnnxRuntime | OpenVino] = OpenVino if name == "openvino" else OnnxRuntime
    with bundle.read(chosen) as model:
        return kind(
            model,
            device=target,
            precision=chosen.precision,
            shape=bundle.manifest.contract.shape,
            wanted=wanted or default,
            max_batch=max_batch,
            options=options,
        )


def _pair(classifier: Callable[[], Runtime], segmenter: Callable[[], Runtime], fusion: Fusion) -> PairRuntime:
    """Both opened, or neither."""
    first = classifier()
    try:
        return PairRuntime(first, segmenter(), fusion)
    except BaseException:
        first.close()
        raise
