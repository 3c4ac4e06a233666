"""ONNX Runtime behind the seam: CPU and CUDA providers, strict about the device.

Asked for CUDA and given the CPU is an error, never a silent fallback: the providers are read back from the session
after it is made. The CUDA path has never run on hardware in this project (see docs/log.md).
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any, ClassVar

from lits_deploy.errors import BundleError, DeviceError, DeviceOutOfMemory, MissingExtra
from lits_deploy.runtime.base import Batch, Outputs, Runtime, RuntimeInfo
from lits_deploy.runtime.device import Device


def installed() -> bool:
    """True where ONNX Runtime is installed; does not import it."""
    return importlib.util.find_spec("onnxruntime") is not None


def import_onnxruntime() -> Any:
    """The library, or MissingExtra naming the extra to install."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("onnxruntime", "cpu") from error
    return onnxruntime


def cuda_usable() -> bool:
    """True where the installed ONNX Runtime has the CUDA provider and an NVIDIA driver is loaded."""
    return (
        Path("/dev/nvidiactl").exists()
        and installed()
        and "CUDAExecutionProvider" in import_onnxruntime().get_available_providers()
    )


class OnnxRuntime(Runtime):
    """An ONNX file in an `InferenceSession`.

    wanted: outputs to return, in the graph's names; others are not copied to the host.
    threads: intra-op threads on the CPU; 0 takes every core this process may use.
    """

    name: ClassVar[str] = "onnxruntime"

    def __init__(
        self,
        model: Path,
        *,
        device: Device,
        precision: str,
        shape: tuple[int, int, int],
        wanted: tuple[str, ...],
        max_batch: int,
        threads: int = 0,
    ) -> None:
        super().__init__(shape=shape, max_batch=max_batch)
        ort = import_onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        providers: list[Any] = ["CPUExecutionProvider"]
        if device.kind == "cuda":
            if not cuda_usable():
                raise DeviceError(
                    f"{device} was asked for, but ONNX Runtime has no CUDA here.",
                    fix="--device cpu; or, on a machine with an NVIDIA driver, 'lits-deploy[gpu]' in place of [cpu]",
                )
            if hasattr(ort, "preload_dlls"):
                ort.preload_dlls()
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
            providers = [("CUDAExecutionProvider", {"device_id": device.index, "use_tf32": 0})]  # FP32 means FP32
        try:
            self._session = ort.InferenceSession(str(model), options, providers=providers)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            if device.kind == "cuda":
                raise DeviceError(
                    f"ONNX Runtime cannot use {device}: {_first_line(error)}", fix="--device cpu"
                ) from error
            raise BundleError(
                f"ONNX Runtime cannot load {model.name}: {_first_line(error)}", fix="export again"
            ) from error
        self._providers = tuple(self._session.get_providers())
        if device.kind == "cuda" and self._providers[0] != "CUDAExecutionProvider":
            raise DeviceError(f"{device} was asked for; ONNX Runtime chose {self._providers[0]}.", fix="--device cpu")
        self._device, self._precision, self._version = device, precision, ort.__version__
        self._input = self._session.get_inputs()[0].name
        self._wanted = list(wanted)

    def _infer(self, batch: Batch) -> Outputs:
        try:
            values = self._session.run(self._wanted, {self._input: batch})
        except Exception as error:
            if "memory" in str(error).lower():
                raise DeviceOutOfMemory(_first_line(error)) from error
            raise
        return Outputs(**dict(zip(self._wanted, values, strict=True)))

    def describe(self) -> RuntimeInfo:
        """Providers as the session reports them."""
        return RuntimeInfo(
            name=self.name,
            version=self._version,
            device=str(self._device),
            precision=self._precision,
            providers=self._providers,
        )

    def close(self) -> None:
        """Drop the session and with it the device's memory."""
        del self._session


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
