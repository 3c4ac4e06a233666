"""Does a runtime work on a device? A small network is run through it and its answer compared; called in a child.

Importing a library proves little: a wheel may lack kernels, a driver or half of CUDA, or compute something else.
TensorRT is tried in `doctor.trt`.
"""

from __future__ import annotations

import importlib
import time
from importlib import metadata
from typing import Any

from lits_deploy.doctor.check import (
    Check,
    State,
    first_line,
    install_command,
    is_installed,
    onnxruntime_command,
)

ONNXRUNTIMES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-directml",
    "onnxruntime-training",
    "onnxruntime-qnn",
    "ort-nightly",
    "ort-nightly-gpu",
)
"""Distributions that all install the module `onnxruntime`, over each other."""


def try_runtime(runtime: str, device: str) -> list[Check]:
    """One row: the probe network on `onnxruntime` or `openvino` on `cpu` or `cuda:N`."""
    name = f"{runtime} on {device}"

    def row(*, state: State, found: str, fix: str | None = None, **more: Any) -> list[Check]:
        return [Check(section="runtimes", name=name, state=state, found=found, fix=fix, **more)]

    if not is_installed(runtime):
        return row(state="missing", found="not installed", fix=_install(runtime))
    again = f"pip install --force-reinstall --no-deps {_distribution(runtime)}"
    try:
        library = importlib.import_module(runtime)
    except Exception as error:  # a broken wheel raises what it likes; it is a row
        return row(state="broken", found=f"installed, but not importable: {first_line(error)}", fix=again)
    if getattr(library, "__file__", None) is None:  # what a removed second wheel leaves
        return row(state="broken", found=f"only an empty folder `{runtime}` is left of it", fix=again)
    if device != "cpu" and "CUDAExecutionProvider" not in library.get_available_providers():
        found = f"{library.__version__} was built without CUDA: the GPU is not used"
        return row(state="warning", found=found, fix=f"{_uninstall(owners())} && {install_command('gpu')}")
    try:
        return row(**_run_probe(runtime, device))
    except Exception as error:  # whatever a runtime throws is its row
        return row(state="broken", found=first_line(getattr(error, "message", error)), fix=_mend(runtime, device))


def one_onnxruntime() -> list[Check]:
    """A row where more than one distribution owns the module `onnxruntime`: the last one installed won, in part."""
    found = owners()
    if len(found) < 2:
        return []
    names = " and ".join(f"{name} {version}" for name, version in found.items())
    fix = f"{_uninstall(found)} && {onnxruntime_command()}"
    text = f"{names} are both installed: they own one module and overwrite each other"
    return [Check(section="runtimes", name="one onnxruntime", state="broken", found=text, fix=fix, details=found)]


def owners() -> dict[str, str]:
    """Installed distributions that own the module `onnxruntime`, with their versions."""
    return {name: version for name in ONNXRUNTIMES if (version := _version(name))}


def _run_probe(runtime: str, device: str) -> dict[str, Any]:
    from lits_deploy.doctor import network
    from lits_deploy.errors import BundleError
    from lits_deploy.goldens import compare
    from lits_deploy.parity import FP32_TOLERANCE
    from lits_deploy.runtime.device import Device
    from lits_deploy.runtime.onnxruntime_ import OnnxRuntime
    from lits_deploy.runtime.openvino_ import OpenVino

    try:
        model = network.model_file()
    except BundleError:
        again = "pip install --force-reinstall --no-deps lits-deploy"
        return {"state": "broken", "found": f"{network.MODEL.name}, which is run, was altered", "fix": again}
    kind: type[OnnxRuntime | OpenVino] = OpenVino if runtime == "openvino" else OnnxRuntime
    began = time.perf_counter()
    with kind(
        model,
        device=Device.parse(device, auto=Device("cpu")),
        precision="fp32",
        shape=network.SHAPE,
        wanted=("logits", "probabilities"),
        max_batch=3,  # the fourth slice comes alone: a ragged batch
    ) as opened:
        parity = compare(opened, network.slices(), network.expected(), FP32_TOLERANCE)
        info = opened.describe()
    seconds = time.perf_counter() - began
    verdict = parity.verdict()
    delta = "not finite" if verdict["max_delta"] is None else f"{verdict['max_delta']:.0e}"
    details = {"version": info.version, "providers": list(info.providers), "seconds": round(seconds, 3), **verdict}
    if not parity.passed:
        found = f"{info.version} computes something else: max |Δp| {delta} (≤ {FP32_TOLERANCE:.0e} is right)"
        return {"state": "broken", "found": found, "fix": _mend(runtime, device), "details": details}
    found = f"{info.version} ({', '.join(info.providers)}) gives the right answer: max |Δp| {delta}, {seconds:.2f} s"
    return {"state": "ok", "found": found, "works": True, "details": details}


def _install(runtime: str) -> str:
    return install_command("openvino") if runtime == "openvino" else onnxruntime_command()


def _mend(runtime: str, device: str) -> str:
    if device != "cpu":
        return "pip install --upgrade 'lits-deploy[gpu]' brings CUDA and cuDNN; they need a driver that is new enough"
    return f"pip install --upgrade --force-reinstall --no-deps {_distribution(runtime)}"


def _uninstall(found: dict[str, str]) -> str:
    return f"pip uninstall --yes {' '.join(found) or 'onnxruntime'}"


def _distribution(runtime: str) -> str:
    return next(iter(owners()), runtime) if runtime == "onnxruntime" else runtime


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
