"""OpenVINO behind the seam: ONNX files on the CPU, computed in the precision that the file has.

Left alone, OpenVINO computes FP32 networks in bfloat16 on processors that can (AVX512-BF16, AMX): twice as fast, and
no longer the network that the parity gate saw. Here the precision is pinned to FP32.
"""

from __future__ import annotations

import importlib.util
import sys
from queue import SimpleQueue
from typing import Any, ClassVar

import numpy as np

from lits_deploy.errors import BundleError, DeviceError, DeviceOutOfMemory, MissingExtra
from lits_deploy.machine import cores
from lits_deploy.model_file import ModelFile
from lits_deploy.runtime import memory, signal_stack
from lits_deploy.runtime.base import DEFAULTS, Batch, Outputs, Runtime, RuntimeInfo, RuntimeOptions
from lits_deploy.runtime.device import Device


def installed() -> bool:
    """True where OpenVINO is installed; does not import it."""
    return importlib.util.find_spec("openvino") is not None


def import_openvino() -> Any:
    """The library, or MissingExtra naming the extra to install."""
    converter = "openvino.tools.ovc"
    if "openvino" in sys.modules or converter in sys.modules:
        import openvino

        return openvino
    sys.modules[converter] = None  # type: ignore[assignment] # none is needed here, and it takes 16 MB and 50 ms
    try:
        import openvino
    except ImportError as error:
        raise MissingExtra("OpenVINO", "openvino") from error
    finally:
        sys.modules.pop(converter, None)
    openvino.__getattr__ = _converter_of  # others in this process may ask for it
    return openvino


def _converter_of(name: str) -> Any:
    """What `openvino` lacks for having been imported without its converter."""
    if name != "convert_model":
        raise AttributeError(f"module 'openvino' has no attribute '{name}'")
    from openvino.tools.ovc import convert_model

    return convert_model


def _parsed(core: Any, model: ModelFile) -> Any:
    """OpenVINO's graph of a file."""
    source = model.source
    if isinstance(source, bytes):
        return core.read_model(source)
    from openvino.frontend import FrontEndManager

    # By its name: looking for the one that takes a path without `.onnx` loads them all, which takes 7 MiB and 20 ms.
    onnx = FrontEndManager().load_by_framework("onnx")
    graph = onnx.convert(onnx.load(source))
    if not graph.outputs:  # which a search would have reported
        raise RuntimeError("it holds no network")
    return graph


class OpenVino(Runtime):
    """An ONNX file compiled for the CPU: `threads` threads (0: every core this process may use) in `lanes` streams.

    wanted: outputs to return, in the graph's names.
    """

    name: ClassVar[str] = "openvino"

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
        super().__init__(shape=shape, max_batch=max_batch, lanes=options.lanes)
        if device.kind != "cpu":
            raise DeviceError(f"OpenVINO runs on the CPU here, not on {device}.", fix="--runtime onnxruntime")
        ov = import_openvino()
        core = ov.Core()
        used = options.threads or cores()
        settings = {
            "NUM_STREAMS": self.lanes,  # with one, a batch uses all threads
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": used,
        }
        try:
            with signal_stack.kept(), memory.to_load(model.size, used, options.memory_limit_mib):
                network = core.compile_model(_parsed(core, model), "CPU", settings)
        except Exception as error:  # OpenVINO raises RuntimeError with a paragraph of C++ locations
            if memory.is_lack(error):
                raise memory.too_large(model.name, options.memory_limit_mib) from error
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise BundleError(f"OpenVINO cannot load {model.name}: {reason[-1][:300]}", fix="export again") from error
        self._requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(self.lanes):
            self._requests.put(network.create_infer_request())
        self._tensor = ov.Tensor
        self._model_bytes, self._limit, self._file = model.size, options.memory_limit_mib, model.name
        self._wanted, self._precision = wanted, precision
        self._version, self._threads = str(ov.__version__).split("-")[0], used

    def _infer(self, batch: Batch) -> Outputs:
        batch = np.require(batch, requirements=["C", "W"])  # OpenVINO shares no other memory; a copy only where needed
        request = self._requests.get()
        try:
            with signal_stack.kept(), memory.to_infer(self._model_bytes, len(batch), self._limit):
                request.infer({0: self._tensor(batch, shared_memory=True)})
            # The request's own memory is overwritten by the next batch: copies leave here.
            return Outputs(**{name: request.get_tensor(name).data.copy() for name in self._wanted})
        except (RuntimeError, MemoryError) as error:  # OpenVINO raises RuntimeError for everything
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1][:300]
            if memory.is_lack(error):
                raise DeviceOutOfMemory(reason) from error
            raise BundleError(f"OpenVINO cannot run {self._file}: {reason}", fix="export again") from error
        finally:
            self._requests.put(request)

    def describe(self) -> RuntimeInfo:
        """One provider, the CPU plug-in."""
        return RuntimeInfo(
            name=self.name, version=self._version, device="cpu", precision=self._precision, providers=("CPU",)
        )

    def close(self) -> None:
        """Drop the compiled network."""
        with signal_stack.kept():
            del self._requests
