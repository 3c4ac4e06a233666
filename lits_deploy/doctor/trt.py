"""Does TensorRT work here? Called in a child, once for each flavour and GPU.

With a GPU the network of `doctor.network` is built for it, loaded, run and its answer compared, as for the other
runtimes. Without one, TensorRT for RTX can still build engines for other machines: that is tried, and the row says that
nothing runs on it here. Nothing of this touches the cache of engines.
"""

from __future__ import annotations

import time
from functools import partial
from importlib import metadata
from typing import Any

from lits_deploy.doctor import network
from lits_deploy.doctor.check import Check, first_line, install_command, is_jetson
from lits_deploy.errors import MissingExtra
from lits_deploy.trt import bindings
from lits_deploy.trt import flavour as flavours
from lits_deploy.trt.build import Built, build, supported_targets
from lits_deploy.trt.cuda import Cuda
from lits_deploy.trt.flavour import Flavour, Library, flavour_named
from lits_deploy.trt.key import Profile

TITLES = {"tensorrt": "tensorrt", "rtx": "tensorrt for RTX"}
"""What the rows are called."""

DISTRIBUTIONS = {
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
    "rtx": ("tensorrt-rtx-cu13-bindings", "tensorrt-rtx"),
}
"""What brings it, by flavour."""

_MOST = 3
"""The fourth slice comes alone: a ragged batch."""

_TARGET = "sm86"
"""Of the GPUs that RTX can build for, the one that is tried; it refuses FP32 matrix products on sm75."""


def try_flavour(flavour: str, device: int | None) -> list[Check]:
    """One row: TensorRT of a flavour on the GPU of that number, or, None, on a machine without one."""
    kind = flavour_named(flavour)
    title = TITLES[flavour] + ("" if device is None else f" on cuda:{device}")

    def row(**values: Any) -> list[Check]:
        return [Check(section="runtimes", name=title, **values)]

    if not flavours.installed(kind):
        return row(**_missing(kind, device))
    try:
        library = flavours.load(flavour)
        if device is None:
            return row(**_without_gpu(library))
        return row(**_on_gpu(library, bindings.open_cuda(), device))
    except MissingExtra as error:  # cuda-python
        return row(state="broken", found=f"installed; {error.message}", fix=install_command(kind.extra))
    except Exception as error:  # whatever a library throws is its row; what our errors advise is about bundles
        return row(state="broken", found=first_line(getattr(error, "message", error)), fix=_again(kind))


def _missing(kind: Flavour, device: int | None) -> dict[str, Any]:
    if is_jetson():
        return {
            "state": "missing",
            "found": "not installed" + ("" if kind.name == "rtx" else "; it is part of JetPack"),
        }
    if device is None:
        return {"state": "missing", "found": "not installed; of use with an NVIDIA GPU"}
    return {"state": "missing", "found": "not installed", "fix": install_command(kind.extra)}


def _without_gpu(library: Library) -> dict[str, Any]:
    found, targets = f"{library.version}; no NVIDIA GPU here to run on", supported_targets(library)
    if _TARGET not in targets:
        return {"state": "missing", "found": found, "details": {"version": library.version}}
    built = build(library, network.model_file(), _profile(), targets=(_TARGET,))
    details = {"version": library.version, "targets": list(targets), "seconds": round(built.seconds, 3)}
    builds = f"it builds engines for {', '.join(targets)} (tried: {_TARGET}, {built.seconds:.2f} s)"
    return {"state": "ok", "found": f"{found}; {builds}", "details": details}


def _on_gpu(library: Library, cuda: Cuda, device: int) -> dict[str, Any]:
    from lits_deploy.goldens import compare
    from lits_deploy.parity import FP32_TOLERANCE
    from lits_deploy.runtime.device import Device
    from lits_deploy.trt.runtime import TensorRt

    began = time.perf_counter()
    cuda.set_device(device)
    gpu = cuda.describe(device)
    built = build(library, network.model_file(), _profile(), use_gpu=partial(cuda.set_device, device))
    with TensorRt(
        _load(library, built), cuda, device=Device("cuda", device), precision="fp32", shape=network.SHAPE,
        wanted=("probabilities",), max_batch=_MOST,
    ) as opened:  # fmt: skip
        parity = compare(opened, network.slices(), network.expected(), FP32_TOLERANCE)
    seconds, verdict = time.perf_counter() - began, parity.verdict()
    delta = "not finite" if verdict["max_delta"] is None else f"{verdict['max_delta']:.0e}"
    details = {"version": library.version, "gpu": gpu.name, "seconds": round(seconds, 3), **verdict}
    if not parity.passed:
        found = f"{library.version} computes something else: max |Δp| {delta} (≤ {FP32_TOLERANCE:.0e} is right)"
        return {"state": "broken", "found": found, "fix": _again(library.flavour), "details": details}
    found = (
        f"{library.version} on {gpu.name} gives the right answer: max |Δp| {delta}, built and run in {seconds:.1f} s"
    )
    return {"state": "ok", "found": found, "works": True, "details": details}


def _load(library: Library, built: Built) -> Any:
    from lits_deploy.trt.engine import LoadedEngine

    return LoadedEngine(library, built.data)


def _profile() -> Profile:
    return Profile(best=_MOST, most=_MOST)


def _again(kind: Flavour) -> str | None:
    if is_jetson():
        return None
    for name in DISTRIBUTIONS[kind.name]:
        try:
            return f"pip install --force-reinstall --no-deps {name}=={metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    return install_command(kind.extra)
