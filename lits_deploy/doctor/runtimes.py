"""Does a runtime work on a device? A small network is run through it and its answer compared; called in a child.

Importing a library proves little: a wheel may lack kernels, a driver or half of CUDA, or compute something else.
TensorRT is tried in `doctor.trt`.
"""

from __future__ import annotations

import importlib
import time
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from lits_deploy.doctor.check import Check, first_line, install_command, onnxruntime_command, version_of

if TYPE_CHECKING:
    from lits_deploy.runtime.base import Runtime

_AGAIN = "pip install --force-reinstall --no-deps"

ONNXRUNTIMES = (
    *("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-training"),
    *("onnxruntime-qnn", "ort-nightly", "ort-nightly-gpu"),
)
"""Distributions that all install the module `onnxruntime`, over each other."""


def try_runtime(runtime: str, device: str) -> list[Check]:
    """One row: the probe network on `onnxruntime` or `openvino` on `cpu` or `cuda:N`."""
    name = f"{runtime} on {device}"
    if find_spec(runtime) is None:
        extra = install_command("openvino") if runtime == "openvino" else onnxruntime_command()
        return [Check(name, "missing", "not installed", extra)]
    distribution = next(iter(owners()), runtime) if runtime == "onnxruntime" else runtime
    again = f"{_AGAIN} {distribution}"
    try:
        library = importlib.import_module(runtime)
    except Exception as error:  # a broken wheel raises what it likes; it is a row
        return [Check(name, "broken", f"installed, but not importable: {first_line(error)}", again)]
    if getattr(library, "__file__", None) is None:  # what a removed second wheel leaves
        return [Check(name, "broken", f"only an empty folder `{runtime}` is left of it", again)]
    if device != "cpu" and "CUDAExecutionProvider" not in library.get_available_providers():
        found = f"{library.__version__} was built without CUDA: the GPU is not used"
        return [Check(name, "warning", found, f"{_uninstall(owners())} && {install_command('gpu')}")]
    fix = f"pip install --upgrade --force-reinstall --no-deps {distribution}"
    if device != "cpu":
        fix = "pip install --upgrade 'lits-deploy[gpu]' brings CUDA and cuDNN; they need a driver that is new enough"
    try:
        return [_run_probe(runtime, device, Check(name, "broken", "", fix))]
    except Exception as error:  # whatever a runtime throws is its row
        return [Check(name, "broken", first_line(getattr(error, "message", error)), fix)]


def one_onnxruntime() -> list[Check]:
    """A row where more than one distribution owns the module `onnxruntime`: the last one installed won, in part."""
    found = owners()
    if len(found) < 2:
        return []
    names = " and ".join(f"{name} {version}" for name, version in found.items())
    fix = f"{_uninstall(found)} && {onnxruntime_command()}"
    text = f"{names} are both installed: they own one module and overwrite each other"
    return [Check("one onnxruntime", "broken", text, fix, details=found)]


def owners() -> dict[str, str]:
    """Installed distributions that own the module `onnxruntime`, with their versions."""
    return {name: version for name in ONNXRUNTIMES if (version := version_of(name))}


def check_outputs(row: Check, opened: Runtime, version: str, where: str, began: float, **more: Any) -> Check:
    """The row of an opened runtime that runs the probe network: is its answer the right one?

    row: what it is if not; version and where are shown in it; began: `time.perf_counter()` when its opening began; more
    goes into the details.
    """
    from lits_deploy.doctor import network
    from lits_deploy.goldens import compare
    from lits_deploy.parity import FP32_TOLERANCE

    parity = compare(opened, network.slices(), network.EXPECTED, FP32_TOLERANCE)
    seconds, verdict = time.perf_counter() - began, parity.verdict()
    delta = "not finite" if verdict["max_delta"] is None else f"{verdict['max_delta']:.0e}"
    row = replace(row, details={"version": version, **more, "seconds": round(seconds, 3), **verdict})
    if not parity.passed:
        found = f"{version} computes something else: max |Δp| {delta} (≤ {FP32_TOLERANCE:.0e} is right)"
        return replace(row, found=found)
    found = f"{version} {where} gives the right answer: max |Δp| {delta}, {seconds:.2f} s"
    return replace(row, state="ok", found=found, fix=None, works=True)


def _run_probe(runtime: str, device: str, row: Check) -> Check:
    from lits_deploy.doctor import network
    from lits_deploy.errors import BundleError
    from lits_deploy.runtime.device import Device
    from lits_deploy.runtime.onnxruntime_ import OnnxRuntime
    from lits_deploy.runtime.openvino_ import OpenVino

    try:
        model = network.model_file()
    except BundleError:
        return replace(row, found=f"{network.MODEL.name}, which is run, was altered", fix=f"{_AGAIN} lits-deploy")
    kind: type[OnnxRuntime | OpenVino] = OpenVino if runtime == "openvino" else OnnxRuntime
    began, where = time.perf_counter(), Device.parse(device, auto=Device("cpu"))
    with kind(model, device=where, wanted=("logits", "probabilities"), **network.OPENED) as opened:
        info = opened.describe()
        providers = list(info.providers)
        return check_outputs(row, opened, info.version, f"({', '.join(providers)})", began, providers=providers)


def _uninstall(found: dict[str, str]) -> str:
    return f"pip uninstall --yes {' '.join(found) or 'onnxruntime'}"
