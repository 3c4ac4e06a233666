"""ONNX Runtime behind the seam: its CPU and CUDA providers, strict about which of them runs.

Asked for CUDA and given the CPU is an error, never a silent fallback: the providers are read back from the session
after it is made. On a GPU slices and answers go through I/O binding: one buffer on the device for each batch size,
instead of one that is made and freed at every call. docs/tensorrt.md says on which hardware this has run.

Its TensorRT provider is not used: it builds weakly typed networks, in which the file no longer says the precision, and
it does not check the engines that it keeps in a folder. TensorRT is `lits_deploy.trt`.
"""

from __future__ import annotations

import importlib.util
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lits_deploy.errors import BundleError, DeviceError, DeviceOutOfMemory, MissingExtra
from lits_deploy.machine import cores
from lits_deploy.mishaps import no_room
from lits_deploy.model_file import ModelFile
from lits_deploy.runtime import memory
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


_KEPT_BINDINGS = 8
"""Batch sizes whose device buffers are kept: a run has one, and the ragged rests."""

_CUDA = "CUDAExecutionProvider"


class OnnxRuntime(Runtime):
    """An ONNX file in an `InferenceSession`.

    wanted: outputs to return, in the graph's names; others are not copied to the host.
    threads: on the CPU, shared by the lanes; 0 takes every core this process may use. On a GPU there is one lane.
    """

    name: ClassVar[str] = "onnxruntime"

    def __init__(
        self,
        model: ModelFile,
        *,
        device: Device,
        precision: str,
        shape: tuple[int, int, int],
        wanted: tuple[str, ...],
        max_batch: int,
        threads: int = 0,
        lanes: int = 1,
        memory_limit_mib: int = memory.DEFAULT_MIB,
    ) -> None:
        super().__init__(shape=shape, max_batch=max_batch, lanes=lanes if device.kind == "cpu" else 1)
        ort = import_onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = max(1, (threads or cores()) // self.lanes)
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # it prints the names of nodes as they are; its exceptions say the same
        providers: list[Any] = ["CPUExecutionProvider"]
        if device.kind == "cuda":
            providers = _gpu_providers(device)
            if hasattr(ort, "preload_dlls"):
                ort.preload_dlls()
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        self._limit = memory_limit_mib if device.kind == "cpu" else None
        self._model_bytes = len(model.data)
        try:
            with nullcontext() if self._limit is None else memory.to_load(len(model.data), cores(), self._limit):
                self._session = ort.InferenceSession(model.data, options, providers=providers, enable_fallback=False)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            if device.kind == "cuda" and memory.is_lack(error):
                raise no_room(f"{model.name} on {device}", error) from error
            if device.kind == "cuda":
                raise DeviceError(
                    f"ONNX Runtime cannot use {device}: {_first_line(error)}", fix="--device cpu"
                ) from error
            if memory.is_lack(error):
                raise memory.too_large(model.name, memory_limit_mib) from error
            raise BundleError(
                f"ONNX Runtime cannot load {model.name}: {_first_line(error)}", fix="export again"
            ) from error
        # The session keeps the file's bytes to load them again on other providers, which is never asked for here.
        self._session._model_bytes = b""
        self._providers = tuple(self._session.get_providers())
        if device.kind == "cuda" and self._providers[0] != _CUDA:
            raise DeviceError(
                f"{_CUDA} on {device} was asked for; ONNX Runtime chose {self._providers[0]}.", fix="--device cpu"
            )
        self._device, self._precision, self._version = device, precision, ort.__version__
        self._file = model.name
        self._input = self._session.get_inputs()[0].name
        self._wanted = list(wanted)
        self._bound = (
            BoundSession(ort, self._session, self._input, self._wanted, "cuda", device.index)
            if device.kind == "cuda"
            else None
        )

    def _infer(self, batch: Batch) -> Outputs:
        try:
            if self._bound is not None:
                values = self._bound.run(batch)
            else:
                with memory.to_infer(self._model_bytes, len(batch), self._limit or memory.DEFAULT_MIB):
                    values = self._session.run(self._wanted, {self._input: batch})
        except Exception as error:
            if memory.is_lack(error):
                raise DeviceOutOfMemory(_first_line(error)) from error
            if not type(error).__module__.startswith("onnxruntime."):  # its exceptions share no base class
                raise  # a bug of ours
            if self._bound is not None:  # the network ran where it was made: it may be the device that fails
                raise DeviceError(
                    f"ONNX Runtime cannot run {self._file} on {self._device}: {_first_line(error)}", fix="--device cpu"
                ) from error
            raise BundleError(
                f"ONNX Runtime cannot run {self._file}: {_first_line(error)}", fix="export again"
            ) from error
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
        self._bound = None
        del self._session


class BoundSession:
    """Runs a session on buffers that stay on the device, a set of them for each batch size."""

    def __init__(self, ort: Any, session: Any, name: str, wanted: list[str], kind: str, index: int) -> None:
        self._ort, self._session, self._name, self._wanted = ort, session, name, wanted
        self._kind, self._index = kind, index
        self._kept: dict[int, tuple[Any, Any]] = {}

    def run(self, batch: Batch) -> list[Any]:
        """Upload, run, download: the wanted outputs of uint8 [N, C, H, W], in order."""
        batch = np.ascontiguousarray(batch)
        if len(batch) not in self._kept:
            if len(self._kept) >= _KEPT_BINDINGS:
                del self._kept[next(iter(self._kept))]
            self._kept[len(batch)] = self._bind(batch)
        slices, binding = self._kept[len(batch)]
        slices.update_inplace(batch)
        self._session.run_with_iobinding(binding)
        values: list[Any] = binding.copy_outputs_to_cpu()
        return values

    def _bind(self, batch: Batch) -> tuple[Any, Any]:
        # From a copy: on the CPU an OrtValue is a view of the array it was made from.
        slices = self._ort.OrtValue.ortvalue_from_numpy(batch.copy(), self._kind, self._index)
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(self._name, slices)
        for output in self._wanted:
            binding.bind_output(output, self._kind, self._index)
        return slices, binding


def _gpu_providers(device: Device) -> list[Any]:
    if not cuda_usable():
        raise DeviceError(
            f"{device} was asked for, but ONNX Runtime has no CUDA here.",
            fix="--device cpu; or, on a machine with an NVIDIA driver, 'lits-deploy[gpu]' in place of [cpu]",
        )
    return [(_CUDA, {"device_id": device.index, "use_tf32": 0})]  # FP32 means FP32


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
