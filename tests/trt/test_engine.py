"""TensorRT's calls, made to a module that plays `tensorrt` or TensorRT for RTX: which, in what order, and errors."""

from __future__ import annotations

import dataclasses
import weakref
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lits_deploy.errors import DeviceError, DeviceOutOfMemory
from lits_deploy.trt.engine import LoadedEngine
from lits_deploy.trt.flavour import Library
from trt_fakes import fake_library


class FakeContext:
    def __init__(self, engine: FakeTrt, config: Any) -> None:
        self.engine = engine
        self.calls: list[tuple[Any, ...]] = [("created with", config)]

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.calls.append(("shape", name, shape))
        return shape[0] <= 16

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.calls.append(("address", name, address))
        return True

    def update_device_memory_size_for_shapes(self) -> int:
        self.calls.append(("size",))
        return 4_096

    def set_device_memory(self, address: int, size: int) -> None:
        self.calls.append(("memory", address, size))

    def execute_async_v3(self, stream: int) -> bool:
        self.calls.append(("execute", stream))
        return self.engine.works()


class Cache:
    """What RTX compiles into. A config only points to it, as the real one does."""

    def __init__(self) -> None:
        self.restored: list[bytes] = []

    def deserialize(self, blob: bytes) -> bool:
        self.restored.append(blob)
        return True

    def serialize(self) -> bytes:
        return b"compiled"


class FakeTrt:
    """The module, its runtime and its one engine: uint8 [-1, 1, 8, 8] → float16 logits, up to 16 slices."""

    TensorIOMode = SimpleNamespace(INPUT=1, OUTPUT=2)
    ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="user managed")
    DynamicShapesKernelSpecializationStrategy = SimpleNamespace(EAGER="eager")
    CudaGraphStrategy = SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole graph")

    def __init__(self, version: str) -> None:
        self.__version__ = version
        self.failure: str | None = None
        self.recent: Any = None
        self.deserialised: list[bytes] = []
        self.contexts: list[FakeContext] = []
        self.config: Any = None
        self.num_io_tensors = 2

    def Runtime(self, _logger: Any) -> FakeTrt:  # noqa: N802
        return self

    def deserialize_cuda_engine(self, data: bytes) -> FakeTrt | None:
        self.deserialised.append(data)
        return self if self.works() else None

    def works(self) -> bool:
        if self.failure:
            self.recent.append((1, self.failure))
        return not self.failure

    def nptype(self, dtype: Any) -> Any:
        return dtype

    def get_tensor_name(self, index: int) -> str:
        return ("slices", "logits")[index]

    def get_tensor_dtype(self, name: str) -> Any:
        return np.uint8 if name == "slices" else np.float16

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, 1, 8, 8) if name == "slices" else (-1, 3)

    def get_tensor_mode(self, name: str) -> int:
        return 1 if name == "slices" else 2

    def get_tensor_profile_shape(self, _name: str, _profile: int) -> list[tuple[int, ...]]:
        return [(1, 1, 8, 8), (8, 1, 8, 8), (16, 1, 8, 8)]

    def create_execution_context(self, config: Any) -> FakeContext:
        self.contexts.append(FakeContext(self, config))
        return self.contexts[-1]

    def create_runtime_config(self) -> Any:
        class Config:
            def set_execution_context_allocation_strategy(self, strategy: str) -> None:
                self.strategy = strategy

            def create_runtime_cache(self) -> Any:
                return Cache()

            def set_runtime_cache(self, given: Any) -> None:
                self.cache = weakref.ref(given)

        self.config = Config()
        return self.config


def library(flavour: str, version: str) -> tuple[Library, FakeTrt]:
    trt = FakeTrt(version)
    made = dataclasses.replace(fake_library(flavour, version), trt=trt)
    trt.recent = made.recent
    return made, trt


@pytest.mark.parametrize(
    ("flavour", "version"), [("tensorrt", "10.3.0.30"), ("tensorrt", "11.4.0.106"), ("rtx", "1.7.1")]
)
def test_one_path_for_all_flavours(flavour: str, version: str) -> None:
    lib, trt = library(flavour, version)
    kept: list[bytes] = []
    engine = LoadedEngine(lib, b"engine", runtime_cache=b"before", keep=kept.append)
    assert trt.deserialised == [b"engine"]
    assert engine.max_batch == 16
    assert engine.library.endswith(version)
    slices, logits = engine.tensors
    assert (slices.shape, slices.dtype, slices.is_input, slices.slice_bytes) == ((1, 8, 8), np.uint8, True, 64)
    assert (logits.shape, logits.dtype, logits.is_input, logits.slice_bytes) == ((3,), np.float16, False, 6)

    context = engine.context()
    assert context.bind(4, {"slices": 100, "logits": 200}) == 4_096
    context.use_scratch(300, 5_000)
    context.enqueue(7)
    (made,) = trt.contexts
    assert made.calls[1:] == [
        ("shape", "slices", (4, 1, 8, 8)),
        ("address", "slices", 100),
        ("address", "logits", 200),
        ("size",),
        ("memory", 300, 5_000),
        ("execute", 7),
    ]
    if flavour == "rtx":
        assert made.calls[0] == ("created with", trt.config)
        assert trt.config.strategy == "user managed"
        assert trt.config.dynamic_shapes_kernel_specialization_strategy == "eager"
        assert trt.config.cuda_graph_strategy == "whole graph"
        assert trt.config.cache().restored == [b"before"]  # alive as long as the config: RTX crashes without
        assert not engine.capture
    else:
        assert made.calls[0] == ("created with", "user managed")
        assert engine.capture
    context.close()
    engine.close()
    assert kept == [b"compiled" if flavour == "rtx" else b""]


def test_an_engine_that_does_not_load_is_one_line_with_tensorrts_reason() -> None:
    lib, trt = library("tensorrt", "10.3.0.30")
    trt.failure = "IRuntime::deserializeCudaEngine: Error Code 1: Serialization\n(version tag does not match)"
    with pytest.raises(DeviceError, match=r"does not load the engine: .*version tag does not match") as caught:
        LoadedEngine(lib, b"engine")
    assert "\n" not in str(caught.value)


def test_a_failed_run_is_out_of_memory_only_where_tensorrt_says_so() -> None:
    lib, trt = library("tensorrt", "10.3.0.30")
    context = LoadedEngine(lib, b"engine").context()
    context.bind(4, {"slices": 1, "logits": 2})
    trt.failure = "Error Code 2: OutOfMemory (Requested size was 1 bytes)"
    with pytest.raises(DeviceOutOfMemory):
        context.enqueue(7)
    trt.failure = "Cuda Runtime (an illegal memory access was encountered)"
    with pytest.raises(DeviceError, match="illegal memory access"):
        context.enqueue(7)
    with pytest.raises(
        DeviceError, match=r"does not take 17 slices\. Fix"
    ) as caught:  # an old reason is not this one's
        context.bind(17, {"slices": 1, "logits": 2})
    assert "illegal" not in str(caught.value)
