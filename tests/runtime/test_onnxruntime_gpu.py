"""ONNX Runtime on a GPU, played by a module that records: strictness, options, buffers that stay. And a real CPU."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import EPFail

import fake_libcuda
from fake_libcuda import FakeLibcuda
from lits_deploy import backends, nvidia
from lits_deploy.backends import open_runtime, resolve, targets
from lits_deploy.bundle import Bundle
from lits_deploy.errors import DeviceError, DeviceOutOfMemory, UserError
from lits_deploy.model_file import ModelFile
from lits_deploy.runtime import Device, onnxruntime_
from lits_deploy.runtime.onnxruntime_ import BoundSession, OnnxRuntime
from lits_deploy.trt import open as trt_open
from recording_cuda import RecordingCuda
from recording_onnxruntime import CUDA, FakeOrt
from tiny_bundle import make_tiny_bundle
from trt_fakes import fake_library

NO_NETWORK = ModelFile("model.onnx", b"\x08\x09")


def opened(ort: FakeOrt, monkeypatch: pytest.MonkeyPatch, **options: Any) -> OnnxRuntime:
    monkeypatch.setattr(onnxruntime_, "import_onnxruntime", lambda: ort)
    monkeypatch.setattr(onnxruntime_, "_foreseen", lambda _: None)
    return OnnxRuntime(
        NO_NETWORK,
        device=Device("cuda", 1),
        precision="fp16",
        shape=(1, 4, 4),
        wanted=("logits",),
        **{"max_batch": 32, **options},
    )


def test_cuda_is_asked_for_alone_with_fp32_meaning_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    ort = FakeOrt([CUDA, "CPUExecutionProvider"])
    with opened(ort, monkeypatch) as runtime:
        info = runtime.describe()
    assert ort.asked == [(CUDA, {"device_id": 1, "use_tf32": 0})]
    assert ort.config == {"session.disable_cpu_ep_fallback": "1"}
    assert ort.preloaded
    assert (info.name, info.device, info.providers[0]) == ("onnxruntime", "cuda:1", CUDA)


def test_a_silent_fallback_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match=r"cannot use cuda:1: its CUDA provider does not load"):
        opened(FakeOrt(["CPUExecutionProvider"]), monkeypatch)


def test_buffers_stay_on_the_device_one_set_for_each_padded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    ort = FakeOrt([CUDA])
    with opened(ort, monkeypatch, max_batch=24) as runtime:
        for grey, count in ((10, 8), (20, 8), (30, 3), (40, 7)):
            logits = runtime.infer(np.full((count, 1, 4, 4), grey, np.uint8)).logits
            assert logits is not None
            assert logits.shape == (count, 3)
            assert (logits == grey).all()
        assert [(value.where, len(value.array)) for value in ort.values] == [(("cuda", 1), 8), (("cuda", 1), 4)]
        assert ort.values[0].updates == 3
        for count in range(1, 25):
            runtime.infer(np.zeros((count, 1, 4, 4), np.uint8))
        assert sorted(len(value.array) for value in ort.values) == [1, 2, 4, 8, 16, 24]  # each is tuned for once


@pytest.mark.parametrize(
    ("fails", "expected", "says"),
    [
        ("Failed to allocate memory for requested buffer of size 123", DeviceOutOfMemory, "Failed to allocate"),
        (
            "a.cc:1 CUDA failure 2: out of memory ; GPU=0 ; hostname=ward7",
            DeviceOutOfMemory,
            "^CUDA failure 2: out of m",
        ),
        ("CUDA failure 700: an illegal memory access was encountered ; GPU=0", DeviceError, "700: an illegal memory"),
        ("an illegal memory access was encountered", DeviceError, "--device cpu"),
        ("CUDA failure 719: unspecified ; file=cuda_allocator.cc ; expr=cudaMalloc(", DeviceError, "failure 719: unsp"),
        (
            EPFail("[ONNXRuntimeError] : 11 : EP_FAIL : node Conv"),
            DeviceError,
            "cannot run model.onnx on cuda:1: .*EP_FAIL",
        ),
    ],
)
def test_what_a_gpu_fails_by_is_told_apart(
    fails: str | Exception, expected: type[Exception], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the library raises them: its own exceptions, which share no base class, and RuntimeError from its copies."""
    ort = FakeOrt([CUDA], fails=fails)
    with opened(ort, monkeypatch) as runtime:
        with pytest.raises(expected, match=says) as caught:
            runtime.infer(np.zeros((2, 1, 4, 4), np.uint8))
        assert "ward7" not in str(caught.value)
        assert runtime._bound is not None
        assert runtime._bound._kept == {}, "memory is given back before a smaller batch is tried"


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
        bound = BoundSession(ort, runtime._session, ["probabilities", "logits"], Device("cpu"), most=8)
        for count in (4, 3, 5, 8):
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


