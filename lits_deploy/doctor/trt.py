"""Does TensorRT work here? Called in a child, once for each flavour and GPU.

With a GPU the network of `doctor.network` is built for it, loaded, run and its answer compared, as for the other
runtimes. Without one, TensorRT for RTX can still build engines for other machines: that is tried, and the row says that
nothing runs on it here. Nothing of this touches the cache of engines.
"""

from __future__ import annotations

import time
from functools import partial

from lits_deploy.doctor import network
from lits_deploy.doctor.check import OF_GPU, Check, first_line, install_command, version_of
from lits_deploy.doctor.runtimes import check_outputs
from lits_deploy.errors import MissingExtra
from lits_deploy.nvidia import is_jetson
from lits_deploy.runtime.device import Device
from lits_deploy.trt import bindings
from lits_deploy.trt import flavour as flavours
from lits_deploy.trt.bindings import Cuda
from lits_deploy.trt.build import build, supported_targets
from lits_deploy.trt.engine import LoadedEngine
from lits_deploy.trt.flavour import Flavour, Library, flavour_named
from lits_deploy.trt.key import OptimisationProfile
from lits_deploy.trt.runtime import TensorRt

_PROFILE = OptimisationProfile(best=network.MOST, most=network.MOST)

TITLES = {"tensorrt": "tensorrt", "rtx": "tensorrt for RTX"}
"""What the rows are called."""

DISTRIBUTIONS = {
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
    "rtx": ("tensorrt-rtx-cu13-bindings", "tensorrt-rtx"),
}
"""What brings it, by flavour."""

_TARGET = "sm86"
"""Of the GPUs that RTX can build for, the one that is tried; it refuses FP32 matrix products on sm75."""


def try_flavour(flavour: str, device: int | None) -> list[Check]:
    """One row: TensorRT of a flavour on the GPU of that number, or, None, on a machine without one."""
    kind, name = flavour_named(flavour), TITLES[flavour] + ("" if device is None else f" on cuda:{device}")
    if not flavours.installed(kind):
        if is_jetson():
            return [Check(name, "missing", "not installed" + ("" if kind.name == "rtx" else "; it is part of JetPack"))]
        if device is None:
            return [Check(name, "not needed", OF_GPU)]
        return [Check(name, "missing", "not installed", install_command(kind.extra))]
    try:
        library = flavours.load(flavour)
        if device is None:
            return [_without_gpu(library, name)]
        return [_on_gpu(library, bindings.open_cuda(), device, name)]
    except MissingExtra as error:  # cuda-python
        return [Check(name, "broken", f"installed; {error.message}", install_command(kind.extra))]
    except Exception as error:  # whatever a library throws is its row; what our errors advise is about bundles
        return [Check(name, "broken", first_line(getattr(error, "message", error)), _again(kind))]


def _without_gpu(library: Library, name: str) -> Check:
    found, targets = f"{library.version}; no NVIDIA GPU here to run on", supported_targets(library)
    if _TARGET not in targets:
        return Check(name, "missing", found, details={"version": library.version})
    built = build(library, network.model_file(), _PROFILE, targets=(_TARGET,))
    details = {"version": library.version, "targets": list(targets), "seconds": round(built.seconds, 3)}
    builds = f"it builds engines for {', '.join(targets)} (tried: {_TARGET}, {built.seconds:.2f} s)"
    return Check(name, "ok", f"{found}; {builds}", details=details)


def _on_gpu(library: Library, cuda: Cuda, device: int, name: str) -> Check:
    began = time.perf_counter()
    cuda.set_device(device)
    gpu = cuda.describe(device)
    built = build(library, network.model_file(), _PROFILE, use_gpu=partial(cuda.set_device, device))
    engine, where = LoadedEngine(library, built.data), Device("cuda", device)
    row = Check(name, "broken", "", _again(library.flavour))
    with TensorRt(engine, cuda, device=where, wanted=("probabilities",), **network.OPENED) as opened:
        return check_outputs(row, opened, library.version, f"on {gpu.name}", began, gpu=gpu.name)


def _again(kind: Flavour) -> str | None:
    if is_jetson():
        return None
    found = ((name, version_of(name)) for name in DISTRIBUTIONS[kind.name])
    own = next((f"{name}=={version}" for name, version in found if version), None)
    return f"pip install --force-reinstall --no-deps {own}" if own else install_command(kind.extra)
