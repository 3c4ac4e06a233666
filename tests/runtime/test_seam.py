"""What a library does not like ends at the seam: any memory layout is taken, and a network that fails is one line."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, numpy_helper
from typer.testing import CliRunner

from fake_runtime import FakeRuntime
from lits_deploy.backends import open_runtime
from lits_deploy.bundle import Bundle
from lits_deploy.cli.app import app
from lits_deploy.errors import BundleError, DeviceError, DeviceOutOfMemory
from lits_deploy.files import sha256_file
from lits_deploy.goldens import compare, read_golden
from lits_deploy.runtime import Batch, Device, Outputs, RuntimeOptions, onnxruntime_, openvino_
from tiny_bundle import make_tiny_bundle, with_manifest

on_each_cpu_runtime = pytest.mark.parametrize(
    "name",
    [
        "onnxruntime",
        pytest.param(
            "openvino", marks=pytest.mark.skipif(not openvino_.installed(), reason="OpenVINO is not installed")
        ),
    ],
)

SIZE = 32
ONE_THREAD = RuntimeOptions(threads=1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("seam") / "bundle", size=SIZE, crop=28)


def read_only(batch: Batch) -> Batch:
    """As np.frombuffer, np.load(mmap_mode="r") and np.broadcast_to make them."""
    return np.frombuffer(batch.tobytes(), np.uint8).reshape(batch.shape)


def every_second_column(batch: Batch) -> Batch:
    wide = np.zeros((*batch.shape[:-1], 2 * batch.shape[-1]), np.uint8)
    wide[..., ::2] = batch
    return wide[..., ::2]


def backwards(batch: Batch) -> Batch:
    return np.ascontiguousarray(batch[..., ::-1])[..., ::-1]


def far_apart(batch: Batch) -> Batch:
    """Slices that lie 100 MB from each other, as one channel of an enormous array (its pages are never touched)."""
    vast = np.zeros((len(batch), 100_000, SIZE, SIZE), np.uint8)
    vast[:, :1] = batch
    return vast[:, :1]


def one_with_odd_strides(batch: Batch) -> Batch:
    """numpy calls an axis of one contiguous whatever its stride, which a library may multiply all the same."""
    return np.lib.stride_tricks.as_strided(batch[:1], batch[:1].shape, (2**45, 2**40, SIZE, 1))


@on_each_cpu_runtime
@pytest.mark.parametrize("layout", [read_only, every_second_column, backwards, far_apart, one_with_odd_strides])
def test_any_memory_layout_gives_the_same_answer(bundle: Bundle, name: str, layout: Callable[[Batch], Batch]) -> None:
    batch = np.random.default_rng(0).integers(0, 256, (3, 1, SIZE, SIZE), dtype=np.uint8)
    given = layout(batch)
    with open_runtime(bundle, runtime=name, device="cpu", max_batch=3, options=ONE_THREAD) as runtime:
        expected, got = runtime.infer(batch[: len(given)].copy()).logits, runtime.infer(given).logits
    assert got is not None
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(given, batch[: len(given)])


def changed(folder: Path, change: Callable[[onnx.GraphProto], None]) -> Bundle:
    """The tiny bundle with another graph, whole by its hashes."""
    bundle = make_tiny_bundle(folder, size=SIZE, crop=28)
    path = bundle.folder / "model.onnx"
    model = onnx.load(path)
    change(model.graph)
    path.write_bytes(model.SerializeToString())
    artifact = dataclasses.replace(bundle.artifact(), sha256=sha256_file(path), bytes=path.stat().st_size)
    return with_manifest(bundle, artifacts=(artifact,))


def fails_while_running(graph: onnx.GraphProto) -> None:
    """Its logits are the nine largest of as many slices, which fails only when three come."""
    graph.initializer.append(numpy_helper.from_array(np.array([9], np.int64), "nine"))
    nodes = list(graph.node)
    (add,) = [node for node in nodes if node.op_type == "Add"]
    add.output[0] = "plain"
    nodes.insert(nodes.index(add) + 1, helper.make_node("TopK", ["plain", "nine"], ["logits", "rank"], axis=0))
    del graph.node[:]
    graph.node.extend(nodes)


def raising(error: Exception) -> Callable[..., Any]:
    def run(*_: Any, **__: Any) -> Any:
        raise error

    return run


def lacks_probabilities(graph: onnx.GraphProto) -> None:
    del graph.output[1]


@on_each_cpu_runtime
def test_a_network_that_fails_while_it_runs_is_one_line(tmp_path: Path, name: str) -> None:
    bundle = changed(tmp_path / "bundle", fails_while_running)
    with (
        open_runtime(bundle, runtime=name, device="cpu", max_batch=3, options=ONE_THREAD) as runtime,
        # OpenVINO checks some shapes only when its answer is looked at
        pytest.raises(
            BundleError, match=r"(cannot run model\.onnx: |answers 3 slices with `logits` of \[9, 3\]).*Fix: "
        ) as raised,
    ):
        runtime.infer(np.zeros((3, 1, SIZE, SIZE), np.uint8))
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(not openvino_.installed(), reason="OpenVINO is not installed")
def test_what_openvino_raises_while_it_runs_is_told_apart(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = np.zeros((1, 1, SIZE, SIZE), np.uint8)
    with open_runtime(bundle, runtime="openvino", device="cpu", max_batch=1, options=ONE_THREAD) as runtime:
        for raised, expected, says in (
            (
                RuntimeError("Check failed at a.cpp:1:\nshapes conflict\n"),
                BundleError,
                r"cannot run model\.onnx: shapes c",
            ),
            (RuntimeError("bad allocation"), DeviceOutOfMemory, "bad allocation"),
            (TypeError("a bug of ours"), TypeError, "a bug of ours"),
        ):
            monkeypatch.setattr(runtime, "_tensor", raising(raised))
            with pytest.raises(expected, match=says):
                runtime.infer(batch)
        monkeypatch.undo()
        assert runtime.infer(batch).logits is not None, "its request was given back"


def test_verify_says_it_of_every_runtime_and_fails(tmp_path: Path) -> None:
    bundle = changed(tmp_path / "bundle", fails_while_running)
    done = CliRunner().invoke(app, ["verify", str(bundle.folder)], catch_exceptions=False)
    assert done.exit_code == 3
    failed = [line for line in done.output.splitlines() if line.startswith("-[x] fp32 on ")]
    assert len(failed) == onnxruntime_.installed() + openvino_.installed()
    assert "must not be used here" in done.output


@on_each_cpu_runtime
def test_an_output_that_is_not_there_is_one_line(tmp_path: Path, name: str) -> None:
    bundle = changed(tmp_path / "bundle", lacks_probabilities)
    with (
        open_runtime(bundle, runtime=name, device="cpu", max_batch=1) as runtime,
        pytest.raises(BundleError, match=r"cannot run model\.onnx: .*probabilities"),
    ):
        runtime.infer(np.zeros((1, 1, SIZE, SIZE), np.uint8))


class Answering(FakeRuntime):
    """Says what it was told to."""

    def __init__(self, **outputs: npt.NDArray[Any]) -> None:
        super().__init__(shape=(1, SIZE, SIZE), max_batch=3)
        self.outputs = outputs

    def _infer(self, batch: Batch) -> Outputs:
        return Outputs(**self.outputs)


@pytest.mark.parametrize("shape", [(1, 3), (6, 3), (3,), ()])
def test_answers_that_are_not_one_a_slice_are_refused(shape: tuple[int, ...]) -> None:
    runtime = Answering(logits=np.zeros(shape, np.float32))
    with pytest.raises(BundleError, match=r"answers 3 slices with `logits` of \["):
        runtime.infer(np.zeros((3, 1, SIZE, SIZE), np.uint8))


def test_goldens_of_another_shape_are_refused_not_broadcast(bundle: Bundle) -> None:
    slices, expected = read_golden(bundle)
    for classes in (1, 4):  # numpy would take the one for three
        with pytest.raises(BundleError, match=rf"probabilities are \[3, {classes}\], the original's \[3, 3\]"):
            compare(Answering(probabilities=np.zeros((3, classes), np.float32)), slices, expected, 1e-4)


def test_a_bug_of_ours_keeps_its_traceback_and_a_gpus_failure_names_the_device(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = np.zeros((1, 1, SIZE, SIZE), np.uint8)
    failure = type("Fail", (Exception,), {"__module__": "onnxruntime.capi.onnxruntime_pybind11_state"})
    with open_runtime(bundle, runtime="onnxruntime", device="cpu", max_batch=1, options=ONE_THREAD) as runtime:
        bound = type("Bound", (), {"run": raising(KeyError("a bug"))})
        monkeypatch.setattr(runtime, "_bound", bound())
        with pytest.raises(KeyError):
            runtime.infer(batch)
        bound.run = raising(failure("CUDA failure 700"))  # type: ignore[attr-defined]
        monkeypatch.setattr(runtime, "_device", Device("cuda"))
        with pytest.raises(DeviceError, match=r"cannot run model\.onnx on cuda:0: CUDA failure 700.*--device cpu"):
            runtime.infer(batch)