@pytest.mark.skipif(nvidia.gpu_here(), reason="this machine has a GPU")
@pytest.mark.parametrize("device", ["auto", "cuda", "cpu"])
def test_tensorrt_is_refused_without_a_gpu(bundle: Bundle, device: str) -> None:
    with pytest.raises(DeviceError):
        open_runtime(bundle, runtime="tensorrt", device=device)
    assert "tensorrt" not in [name for name, _ in targets()]


def test_there_is_one_way_to_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime's own provider, though the library has it, is neither a place nor a name."""
    monkeypatch.setattr(onnxruntime_, "import_onnxruntime", lambda: FakeOrt([CUDA]))
    monkeypatch.setitem(backends._ON_GPU, "onnxruntime", lambda: None)
    assert [target for target in targets() if target[1] != "cpu"] == [("onnxruntime", "cuda:0")]
    with pytest.raises(UserError, match="`onnxruntime-tensorrt` is not a runtime") as caught:
        resolve("onnxruntime-tensorrt", "auto")
    assert caught.value.fix == "use one of: auto, onnxruntime, openvino, tensorrt"


def test_tensorrt_is_a_place_where_it_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backends._ON_GPU, "tensorrt", lambda: None)
    monkeypatch.setitem(backends._ON_GPU, "onnxruntime", lambda: nvidia.NO_GPU)
    assert ("tensorrt", "cuda:0") in targets()
    assert resolve("tensorrt", "auto") == ("tensorrt", Device("cuda"))
    assert (
        resolve("auto", "auto") == resolve("auto", "cuda") == ("tensorrt", Device("cuda"))
    )  # all there is on this GPU
    monkeypatch.setitem(backends._ON_GPU, "onnxruntime", lambda: None)
    assert resolve("auto", "auto") == resolve("auto", "cuda") == ("onnxruntime", Device("cuda"))


def test_tensorrt_is_tried_with_gpu_library_and_bindings(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, library, installed = RecordingCuda(), fake_library(), True
    monkeypatch.setattr(trt_open.flavour, "installed", lambda: installed)
    monkeypatch.setattr(trt_open.bindings, "open_cuda", lambda: cuda)
    monkeypatch.setattr(trt_open.flavour, "load", lambda _: library)

    def trouble(driver: FakeLibcuda) -> str | None:
        fake_libcuda.put_in(monkeypatch, driver, driver="580.95.05")
        found = trt_open.tensorrt_trouble()
        fake_libcuda.forget()
        return found and found.found

    assert trouble(FakeLibcuda()) is None
    assert trouble(FakeLibcuda(start=100)) == "CUDA does not start (CUDA_ERROR_NO_DEVICE; driver 580.95.05)"
    assert trouble(FakeLibcuda(free=9)) == "NVIDIA L4 has 9 of 15,360 MiB free, and 1,024 are wanted"
    known = SimpleNamespace(__version__="1.7.1", ComputeCapability=SimpleNamespace(SM86=1, SM89=2))
    library = dataclasses.replace(fake_library("rtx"), trt=known)
    assert trouble(FakeLibcuda()) is None
    cuda.gpu = dataclasses.replace(cuda.gpu, name="NVIDIA H100", compute_capability="9.0")
    assert trouble(FakeLibcuda()) == "TensorRT for RTX 1.7.1 is not made for NVIDIA H100"
    cuda.devices = 0
    assert trouble(FakeLibcuda()) == "There is no cuda:0 here"
    installed = False
    assert trouble(FakeLibcuda()) == "TensorRT is not installed"
