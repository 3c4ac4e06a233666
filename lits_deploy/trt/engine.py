"""A TensorRT engine in memory and its contexts: the only module that makes TensorRT's calls at run time.

Contexts share one piece of scratch memory that the caller owns: they run one after another, on one stream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lits_deploy.errors import DeviceOutOfMemory, EngineError
from lits_deploy.trt.flavour import Library

if TYPE_CHECKING:  # type stubs
    import tensorrt


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """An input or output of an engine; shape: of one slice, without the batch."""

    name: str
    dtype: npt.DTypeLike
    shape: tuple[int, ...]
    is_input: bool

    @property
    def slice_bytes(self) -> int:
        """Bytes of one slice."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


class LoadedEngine:
    """An engine that TensorRT has loaded. `data` must have come out of `EngineCache`, or just been built.

    library: like `TensorRT 10.3.0.30`; capture: the caller may put contexts into CUDA graphs. runtime_cache: what RTX
    compiled before; keep: gets what it has compiled when the engine is closed, b"" elsewhere.
    """

    def __init__(
        self,
        library: Library,
        data: bytes,
        *,
        runtime_cache: bytes = b"",
        keep: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        trt = library.trt
        self._library, self._trt = library, trt
        self._runtime: tensorrt.Runtime = library.make("Runtime", library.logger)
        loaded: tensorrt.ICudaEngine | None = self._runtime.deserialize_cuda_engine(data)
        if loaded is None and library.is_rtx:
            _explain(library, self._runtime, data)
        self._engine = loaded = library.need(loaded, "does not load the engine")
        self.library, self.capture = str(library), not library.is_rtx
        names = [loaded.get_tensor_name(index) for index in range(loaded.num_io_tensors)]
        self.tensors = tuple(
            Tensor(
                name=name,
                dtype=np.dtype(trt.nptype(self._engine.get_tensor_dtype(name))),
                shape=_without_batch(loaded.get_tensor_shape(name)),
                is_input=self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT,
            )
            for name in names
        )
        slices = next(tensor.name for tensor in self.tensors if tensor.is_input)
        _, _, largest = self._engine.get_tensor_profile_shape(slices, 0)
        self.max_batch = int(next(iter(largest)))
        self._keep = keep
        self._config: Any = None
        self._cache: Any = None  # the config only points to it, and ends the process where it is gone
        if library.is_rtx:
            self._config, self._cache = self._rtx_config(runtime_cache)

    def context(self) -> EngineContext:
        """A new context without memory of its own."""
        strategy = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        self._library.forget()
        made: tensorrt.IExecutionContext | None
        made = self._engine.create_execution_context(strategy if self._config is None else self._config)
        return EngineContext(self._library, self._library.need(made, "makes no context of the engine"), self.tensors)

    def close(self) -> None:
        """Give it back, after all of its contexts."""
        blob = None if self._cache is None else self._cache.serialize()
        self._keep(b"" if blob is None else bytes(blob))
        del self._config, self._cache, self._engine, self._runtime

    def _rtx_config(self, runtime_cache: bytes) -> tuple[Any, Any]:
        """(config, cache): RTX compiles kernels when a shape is first seen, and captures graphs by itself.

        Eagerly: the default swaps a better kernel in while batches run, and results would change in the middle.
        """
        trt = self._trt
        config = self._library.need(self._engine.create_runtime_config(), "does not set the engine up")
        config.set_execution_context_allocation_strategy(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        rtx: Any = config  # what follows is not in the stubs of `tensorrt`
        rtx.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        rtx.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        cache = rtx.create_runtime_cache()
        if cache is not None and runtime_cache:
            cache.deserialize(runtime_cache)  # False for one of another driver: it is then filled anew
        rtx.set_runtime_cache(cache)
        return rtx, cache


class EngineContext:
    """A LoadedEngine set up for one batch size."""

    def __init__(self, library: Library, context: tensorrt.IExecutionContext, tensors: tuple[Tensor, ...]) -> None:
        self._library, self._context, self._tensors = library, context, tensors

    def bind(self, batch: int, addresses: Mapping[str, int]) -> int:
        """Fix the batch and where each tensor lies on the device; returns the scratch bytes that this takes."""
        self._library.forget()
        for tensor in self._tensors:
            fits = not tensor.is_input or self._context.set_input_shape(tensor.name, (batch, *tensor.shape))
            if not fits or not self._context.set_tensor_address(tensor.name, addresses[tensor.name]):
                raise self._library.failure(f"does not take {batch} slices")
        return int(self._context.update_device_memory_size_for_shapes())

    def use_scratch(self, address: int, size: int) -> None:
        """Where its intermediate results may lie."""
        self._context.set_device_memory(address, size)

    def enqueue(self, stream: int) -> None:
        """Queue the network on a stream. Raises DeviceOutOfMemory, DeviceError."""
        self._library.forget()
        if not self._context.execute_async_v3(stream):
            raise self._library.failure("could not run the engine")

    def close(self) -> None:
        """Give it back."""
        del self._context


def _without_batch(shape: tensorrt.Dims) -> tuple[int, ...]:
    return tuple(shape[axis] for axis in range(1, len(shape)))


def _explain(library: Library, runtime: Any, data: bytes) -> None:
    """Why RTX did not load an engine, where it knows: EngineError for an engine that is not for this box.

    Asked only then: it calls engines invalid that run.
    """
    known = library.trt.EngineInvalidityDiagnostics.__members__.items()
    _, reasons = runtime.get_engine_validity(data)
    names = [name for name, flag in known if int(reasons) & int(flag)]
    if "INSUFFICIENT_GPU_MEMORY" in names:
        raise DeviceOutOfMemory(f"{library} does not load the engine: the GPU's memory does not suffice")
    if names and names != ["CUDA_ERROR"]:  # of which the log says more
        raise EngineError(
            f"{library} cannot use this engine here ({', '.join(names)}).",
            fix="delete it from the engine cache: it is then built anew; or --runtime onnxruntime",
        )
