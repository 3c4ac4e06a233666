"""ONNX Runtime on a GPU, played by a module that records: strictness, options, buffers that stay. And a real CPU."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lits_deploy import backends, nvidia
from lits_deploy.backends import open_runtime, places, resolve
from lits_deploy.bundle import Bundle
from lits_deploy.errors import DeviceError, DeviceOutOfMemory, UserError
from lits_deploy.model_file import ModelFile
from lits_deploy.runtime import Device, onnxruntime_
from lits_deploy.runtime.onnxruntime_ import BoundSession, OnnxRuntime
from lits_deploy.trt import open as trt_open
from recording_cuda import RecordingCuda
from tiny_bundle import make_tiny_bundle
from trt_fakes import fake_library

CUDA = "CUDAExecutionProvider"


class FakeOrt:
    """Gives sessions with the providers in `gives`; remembers what was asked for."""

    __version__ = "1.31.1"

    def __init__(self, gives: list[str], fails: str | None = None) -> None:
        self.gives, self.fails = gives, fails
        self.asked: list[Any] = []
        self.config: dict[str, str] = {}
        self.values: list[Any] = []
        self.preloaded = False
        self.refuses: Exception | None = None
        outer = self

        class OrtValue:
            @staticmethod
            def ortvalue_from_numpy(array: np.ndarray, kind: str, index: int) -> Any:
                value = SimpleNamespace(array=array.copy(), where=(kind, index), updates=0)

                def update_inplace(new: np.ndarray) -> None:
                    value.array[:] = new
                    value.updates += 1

                value.update_inplace = update_inplace
                outer.values.append(value)
                return value

        self.OrtValue = OrtValue

    def SessionOptions(self) -> Any:  # noqa: N802
        return SimpleNamespace(add_session_config_entry=self.config.__setitem__)

    def preload_dlls(self) -> None:
        self.preloaded = True

    def get_available_providers(self) -> list[str]:
        return ["TensorrtExecutionProvider", CUDA, "CPUExecutionProvider"]

    def InferenceSession(self, _model: bytes, _options: Any, providers: list[Any], **_: Any) -> Any:  # noqa: N802
        if self.refuses:
            raise self.refuses
        self.asked = providers
        return FakeSession(self)


NO_NETWORK = ModelFile("model.onnx", b"\x08\x09")


class FakeSession:
    def __init__(self, ort: FakeOrt) -> None:
        self.ort = ort

    def get_providers(self) -> list[str]:
        return self.ort.gives

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="slices")]

    def io_binding(self) -> Any:
        binding = SimpleNamespace(outputs=[])
        binding.bind_ortvalue_input = lambda _name, value: setattr(binding, "input", value)
        binding.bind_output = lambda name, kind, index: binding.outputs.append((name, kind, index))
        binding.copy_outputs_to_cpu = lambda: [
            np.repeat(binding.input.array.reshape(len(binding.input.array), -1)[:, :1], 3, axis=1).astype(np.float32)
            for _ in binding.outputs
        ]
        return binding

    def run_with_iobinding(self, _binding: Any) -> None:
        if self.ort.fails:
            raise RuntimeError(self.ort.fails)


def opened(ort: FakeOrt, monkeypatch: pytest.MonkeyPatch, **options: Any) -> OnnxRuntime:
    monkeypatch.setattr(onnxruntime_, "import_onnxruntime", lambda: ort)
    monkeypatch.setattr(onnxruntime_, "cuda_usable", lambda: True)
    return OnnxRuntime(
        NO_NETWORK, device=Device("cuda", 1), precision="fp16", shape=(1, 4, 4), wanted=("logits",),
        max_batch=32, **options,
    )  # fmt: skip


def test_cuda_is_asked_for_alone_with_fp32_meaning_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    ort = FakeOrt([CUDA, "CPUExecutionProvider"])
    with opened(ort, monkeypatch) as runtime:
        info = runtime.describe()
    assert ort.asked == [(CUDA, {"device_id": 1, "use_tf32": 0})]
    assert ort.config == {"session.disable_cpu_ep_fallback": "1"}
    assert ort.preloaded
    assert (info.name, info.device, info.providers[0]) == ("onnxruntime", "cuda:1", CUDA)


def test_a_silent_fallback_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match=r"was asked for; ONNX Runtime chose CPUExecutionProvider"):
        opened(FakeOrt(["CPUExecutionProvider"]), monkeypatch)


def test_buffers_stay_on_the_device_one_set_for_each_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    ort = FakeOrt([CUDA])
    with opened(ort, monkeypatch) as runtime:
        for grey, count in ((10, 8), (20, 8), (30, 3), (40, 8)):
            logits = runtime.infer(np.full((count, 1, 4, 4), grey, np.uint8)).logits
            assert logits is not None
            assert logits.shape == (count, 3)
            assert (logits == grey).all()
        assert [value.where for value in ort.values] == [("cuda", 1)] * 2
        assert ort.values[0].updates == 3
        for count in range(1, 20):
            runtime.infer(np.zeros((count, 1, 4, 4), np.uint8))
        bound = runtime._bound
        assert bound is not None
        assert len(bound._kept) == 8  # not one for every size there ever was


def test_the_devices_memory_running_out_halves_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    ort = FakeOrt([CUDA], fails="Failed to allocate memory for requested buffer of size 123")
    with opened(ort, monkeypatch) as runtime, pytest.raises(DeviceOutOfMemory, match="Failed to allocate"):
        runtime.infer(np.zeros((2, 1, 4, 4), np.uint8))


def test_a_network_that_does_not_fit_says_how_much_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    ort = FakeOrt([CUDA])
    ort.refuses = Exception("Available memory of 1048576 is smaller than requested bytes of 3145728")
    with pytest.raises(DeviceError, match=r"for model.onnx on cuda:1 \(3 MiB more .* into 1 MiB: 2 MiB missing\)"):
        opened(ort, monkeypatch)


def test_bound_buffers_give_what_a_plain_run_gives(tmp_path: Path) -> None:
    """The real library, its buffers on the CPU."""
    bundle = make_tiny_bundle(tmp_path / "bundle", size=16, crop=16)
    with open_runtime(bundle, runtime="onnxruntime", device="cpu") as runtime:
        assert isinstance(runtime, OnnxRuntime)
        ort = onnxruntime_.import_onnxruntime()
        bound = BoundSession(ort, runtime._session, "slices", ["probabilities", "logits"], "cpu", 0)
        for count in (3, 5, 3):
            batch = np.random.default_rng(count).integers(0, 256, (count, 1, 16, 16), dtype=np.uint8)
            kept = batch.copy()
            probabilities, logits = bound.run(batch[::-1])
            expected = runtime.infer(np.ascontiguousarray(batch[::-1]))
            np.testing.assert_array_equal(logits, expected.logits)
            np.testing.assert_array_equal(probabilities, expected.probabilities)
            np.testing.assert_array_equal(batch, kept)  # the caller's slices are not the buffer


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("gpu") / "bundle")


@pytest.mark.skipif(onnxruntime_.cuda_usable(), reason="this machine has CUDA")
@pytest.mark.parametrize("device", ["auto", "cuda", "cpu"])
def test_tensorrt_is_refused_without_a_gpu(bundle: Bundle, device: str) -> None:
    with pytest.raises(DeviceError):
        open_runtime(bundle, runtime="tensorrt", device=device)
    assert "tensorrt" not in [name for name, _ in places()]


def test_there_is_one_way_to_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime's own provider, though the library has it, is neither a place nor a name."""
    monkeypatch.setattr(onnxruntime_, "import_onnxruntime", lambda: FakeOrt([]))
    monkeypatch.setattr(onnxruntime_, "cuda_usable", lambda: True)
    assert [place for place in places() if place[1] != "cpu"] == [("onnxruntime", "cuda:0")]
    with pytest.raises(UserError, match="`onnxruntime-tensorrt` is not a runtime") as caught:
        resolve("onnxruntime-tensorrt", "auto")
    assert caught.value.fix == "use one of: auto, onnxruntime, openvino, tensorrt"


