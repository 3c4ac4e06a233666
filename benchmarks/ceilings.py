"""What this machine does at most, measured: reading, hashing, decoding, copying, matrix products, convolutions.

Each figure is the best of some repetitions: a ceiling is what was reached once. Needs onnx for the products.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.flops import count
from lits_deploy.backends import places
from lits_deploy.contract import InputContract
from lits_deploy.runtime.onnxruntime_ import import_onnxruntime
from lits_deploy.runtime.openvino_ import import_openvino
from lits_deploy.scans.image import load_slice

REPEATS = 5
GEMM_SIDE = 2048
CONV = {"channels": 256, "side": 28, "batch": 8}
"""The middle of a ResNet18, where most of its arithmetic lies."""

Caller = Callable[[], Any]


def best_seconds(step: Caller, repeats: int = REPEATS) -> float:
    """The fastest of some calls after one that is not timed."""
    step()
    found = []
    for _ in range(repeats):
        started = perf_counter()
        step()
        found.append(perf_counter() - started)
    return min(found)


def files_and_memory(files: Sequence[str], contract: InputContract, processes: int) -> dict[str, float]:
    """Rates on files that lie in the page cache, by one core unless it says otherwise."""
    paths = [Path(file) for file in files]
    data = [path.read_bytes() for path in paths]
    total = sum(map(len, data))
    block = np.ones(64 << 20, np.uint8)
    target = np.empty_like(block)
    slot, slots = np.ones(contract.shape, np.uint8), np.empty((64, *contract.shape), np.uint8)

    def fill() -> None:
        for place in slots:
            place[:] = slot

    found = {
        "file_bytes": total / len(paths),
        "read_mb_s": total / best_seconds(lambda: [path.read_bytes() for path in paths]) / 1e6,
        "hash_mb_s": total / best_seconds(lambda: [hashlib.sha256(some).digest() for some in data]) / 1e6,
        "decode_slices_s": len(paths) / best_seconds(lambda: [load_slice(path, contract) for path in paths], 3),
        "copy_gb_s": len(block) / best_seconds(lambda: np.copyto(target, block)) / 1e9,
        "slot_copy_slices_s": len(slots) / best_seconds(fill),
    }
    if processes > 1:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            parts = [files[start::processes] for start in range(processes)]
            work = [(part, contract) for part in parts]
            seconds = best_seconds(lambda: list(pool.map(_decode_all, work)), 3)
        found["decode_slices_s_all_cores"] = len(paths) / seconds
    return found


def _decode_all(work: tuple[Sequence[str], InputContract]) -> int:
    files, contract = work
    for file in files:
        load_slice(Path(file), contract)
    return len(files)


def arithmetic(threads: int) -> dict[str, float]:
    """GFLOP/s of one large product and one convolution, by library; INT8 counts the same multiply-adds."""
    side = GEMM_SIDE
    a, b = (np.random.default_rng(seed).standard_normal((side, side), dtype=np.float32) for seed in (1, 2))
    flops = 2.0 * side**3
    found = {"gemm fp32 numpy": flops / best_seconds(lambda: a @ b) / 1e9}
    try:
        import torch
    except ImportError:
        pass
    else:
        torch.set_num_threads(threads)
        x, y = torch.from_numpy(a), torch.from_numpy(b)
        found["gemm fp32 PyTorch"] = flops / best_seconds(lambda: x @ y) / 1e9
    conv = _convolution()
    work = count(conv).flops * CONV["batch"]
    picture = np.random.default_rng(3).random((CONV["batch"], CONV["channels"], CONV["side"], CONV["side"]), np.float32)
    graphs = [("gemm fp32", _product(b), a, flops), ("convolution fp32", conv, picture, float(work))]
    quantised = _int8(conv, picture)
    graphs += [("convolution int8", quantised, picture, float(work))] if quantised is not None else []
    for runtime in dict.fromkeys(name for name, device in places() if device == "cpu"):
        for name, graph, values, operations in graphs:
            call = _caller(runtime, graph, values, threads)
            found[f"{name} {runtime}"] = operations / best_seconds(call, 4 * REPEATS) / 1e9
    return found


def _caller(runtime: str, graph: onnx.ModelProto, values: np.ndarray[Any, Any], threads: int) -> Caller:
    with tempfile.TemporaryDirectory(prefix="lits-deploy-ceiling-") as folder:
        path = str(Path(folder, "one.onnx"))
        onnx.save(graph, path)
        if runtime == "openvino":
            ov = import_openvino()
            options = {
                "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32",
            }  # fmt: skip
            request = ov.Core().compile_model(path, "CPU", options).create_infer_request()
            tensor = ov.Tensor(values, shared_memory=True)
            return lambda: request.infer({0: tensor})
        ort = import_onnxruntime()
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = threads
        session = ort.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, {"x": values})


def _product(weight: np.ndarray[Any, Any]) -> onnx.ModelProto:
    side = len(weight)
    return _model([helper.make_node("MatMul", ["x", "w"], ["y"], name="product")], weight, [side, side], [side, side])


def _convolution() -> onnx.ModelProto:
    channels, side = CONV["channels"], CONV["side"]
    weight = np.random.default_rng(4).standard_normal((channels, channels, 3, 3), dtype=np.float32) / 48
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], name="convolution", kernel_shape=[3, 3], pads=[1, 1, 1, 1])]
    shape: list[int | str] = ["N", channels, side, side]
    return _model(nodes, weight, shape, shape)


def _model(
    nodes: list[onnx.NodeProto], weight: np.ndarray[Any, Any], given: Sequence[int | str], made: Sequence[int | str]
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "one", [helper.make_tensor_value_info("x", TensorProto.FLOAT, given)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, made)], [numpy_helper.from_array(weight, "w")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def _int8(model: onnx.ModelProto, picture: np.ndarray[Any, Any]) -> onnx.ModelProto | None:
    """The convolution as ONNX Runtime's quantiser writes it, ranges from the picture itself; None without the tool."""
    try:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    except ImportError:
        return None

    class Once(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = [{"x": picture}]

        def get_next(self) -> dict[str, Any] | None:
            return self.left.pop() if self.left else None

    with tempfile.TemporaryDirectory(prefix="lits-deploy-ceiling-") as folder:
        source, target = Path(folder, "a.onnx"), Path(folder, "b.onnx")
        onnx.save(model, source)
        quantize_static(source, target, Once(), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=True)
        return onnx.load(target)
