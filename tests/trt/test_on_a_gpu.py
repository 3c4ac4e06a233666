"""On a real GPU: the CUDA calls, ONNX Runtime's providers and TensorRT, with what is installed. Run by gpu_check.sh."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lits_deploy.backends import open_runtime
from lits_deploy.bundle import Bundle
from lits_deploy.errors import DeviceOutOfMemory
from lits_deploy.nvidia import gpu_here
from lits_deploy.runtime import Device, onnxruntime_
from lits_deploy.trt.bindings import open_cuda
from lits_deploy.trt.cache import ENVIRONMENT, EngineCache
from lits_deploy.trt.flavour import FLAVOURS, Flavour, installed
from lits_deploy.trt.open import open_tensorrt
from tiny_bundle import make_tiny_bundle, tiny_logits

needs_gpu = pytest.mark.skipif(not gpu_here(), reason="needs an NVIDIA GPU")


def slices(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 1, 256, 256), dtype=np.uint8)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("gpu") / "bundle")


@needs_gpu
@pytest.mark.gpu
def test_cuda_copies_waits_captures_and_runs_out_of_memory() -> None:
    cuda = open_cuda()
    gpu = cuda.describe(0)
    assert gpu.name
    assert gpu.sm.startswith("sm")
    assert gpu.memory_bytes > 1 << 28
    cuda.set_device(0)
    stream, device = cuda.create_stream(), cuda.allocate(1 << 20)
    there, source = cuda.allocate_pinned(1 << 20)
    back, target = cuda.allocate_pinned(1 << 20)
    cuda.begin_capture(stream)
    cuda.upload(device, there, 1 << 20, stream)
    cuda.download(back, device, 1 << 20, stream)
    graph = cuda.end_capture(stream)
    for value in (3, 200):
        source[:] = value
        cuda.launch(graph, stream)
        cuda.wait(stream)
        assert (target == value).all()
    with pytest.raises(DeviceOutOfMemory):
        cuda.allocate(1 << 50)
    cuda.destroy_graph(graph)
    cuda.free_pinned(there)
    cuda.free_pinned(back)
    cuda.free(device)
    cuda.destroy_stream(stream)


@needs_gpu
@pytest.mark.gpu
@pytest.mark.skipif(not onnxruntime_.installed(), reason="ONNX Runtime is not installed")
def test_onnxruntime_on_the_gpu_gives_the_same_in_any_batch(bundle: Bundle) -> None:
    if trouble := onnxruntime_.cuda_trouble():
        pytest.skip(trouble.found)
    with open_runtime(bundle, runtime="onnxruntime", device="cuda", max_batch=32) as opened:
        for count in (1, 5, 32, 5):
            batch = slices(count)
            expected = tiny_logits(batch, bundle.manifest.contract)
            np.testing.assert_allclose(opened.infer(batch).logits, expected, atol=1e-3)


@needs_gpu
@pytest.mark.tensorrt
@pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda flavour: flavour.name)
def test_tensorrt_builds_proves_and_runs_ragged_batches(
    bundle: Bundle, flavour: Flavour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if not installed(flavour):
        pytest.skip(f"{flavour.title} is not installed")
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "engines"))
    for n in range(2):
        with open_tensorrt(
            bundle,
            bundle.artifact(),
            device=Device("cuda"),
            wanted=("logits",),
            max_batch=64,
            flavour_name=flavour.name,
        ) as opened:
            for count in (1, 2, 5, 33, 64, 5):
                batch = slices(count)
                expected = tiny_logits(batch, bundle.manifest.contract)
                np.testing.assert_allclose(opened.infer(batch).logits, expected, atol=1e-3)
        assert len(caplog.messages) == 2, (n, caplog.messages)  # built and proven by the first, found by the second
    (record,) = EngineCache().records()
    assert record.proof is not None
    assert record.as_built["source"] in ("inspector", "build log")


@needs_gpu
@pytest.mark.tensorrt
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_resnet18_in_every_precision_agrees_with_pytorch(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not installed():
        pytest.skip("TensorRT is not installed")
    from benchmarks.gpu_networks import make_subject, random_original
    from export.held_out import HeldOut

    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "engines"))
    pictures = np.stack([picture for _, picture in HeldOut(random_original("resnet18")).phantoms(16)])
    here = [("tensorrt", "cuda:0")]
    subject = make_subject("resnet18", tmp_path, here, device="cuda:0", pictures=pictures, modes=())
    for contestant in subject.contestants:
        if contestant.precision != precision:
            continue
        with contestant.open(max_batch=32, wanted=("probabilities",)) as opened:  # the goldens have passed by now
            got = opened.infer(subject.slices[:16]).probabilities
        np.testing.assert_allclose(got, subject.expected, atol=contestant.tolerance)
