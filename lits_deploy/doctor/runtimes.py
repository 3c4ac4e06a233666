"""Does a runtime work on a device? A small network is run through it and its answer compared; called in a child.

Importing a library proves little: a wheel may lack kernels, a driver or half of CUDA, or compute something else.
TensorRT is tried in `doctor.trt`.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from lits_deploy.doctor.check import Check, first_line, install_command, is_installed, onnxruntime_command, row
from lits_deploy.doctor.check import version_of as _version

if TYPE_CHECKING:
    from lits_deploy.runtime.base import Runtime

Said = Callable[..., Check]
"""`check.row` with section and name filled in."""

_AGAIN = "pip install --force-reinstall --no-deps"

ONNXRUNTIMES = (
    *("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-training"),
    *("onnxruntime-qnn", "ort-nightly", "ort-nightly-gpu"),
)
"""Distributions that all install the module `onnxruntime`, over each other."""


def try_runtime(runtime: str, device: str) -> list[Check]:
    """One row: the probe network on `onnxruntime` or `openvino` on `cpu` or `cuda:N`."""
    said = partial(row, "runtimes", f"{runtime} on {device}")
    if not is_installed(runtime):
        extra = install_command("openvino") if runtime == "openvino" else onnxruntime_command()
        return [said("missing", "not installed", extra)]
    again = f"{_AGAIN} {_distribution(runtime)}"
    try:
        library = importlib.import_module(runtime)
    except Exception as error:  # a broken wheel raises what it likes; it is a row
        return [said("broken", f"installed, but not importable: {first_line(error)}", again)]
    if getattr(library, "__file__", None) is None:  # what a removed second wheel leaves
        return [said("broken", f"only an empty folder `{runtime}` is left of it", again)]
    if device != "cpu" and "CUDAExecutionProvider" not in library.get_available_providers():
        found = f"{library.__version__} was built without CUDA: the GPU is not used"
        return [said("warning", found, f"{_uninstall(owners())} && {install_command('gpu')}")]
    fix = f"pip install --upgrade --force-reinstall --no-deps {_distribution(runtime)}"
    if device != "cpu":
        fix = "pip install --upgrade 'lits-deploy[gpu]' brings CUDA and cuDNN; they need a driver that is new enough"
    try:
        return [_run_probe(runtime, device, said, fix)]
    except Exception as error:  # whatever a runtime throws is its row
        return [said("broken", first_line(getattr(error, "message", error)), fix)]


def one_onnxruntime() -> list[Check]:
    """A row where more than one distribution owns the module `onnxruntime`: the last one installed won, in part."""
    found = owners()
    if len(found) < 2:
        return []
    names = " and ".join(f"{name} {version}" for name, version in found.items())
    fix = f"{_uninstall(found)} && {onnxruntime_command()}"
    text = f"{names} are both installed: they own one module and overwrite each other"
    return [row("runtimes", "one onnxruntime", "broken", text, fix, found)]


def owners() -> dict[str, str]:
    """Installed distributions that own the module `onnxruntime`, with their versions."""
    return {name: version for name in ONNXRUNTIMES if (version := _version(name))}


def judge(opened: Runtime, said: Said, version: str, where: str, fix: str | None, began: float, **more: Any) -> Check:
    """The row of an opened runtime that runs the probe network: is its answer the right one?

    said makes the row; version and where are told in it; began: `time.perf_counter()` when its opening began; more goes
    into the details.
    """
    from lits_deploy.doctor import network
    from lits_deploy.goldens import compare
    from lits_deploy.parity import FP32_TOLERANCE

    parity = compare(opened, network.slices(), network.expected(), FP32_TOLERANCE)
    seconds, verdict = time.perf_counter() - began, parity.verdict()
    delta = "not finite" if verdict["max_delta"] is None else f"{verdict['max_delta']:.0e}"
    details = {"version": version, **more, "seconds": round(seconds, 3), **verdict}
    if not parity.passed:
        found = f"{version} computes something else: max |Δp| {delta} (≤ {FP32_TOLERANCE:.0e} is right)"
        return said("broken", found, fix, details)
    found = f"{version} {where} gives the right answer: max |Δp| {delta}, {seconds:.2f} s"
    return replace(said("ok", found, None, details), works=True)


def _run_probe(runtime: str, device: str, said: Said, fix: str) -> Check:
    from lits_deploy.doctor import network
    from lits_deploy.errors import BundleError
    from lits_deploy.runtime.device import Device
    from lits_deploy.runtime.onnxruntime_ import OnnxRuntime
    from lits_deploy.runtime.openvino_ import OpenVino

    try:
        model = network.model_file()
    except BundleError:
        return said("broken", f"{network.MODEL.name}, which is run, was altered", f"{_AGAIN} lits-deploy")
    kind: type[OnnxRuntime | OpenVino] = OpenVino if runtime == "openvino" else OnnxRuntime
    began = time.perf_counter()
    with kind(
        model,
        device=Device.parse(device, auto=Device("cpu")),
        precision="fp32",
        shape=network.SHAPE,
        wanted=("logits", "probabilities"),
        max_batch=network.MOST,
    ) as opened:
        info = opened.describe()
        providers = list(info.providers)
        return judge(opened, said, info.version, f"({', '.join(providers)})", fix, began, providers=providers)


def _uninstall(found: dict[str, str]) -> str:
    return f"pip uninstall --yes {' '.join(found) or 'onnxruntime'}"


def _distribution(runtime: str) -> str:
    return next(iter(owners()), runtime) if runtime == "onnxruntime" else runtime
