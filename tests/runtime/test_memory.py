"""A tiny file whose graph asks for gigabytes: one line, and the machine keeps its memory."""

from __future__ import annotations

import dataclasses
import resource
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lits_deploy.bundle import Bundle
from lits_deploy.files import sha256_file
from lits_deploy.runtime import memory, openvino_
from tiny_bundle import make_tiny_bundle, with_manifest

needs_openvino = pytest.mark.skipif(not openvino_.installed(), reason="OpenVINO is not installed")

ASK = """
import sys
from pathlib import Path
import numpy as np
from lits_deploy.bundle import Bundle
from lits_deploy.errors import BundleError, DeviceOutOfMemory
from lits_deploy.machine import peak_resident_bytes
from lits_deploy.backends import open_runtime
from lits_deploy.runtime import RuntimeOptions
bundle, two = Bundle.open(Path(sys.argv[1])), RuntimeOptions(threads=2)
try:
    with open_runtime(bundle, runtime=sys.argv[2], device="cpu", max_batch=1, options=two) as it:
        it.infer(np.zeros((1, 1, 32, 32), np.uint8))
except (BundleError, DeviceOutOfMemory) as error:
    print(type(error).__name__, error)
print(peak_resident_bytes() >> 20)
"""


def greedy(folder: Path, how: str) -> Bundle:
    """The tiny network, to whose logits the mean of a tensor of 4.4 GB is added: known at the load, or of the input."""
    bundle = make_tiny_bundle(folder, size=32, crop=28)
    path = bundle.folder / "model.onnx"
    model = onnx.load(path)
    shape = numpy_helper.from_array(np.array([17, 64, 1000, 1000], np.int64), "huge_shape")
    model.graph.initializer.append(shape)
    if how == "constant":
        nodes = [helper.make_node("ConstantOfShape", ["huge_shape"], ["huge"])]
    else:  # it grows out of the slices, so nothing can be known before they come
        nodes = [
            helper.make_node("ReduceMax", ["float"], ["brightest"], keepdims=0),
            helper.make_node("Expand", ["brightest", "huge_shape"], ["huge"]),
        ]
    nodes += [
        helper.make_node("Relu", ["huge"], ["not_fused"]),
        helper.make_node("ReduceMean", ["not_fused"], ["small"], keepdims=0),
        helper.make_node("Add", ["small_logits", "small"], ["logits"]),
    ]
    for node in model.graph.node:
        node.output[:] = ["small_logits" if name == "logits" else name for name in node.output]
    last = model.graph.node.pop()  # the softmax
    model.graph.node.extend([*nodes, last])
    assert model.graph.initializer[0].data_type == TensorProto.INT64
    path.write_bytes(model.SerializeToString())
    artifact = dataclasses.replace(bundle.artifact(), sha256=sha256_file(path), bytes=path.stat().st_size)
    return with_manifest(bundle, artifacts=(artifact,))


@pytest.mark.parametrize("how", ["constant", "of the input"])
@pytest.mark.parametrize("runtime", ["onnxruntime", pytest.param("openvino", marks=needs_openvino)])
def test_a_graph_that_asks_for_gigabytes_gets_none(tmp_path: Path, runtime: str, how: str) -> None:
    bundle = greedy(tmp_path / "bundle", how)
    assert (bundle.folder / "model.onnx").stat().st_size < 10_000
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(bundle.folder), runtime], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said, peak_mib = done.stdout.splitlines()
    assert said.startswith(("BundleError", "DeviceOutOfMemory")), said
    assert int(peak_mib) < 2500


def test_limits_are_put_back_and_lanes_have_one_each(monkeypatch: pytest.MonkeyPatch) -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    inside: list[int] = []
    both = threading.Barrier(2)

    def lane() -> None:
        with memory.bounded(1 << 30):
            both.wait(10)
            inside.append(resource.getrlimit(resource.RLIMIT_DATA)[0])
            both.wait(10)

    lanes = [threading.Thread(target=lane) for _ in range(2)]
    for thread in lanes:
        thread.start()
    for thread in lanes:
        thread.join()
    assert inside[0] == inside[1]
    assert inside[0] > 2 << 30
    monkeypatch.setattr(memory, "_free", lambda: 400 << 20)
    usage = memory._usage
    monkeypatch.setattr(memory, "_usage", lambda: (usage()[0], 0))
    with memory.bounded(64 << 30):
        assert resource.getrlimit(resource.RLIMIT_DATA)[0] <= memory._base + (300 << 20)
    with memory.bounded(256 << 20):
        alone = resource.getrlimit(resource.RLIMIT_DATA)[0]
        with pytest.raises(MemoryError):
            bytearray(1 << 30)
    assert alone < inside[0]
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


@pytest.mark.parametrize("limit", [None, 8 << 30])
def test_bound_after_bound_does_not_creep_up_to_all_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, limit: int | None
) -> None:
    """A library may keep what a batch took, so that the next bound starts from there; a container has its own end."""
    machine, held = 24 << 30, 1 << 30
    monkeypatch.setattr(memory, "_of_group", lambda: limit or 1 << 50)
    monkeypatch.setattr(memory, "_free", lambda: machine - held)
    usage = memory._usage
    monkeypatch.setattr(memory, "_usage", lambda: (usage()[0], held))
    for _ in range(50):
        with memory.bounded(64 << 30):
            taken = resource.getrlimit(resource.RLIMIT_DATA)[0] - memory._base
        if taken <= memory._LEAST:
            break
        held += taken
    assert held <= (limit or machine) * 3 // 4
    assert taken == memory._LEAST
