"""ONNX Runtime behind the seam: its CPU and CUDA providers, strict about which of them runs.

Asked for CUDA and given the CPU is an error, never a silent fallback: the providers are read back from the session
after it is made. On a GPU slices and answers go through I/O binding (`BoundSession`), not through buffers that are made
and freed at every call. docs/tensorrt.md says on which hardware this has run.

Its TensorRT provider is not used: it builds weakly typed networks, in which the file no longer says the precision, and
it does not check the engines that it keeps in a folder. TensorRT is `lits_deploy.trt`.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lits_deploy import nvidia
from lits_deploy.errors import BundleError, DeviceError, DeviceOutOfMemory, MissingExtra
from lits_deploy.machine import cores
from lits_deploy.model_file import ModelFile
from lits_deploy.nvidia import Trouble
from lits_deploy.resource_errors import no_room
from lits_deploy.runtime import memory
from lits_deploy.runtime.base import DEFAULTS, Batch, Outputs, Runtime, RuntimeInfo, RuntimeOptions
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


def cuda_trouble() -> Trouble | None:
    """Why the CUDA provider does not compute on the first GPU here; None where it does.

    Tried once in a process, with a network of one node, for only that tells whether all of its libraries are there.
    Imports nothing where there is no GPU.
    """
    return _tried() if nvidia.gpu_here() else nvidia.NO_GPU


_CUDA = "CUDAExecutionProvider"

_ONE_NODE = ModelFile(
    "one node",
    b'\x08\x08:n\n\x0f\n\x01x\n\x01w\x12\x01y"\x04Conv\x12\x00*\x1f\x08\x01\x08\x01\x08\x02\x08\x02\x10\x01"\x10'
    + b"\x00\x00\x80?" * 4  # the weights, four ones
    + b"B\x01wZ\x1b\n\x01x\x12\x16\n\x14\x08\x01\x12\x10\n\x02\x08\x01\n\x02\x08\x01\n\x02\x08\x02\n\x02\x08\x02"
    b"b\x1b\n\x01y\x12\x16\n\x14\x08\x01\x12\x10\n\x02\x08\x01\n\x02\x08\x01\n\x02\x08\x01\n\x02\x08\x01B\x04\n\x00\x10\r",
)
"""As ONNX: a convolution, for which CUDA's provider needs cuDNN; float32 [1, 1, 2, 2] → [1, 1, 1, 1]."""


@functools.cache
def _tried() -> Trouble | None:
    if not installed():
        return Trouble("ONNX Runtime is not installed", "pip install 'lits-deploy[gpu]'")
    ort = import_onnxruntime()
    if found := _foreseen(ort) or nvidia.memory_trouble():
        return found
    try:
        session = _cuda_session(ort, _ONE_NODE, ort.SessionOptions(), Device("cuda"), tf32=False)
        session.run(None, {"x": np.ones((1, 1, 2, 2), np.float32)})
    except DeviceError as error:
        return Trouble(error.message.rstrip("."), error.fix or "lits-deploy doctor")
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        return Trouble(f"ONNX Runtime cannot compute on it: {_message(error)}", "lits-deploy doctor")
    return None


def _foreseen(ort: Any) -> Trouble | None:
    """What speaks against CUDA before anything is loaded."""
    if _CUDA not in ort.get_available_providers():
        fix = "pip uninstall onnxruntime, then pip install 'lits-deploy[gpu]'"
        return nvidia.trouble("", 0) or Trouble(f"ONNX Runtime {ort.__version__} is built without CUDA", fix)
    built_for = str(getattr(ort, "cuda_version", "")).partition(".")[0]
    return nvidia.trouble(f"ONNX Runtime {ort.__version__}", int(built_for or 12))


def _cuda_session(ort: Any, model: ModelFile, options: Any, device: Device, *, tf32: bool) -> Any:
    """A session on the CUDA provider and nothing else. DeviceError where ONNX Runtime cannot use it."""
    if found := _foreseen(ort):
        raise DeviceError(f"ONNX Runtime cannot use {device}: {found.found}.", fix=found.fix)
    if hasattr(ort, "preload_dlls"):
        ort.print = lambda *_: None  # on standard output it would tell of each library it has not found
        ort.preload_dlls()
    ort.set_default_logger_severity(4)  # what it logs is raised, too
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    providers = [(_CUDA, {"device_id": device.index, "use_tf32": int(tf32)})]
    try:
        session = ort.InferenceSession(model.source, options, providers=providers, enable_fallback=False)
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        if memory.is_lack(error):
            raise no_room(f"{model.name} on {device}", DeviceOutOfMemory(_message(error))) from error
        raise _unusable(ort, device, _message(error)) from error
    if session.get_providers()[0] != _CUDA:
        raise _unusable(ort, device, f"it chose {session.get_providers()[0]} in place of {_CUDA}")
    return session


def _cpu_session(ort: Any, model: ModelFile, options: Any, limit_mib: int) -> Any:
    try:
        with memory.to_load(model.size, cores(), limit_mib):
            return ort.InferenceSession(
                model.source, options, providers=["CPUExecutionProvider"], enable_fallback=False
            )
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        if memory.is_lack(error):
            raise memory.too_large(model.name, limit_mib) from error
        raise BundleError(f"ONNX Runtime cannot load {model.name}: {_message(error)}", fix="export again") from error