def test_tensorrt_is_a_place_where_it_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "tensorrt_usable", lambda: True)
    assert ("tensorrt", "cuda:0") in places()
    assert resolve("tensorrt", "auto") == ("tensorrt", Device("cuda"))
    if not onnxruntime_.cuda_usable():
        assert resolve("auto", "auto") == ("tensorrt", Device("cuda"))  # all that there is on this GPU
    monkeypatch.setattr(onnxruntime_, "cuda_usable", lambda: True)
    assert resolve("auto", "auto") == ("onnxruntime", Device("cuda"))


def test_tensorrt_is_usable_only_with_gpu_library_and_bindings(monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"gpu": True, "library": True, "bindings": True}
    cuda, library = RecordingCuda(), fake_library()
    monkeypatch.setattr(nvidia, "gpu_here", lambda: state["gpu"])
    monkeypatch.setattr(trt_open.flavour, "installed", lambda: state["library"])
    monkeypatch.setattr(trt_open.bindings, "installed", lambda: state["bindings"])
    monkeypatch.setattr(trt_open.bindings, "open_cuda", lambda: cuda)
    monkeypatch.setattr(trt_open.flavour, "load", lambda _: library)
    assert trt_open.tensorrt_usable()
    for missing in state:
        monkeypatch.setitem(state, missing, False)
        assert not trt_open.tensorrt_usable()
        monkeypatch.setitem(state, missing, True)
    known = SimpleNamespace(__version__="1.7.1", ComputeCapability=SimpleNamespace(SM86=1, SM89=2))
    library = dataclasses.replace(fake_library("rtx"), trt=known)
    assert trt_open.tensorrt_usable()
    cuda.gpu = dataclasses.replace(cuda.gpu, name="NVIDIA H100", compute_capability="9.0")
    assert not trt_open.tensorrt_usable()
    cuda.devices = 0
    assert not trt_open.tensorrt_usable()
