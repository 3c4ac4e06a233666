"""The TensorRT runtime on a recording GPU: padding, order, waiting, graphs, memory, and giving everything back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lits_deploy.decode.slots import ReadyBatch
from lits_deploy.errors import BundleError, ContractError, DeviceError, DeviceOutOfMemory
from lits_deploy.pipeline.inference import InferenceThreads
from lits_deploy.runtime import Device
from lits_deploy.trt.engine import Tensor
from lits_deploy.trt.runtime import TensorRt, bucket_sizes
from recording_cuda import RecordingCuda
from trt_fakes import FakeEngine, classifier_tensors

SHAPE = (1, 8, 8)


def compute(slices: np.ndarray) -> dict[str, np.ndarray]:
    """Answers that depend on every pixel of a slice, and on no other slice."""
    sums = slices.reshape(len(slices), -1).sum(axis=1, dtype=np.float64)
    logits = np.stack([sums, -sums, sums % 7], axis=1)
    return {"logits": logits, "probabilities": logits / 1e4}


def slices(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng((count, seed)).integers(0, 256, (count, *SHAPE), dtype=np.uint8)


def opened(cuda: RecordingCuda, *, wanted: tuple[str, ...] = ("logits",), most: int = 64, **engine: Any) -> TensorRt:
    return TensorRt(
        FakeEngine(cuda, compute, **engine),
        cuda,
        device=Device("cuda"),
        precision="fp16",
        shape=SHAPE,
        wanted=wanted,
        max_batch=most,
    )


def engine_of(runtime: TensorRt) -> FakeEngine:
    engine = runtime._engine
    assert isinstance(engine, FakeEngine)
    return engine


@pytest.mark.parametrize("most", [1, 2, 3, 7, 32, 64, 100])
def test_buckets_pad_to_less_than_twice(most: int) -> None:
    sizes = bucket_sizes(most)
    assert sizes[0] == 1
    assert sizes[-1] == most
    assert len(sizes) <= 7
    for count in range(5, most + 1):
        assert next(size for size in sizes if size >= count) < 2 * count


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 31, 32, 33, 64])
@pytest.mark.parametrize("capture", [True, False])
def test_every_ragged_batch_gets_its_own_answers(count: int, capture: bool) -> None:
    with opened(RecordingCuda(), capture=capture) as runtime:
        for seed in range(3):  # the first builds the bucket, the others replay it
            batch = slices(count, seed)
            answer = runtime.infer(batch).logits
            assert answer is not None
            assert answer.dtype == np.float32
            assert answer.shape == (count, 3)
            np.testing.assert_array_equal(answer, compute(batch)["logits"].astype(np.float32))


def test_answers_outlive_the_next_batch() -> None:
    with opened(RecordingCuda()) as runtime:
        first = runtime.infer(slices(4, 1)).logits
        assert first is not None
        kept = first.copy()
        runtime.infer(slices(4, 2))
    np.testing.assert_array_equal(first, kept)


def test_padding_is_zero_and_never_an_earlier_batch() -> None:
    cuda = RecordingCuda()
    seen: list[np.ndarray] = []

    def watching(batch: np.ndarray) -> dict[str, np.ndarray]:
        seen.append(batch)
        return compute(batch)

    runtime = TensorRt(
        FakeEngine(cuda, watching),
        cuda,
        device=Device("cuda"),
        precision="fp16",
        shape=SHAPE,
        wanted=("logits",),
        max_batch=8,
    )
    runtime.infer(slices(8))
    runtime.infer(slices(5))
    assert len(seen[-1]) == 8
    assert seen[-1][:5].any()
    assert not seen[-1][5:].any()
    runtime.close()


def test_the_order_of_a_run_is_upload_execute_download_wait() -> None:
    cuda = RecordingCuda()
    with opened(cuda, capture=False) as runtime:
        runtime.infer(slices(4))
        cuda.calls.clear()
        runtime.infer(slices(4))
        assert cuda.names() == ["set_device", "upload", "execute", "download", "wait"]
        streams = {call[-1] for call in cuda.calls if call[0] in ("upload", "download", "wait")}
        assert streams == {runtime._stream}
        assert cuda.calls[1][3] == 4 * 64  # bytes: padded slices of 8×8 pixels
        assert cuda.calls[3][3] == 4 * 3 * 4  # logits only; nobody asked for probabilities


def test_a_bucket_is_captured_once_and_then_launched() -> None:
    cuda = RecordingCuda()
    with opened(cuda) as runtime:
        runtime.infer(slices(3))
        names = cuda.names()
        assert names.index("begin_capture") > names.index("wait")  # run once outside of the graph before
        assert names.count("begin_capture") == names.count("end_capture") == names.count("launch") == 1
        cuda.calls.clear()
        runtime.infer(slices(4))  # the same bucket
        assert cuda.names() == ["set_device", "launch", "wait"]
        runtime.infer(slices(5))
        assert cuda.names().count("begin_capture") == 1
    assert len(engine_of(runtime).contexts) == 2


def test_rtx_captures_graphs_itself() -> None:
    cuda = RecordingCuda()
    with opened(cuda, capture=False) as runtime:
        runtime.infer(slices(2))
    assert "begin_capture" not in cuda.names()


def test_an_engine_that_cannot_be_captured_runs_without_a_graph() -> None:
    cuda = RecordingCuda(capture_fails=True)
    with opened(cuda) as runtime:
        for count in (4, 4, 8):
            batch = slices(count)
            np.testing.assert_array_equal(runtime.infer(batch).logits, compute(batch)["logits"].astype(np.float32))
    assert cuda.names().count("begin_capture") == 1  # tried once, not for every bucket
    assert "launch" not in cuda.names()
    assert cuda.leaks() == {}


def test_half_precision_outputs_come_back_as_float32_and_labels_as_they_are() -> None:
    tensors = (
        Tensor(name="slices", dtype=np.uint8, shape=SHAPE, is_input=True),
        Tensor(name="probabilities", dtype=np.float16, shape=(3,), is_input=False),
        Tensor(name="labels", dtype=np.uint8, shape=(8, 8), is_input=False),
    )
    cuda = RecordingCuda()
    engine = FakeEngine(
        cuda, lambda x: {"probabilities": compute(x)["logits"] % 2, "labels": x[:, 0] // 100}, tensors=tensors
    )
    with TensorRt(
        engine,
        cuda,
        device=Device("cuda"),
        precision="fp16",
        shape=SHAPE,
        wanted=("labels", "probabilities"),
        max_batch=4,
    ) as runtime:
        batch = slices(3)
        outputs = runtime.infer(batch)
    assert outputs.logits is None
    assert outputs.probabilities is not None
    assert outputs.labels is not None
    assert (outputs.probabilities.dtype, outputs.labels.dtype) == (np.float32, np.uint8)
    np.testing.assert_array_equal(outputs.labels, batch[:, 0] // 100)


@pytest.mark.parametrize("capture", [True, False])
def test_everything_is_given_back_and_in_order(capture: bool) -> None:
    cuda = RecordingCuda()
    runtime = opened(cuda, capture=capture, wanted=("logits", "probabilities"))
    for count in (1, 64, 7):
        runtime.infer(slices(count))
    cuda.calls.clear()
    runtime.close()
    assert cuda.leaks() == {}
    assert engine_of(runtime).closed
    names = cuda.names()
    if capture:
        assert names.index("destroy_graph") < names.index("free")
    assert names[-1] == "destroy_stream"


def test_buckets_share_one_scratch_memory_and_a_larger_one_starts_anew() -> None:
    cuda = RecordingCuda()
    with opened(cuda, scratch_per_slice=1_000) as runtime:
        for count in (4, 8, 64):
            runtime.infer(slices(count))
        for count in (4, 8, 64, 4):
            batch = slices(count, 9)
            np.testing.assert_array_equal(runtime.infer(batch).logits, compute(batch)["logits"].astype(np.float32))
        assert sorted(runtime._buckets) == [4, 8, 64]
        addresses = {bucket.context.scratch for bucket in runtime._buckets.values()}  # type: ignore[attr-defined]
        assert len(addresses) == 1
        assert cuda.used_bytes < 2 * 64 * 1_000


def test_a_network_that_says_it_needs_no_scratch_memory_is_given_some() -> None:
    """0 is also what TensorRT answers when it failed to say, and it may refuse to run without any."""
    cuda = RecordingCuda()
    with opened(cuda, scratch_per_slice=0) as runtime:
        runtime.infer(slices(3))
        (context,) = engine_of(runtime).contexts
        address, size = context.scratch
        assert size >= 256
        assert len(cuda.at(address)) == size


@pytest.mark.parametrize("where", ["buffers", "scratch", "run"])
def test_out_of_memory_leaves_nothing_behind_and_half_the_batch_goes_on(where: str) -> None:
    most = {"buffers": 64 * 64 + 64 * 12, "scratch": 64 * 64 + 64 * 24 + 100}
    cuda = RecordingCuda(memory_bytes=most.get(where, 1 << 30))
    with opened(cuda, memory_for=32 if where == "run" else None) as runtime:
        with pytest.raises(DeviceOutOfMemory):
            runtime.infer(slices(64))
        assert cuda.leaks() == {"streams": 1}
        batch = slices(16)
        np.testing.assert_array_equal(runtime.infer(batch).logits, compute(batch)["logits"].astype(np.float32))
    assert cuda.leaks() == {}


def test_the_pipeline_halves_until_it_fits() -> None:
    import threading

    cuda = RecordingCuda()
    runtime = opened(cuda, memory_for=4)
    woken = threading.Semaphore(0)
    batch = slices(27)
    with InferenceThreads(lambda: runtime, woken.release) as thread:
        thread.submit(ReadyBatch(0, batch, ()))
        for _ in range(2):
            assert woken.acquire(timeout=10)
        (answer,) = thread.take()
    np.testing.assert_array_equal(answer.outputs[0], compute(batch)["logits"].astype(np.float32))
    assert (thread.most, thread.halved) == (3, 3)  # 27 → 13 → 6 → 3; 6 needs the bucket of 8
    assert cuda.leaks() == {}


def test_a_failing_run_is_not_out_of_memory() -> None:
    class Broken(RecordingCuda):
        def wait(self, event: int) -> None:
            raise DeviceError("CUDA failed (cudaEventSynchronize: cudaErrorIllegalAddress).", fix="start again")

    cuda = Broken()
    runtime = opened(cuda)
    with pytest.raises(DeviceError, match="IllegalAddress"):
        runtime.infer(slices(2))
    runtime.close()
    assert cuda.leaks() == {}


def test_the_smaller_of_profile_and_wish_is_the_limit() -> None:
    with opened(RecordingCuda(), most=100, max_batch=16) as runtime:
        assert runtime.max_batch == 16
        with pytest.raises(ContractError, match="1…16"):
            runtime.infer(slices(17))


def test_an_engine_of_another_network_is_refused() -> None:
    with pytest.raises(BundleError, match="uint8 slices"):
        opened(RecordingCuda(), tensors=classifier_tensors((1, 9, 9)))
    with pytest.raises(BundleError, match="no labels"):
        opened(RecordingCuda(), wanted=("labels",))


def test_it_describes_what_runs() -> None:
    with opened(RecordingCuda(), library="TensorRT for RTX 1.7.1.116") as runtime:
        info = runtime.describe()
    assert (info.name, info.version, info.providers) == ("tensorrt", "1.7.1.116", ("TensorRT for RTX",))
    assert (info.device, info.precision) == ("cuda:0", "fp16")


def test_the_recording_gpu_shows_a_result_that_is_read_too_early() -> None:
    cuda = RecordingCuda()
    stream = cuda.create_stream()
    device = cuda.allocate(4)
    pinned, memory = cuda.allocate_pinned(4)
    cuda.download(pinned, device, 4, stream)
    assert (memory == 0xCC).all()  # nobody waited
    cuda.wait(stream)
    assert (memory == 0).all()
    cuda.free(device)
    with pytest.raises(DeviceError, match="illegal address"):
        cuda.at(device)