def _unusable(ort: Any, device: Device, why: str) -> DeviceError:
    """The error for a session that was not made: a library that is missing is only logged, and `why` tells of nodes."""
    fix = "lits-deploy doctor, or --device cpu"
    for part in ("shared", "cuda"):
        try:
            ctypes.CDLL(str(Path(ort.__file__).parent / "capi" / f"libonnxruntime_providers_{part}.so"))
        except OSError as error:
            library = Path(str(error).partition(": ")[0]).name
            why = f"its CUDA provider does not load ({library} is missing or of another version)"
            fix = "pip install 'lits-deploy[gpu]' brings CUDA's and cuDNN's libraries"
            break
    return DeviceError(f"ONNX Runtime cannot use {device}: {why}.", fix=fix)


class BoundSession:
    """Runs a session with slices and answers in buffers that stay on the device.

    There is a set of them for each padded batch size: 1, 2, 4, … and `most`.

    Padded, because CUDA's provider tries every algorithm of each convolution anew for each size that it has not seen.
    """

    def __init__(self, ort: Any, session: Any, wanted: list[str], device: Device, *, most: int) -> None:
        self._ort, self._session, self._wanted, self._most = ort, session, wanted, most
        self._where = (device.kind, device.index)
        self._kept: dict[int, tuple[Any, Any]] = {}

    def run(self, batch: Batch) -> list[Any]:
        """Upload, run, download: the wanted outputs of uint8 [N, C, H, W], in order."""
        count = len(batch)
        size = min(1 << (count - 1).bit_length(), self._most)
        if size != count:
            padded = np.zeros((size, *batch.shape[1:]), batch.dtype)
            padded[:count] = batch
            batch = padded
        batch = np.ascontiguousarray(batch)
        try:
            if size not in self._kept:
                self._kept[size] = self._bind(batch)
            slices, binding = self._kept[size]
            slices.update_inplace(batch)
            self._session.run_with_iobinding(binding)
            return [values[:count] for values in binding.copy_outputs_to_cpu()]
        except Exception:
            self._kept.clear()  # out of memory or broken: the next batch starts with all there is
            raise

    def _bind(self, batch: Batch) -> tuple[Any, Any]:
        # From a copy: on the CPU an OrtValue is a view of the array it was made from.
        slices = self._ort.OrtValue.ortvalue_from_numpy(batch.copy(), *self._where)
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(self._session.get_inputs()[0].name, slices)
        for output in self._wanted:
            binding.bind_output(output, *self._where)
        return slices, binding


class OnnxRuntime(Runtime):
    """An ONNX file in an `InferenceSession`.

    wanted: outputs to return, in the graph's names; others are not copied to the host.
    threads: on the CPU, shared by the lanes; 0 takes every core this process may use. On a GPU there is one lane.
    """

    name: ClassVar[str] = "onnxruntime"
    settings: ClassVar[dict[str, str]] = {}
    """Entries of the session's configuration that are not ONNX Runtime's own."""

    def __init__(
        self,
        model: ModelFile,
        *,
        device: Device,
        precision: str,
        shape: tuple[int, int, int],
        wanted: tuple[str, ...],
        max_batch: int,
        options: RuntimeOptions = DEFAULTS,
    ) -> None:
        super().__init__(shape=shape, max_batch=max_batch, lanes=options.lanes if device.kind == "cpu" else 1)
        ort = import_onnxruntime()
        session = ort.SessionOptions()
        session.intra_op_num_threads = max(1, (options.threads or cores()) // self.lanes)
        session.inter_op_num_threads = 1
        session.log_severity_level = 4  # it prints the names of nodes as they are; its exceptions say the same
        for key, value in self.settings.items():
            session.add_session_config_entry(key, value)
        self._limit, self._model_bytes = options.memory_limit_mib, model.size
        self._session = (
            _cuda_session(ort, model, session, device, tf32=precision == "tf32")
            if device.kind == "cuda"
            else _cpu_session(ort, model, session, self._limit)
        )
        # The session keeps the file's bytes to load them again on other providers, which is never asked for here.
        self._session._model_bytes = b""
        self._providers = tuple(self._session.get_providers())
        self._device, self._precision, self._version = device, precision, ort.__version__
        self._file = model.name
        self._input = self._session.get_inputs()[0].name
        self._wanted = list(wanted)
        on_gpu = device.kind == "cuda"
        self._bound = BoundSession(ort, self._session, self._wanted, device, most=max_batch) if on_gpu else None

    def _infer(self, batch: Batch) -> Outputs:
        try:
            if self._bound is not None:
                values = self._bound.run(batch)
            else:
                with memory.to_infer(self._model_bytes, len(batch), self._limit):
                    values = self._session.run(self._wanted, {self._input: batch})
        except Exception as error:
            # Its own exceptions share no base class; what its C++ throws while it copies is a RuntimeError.
            theirs = type(error).__module__.startswith("onnxruntime.") or isinstance(error, RuntimeError | MemoryError)
            if not theirs:
                raise  # a bug of ours
            if memory.is_lack(error):
                raise DeviceOutOfMemory(_message(error)) from error
            if self._bound is not None:  # the network ran where it was made: it may be the device that fails
                raise DeviceError(
                    f"ONNX Runtime cannot run {self._file} on {self._device}: {_message(error)}", fix="--device cpu"
                ) from error
            raise BundleError(f"ONNX Runtime cannot run {self._file}: {_message(error)}", fix="export again") from error
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


def _message(error: Exception) -> str:
    """What ONNX Runtime complains of, in one line: where CUDA failed, CUDA's own words, and not the host's name."""
    if match := re.search(r"\w+ failure \d+: [^;\n]+", str(error)):
        return match[0].strip()
    text = re.sub(r"Load model from \S+ failed: *", "", str(error).strip())  # our path of it tells nobody anything
    return (text.splitlines() or [type(error).__name__])[0][:300]
