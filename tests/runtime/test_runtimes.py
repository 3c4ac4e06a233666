"""The seam: validated once, strict about devices, honest about what is in use."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fake_runtime import FakeRuntime
from lits_deploy.backends import open_runtime, resolve, targets
from lits_deploy.bundle import Bundle
from lits_deploy.errors import BundleError, ContractError, DeviceError, DeviceOutOfMemory, MissingExtra, UserError
from lits_deploy.model_file import ModelFile
from lits_deploy.nvidia import gpu_here
from lits_deploy.runtime import Device, RuntimeOptions, onnxruntime_, openvino_
from lits_deploy.runtime.openvino_ import OpenVino
from tiny_bundle import make_tiny_bundle

needs_openvino = pytest.mark.skipif(not openvino_.installed(), reason="OpenVINO is not installed")

NO_NETWORKS = [ModelFile("empty.onnx", b"\x08\x09"), ModelFile.of("empty.onnx", [b"\x08\x09"])]
"""Of bytes, and by a path."""
"""An ONNX file with nothing in it but its version."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("runtime") / "bundle")


def slices(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 1, 256, 256)).astype(np.uint8)


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((1, 1, 256, 256), np.float32),
        np.zeros((1, 256, 256), np.uint8),
        np.zeros((1, 1, 224, 224), np.uint8),
        np.zeros((0, 1, 256, 256), np.uint8),
        np.zeros((5, 1, 256, 256), np.uint8),
    ],
)
def test_wrong_batches_are_refused_by_the_base(batch: np.ndarray) -> None:
    runtime = FakeRuntime(max_batch=4)
    with pytest.raises(ContractError, match="Fix: "):
        runtime.infer(batch)
    assert runtime.batches == []


def test_fake_is_out_of_memory_when_told() -> None:
    runtime = FakeRuntime(max_batch=8, memory_for=2)
    with pytest.raises(DeviceOutOfMemory):
        runtime.infer(slices(3))
    assert runtime.infer(slices(2)).probabilities is not None


def test_onnxruntime_runs_and_describes_itself(bundle: Bundle) -> None:
    with open_runtime(bundle, runtime="onnxruntime", device="cpu", max_batch=4) as runtime:
        outputs = runtime.infer(slices(3))
        info = runtime.describe()
    assert outputs.logits is not None
    assert outputs.probabilities is not None
    assert outputs.logits.shape == outputs.probabilities.shape == (3, 3)
    assert outputs.probabilities.sum(axis=1) == pytest.approx(1)
    assert (info.name, info.device, info.precision) == ("onnxruntime", "cpu", "fp32")
    assert info.providers == ("CPUExecutionProvider",)


@needs_openvino
def test_openvino_is_the_default_on_the_cpu_and_computes_the_same(bundle: Bundle) -> None:
    with open_runtime(bundle, device="cpu", max_batch=4) as runtime:
        first, info = runtime.infer(slices(3)), runtime.describe()
        again = runtime.infer(slices(4))
    with open_runtime(bundle, runtime="onnxruntime", device="cpu", max_batch=4) as runtime:
        expected = runtime.infer(slices(3))
    assert (info.name, info.device, info.providers) == ("openvino", "cpu", ("CPU",))
    assert first.probabilities == pytest.approx(expected.probabilities, abs=1e-6)
    assert first.logits == pytest.approx(expected.logits, abs=1e-5)
    assert again.logits is not None
    assert len(again.logits) == 4


@pytest.mark.parametrize("name", ["onnxruntime", pytest.param("openvino", marks=needs_openvino)])
def test_lanes_compute_at_once_what_one_does(name: str, bundle: Bundle) -> None:
    parts = [slices(1 + number % 4) for number in range(12)]
    with open_runtime(bundle, runtime=name, device="cpu", options=RuntimeOptions(threads=2)) as one:
        assert one.lanes == 1
        expected = [one.infer(part).logits for part in parts]
    shared = RuntimeOptions(threads=2, lanes=2)
    with open_runtime(bundle, runtime=name, device="cpu", options=shared) as both, ThreadPoolExecutor(2) as threads:
        assert both.lanes == 2
        found = [outputs.logits for outputs in threads.map(both.infer, parts)]
    for a, b in zip(expected, found, strict=True):
        assert a is not None
        assert b is not None
        np.testing.assert_allclose(a, b, atol=1e-6)


WITHOUT_CONVERTER = """
import sys
from lits_deploy.runtime.openvino_ import import_openvino

ov = import_openvino()
assert "openvino.tools.ovc" not in sys.modules
assert not hasattr(ov, "no_such_thing")
assert callable(ov.convert_model)
assert import_openvino() is ov
"""


@needs_openvino
def test_openvino_s_converter_is_loaded_for_whoever_asks_and_for_nobody_else() -> None:
    """In a process of its own: another test may have loaded it."""
    assert subprocess.run([sys.executable, "-c", WITHOUT_CONVERTER], check=False).returncode == 0


TWO_NETWORKS = """
import gc, signal, sys
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from pathlib import Path
import numpy as np
from lits_deploy.bundle import Bundle
from lits_deploy.backends import open_runtime, targets

signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
bundle = Bundle.open(Path(sys.argv[1]))
two = [open_runtime(bundle, runtime="openvino", max_batch=1) for _ in range(2)]
for network in two:
    network.infer(np.zeros((1, *network.shape), np.uint8))
while two:
    two.pop(0).close()
gc.collect()
signal.raise_signal(signal.SIGUSR1)
"""


@needs_openvino
def test_a_signal_after_two_openvino_networks(bundle: Bundle) -> None:
    """OpenVINO leaves a freed signal stack behind: in a process of its own, since a failure is a crash."""
    done = subprocess.run(
        [sys.executable, "-c", TWO_NETWORKS, str(bundle.folder)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


@needs_openvino
@pytest.mark.parametrize("no_network", NO_NETWORKS)
def test_openvino_refuses_a_gpu_and_a_file_that_is_no_network(bundle: Bundle, no_network: ModelFile) -> None:
    with pytest.raises(DeviceError, match="not on cuda:0"):
        open_runtime(bundle, runtime="openvino", device="cuda")
    with pytest.raises(BundleError, match="OpenVINO cannot load"):
        OpenVino(
            no_network,
            device=Device("cpu"),
            precision="fp32",
            shape=(1, 256, 256),
            wanted=("logits",),
            max_batch=1,
        )


def test_places_are_those_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_, "installed", lambda: False)
    assert ("onnxruntime", "cpu") in targets()
    assert resolve("auto", "cpu") == ("onnxruntime", Device("cpu"))
    monkeypatch.setattr(onnxruntime_, "installed", lambda: False)
    with pytest.raises(MissingExtra, match="pip install"):
        targets()


@pytest.mark.parametrize("name", ["onnxruntime", pytest.param("openvino", marks=needs_openvino)])
def test_a_network_is_loaded_by_path_or_of_bytes_and_nothing_of_it_stays_open(
    bundle: Bundle, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, answers = slices(2), []
    for sealed in (True, False):
        if not sealed:
            monkeypatch.delattr(os, "memfd_create")
        with bundle.read(bundle.artifact()) as model:
            assert isinstance(model.source, str if sealed else bytes)
        with open_runtime(bundle, runtime=name, device="cpu") as runtime:
            links = [path.readlink() for path in Path("/proc/self/fd").glob("*") if path.is_symlink()]
            assert not [link for link in links if bundle.artifact().file in link.name]
            answers.append(runtime.infer(batch).logits)
    assert answers[0] is not None
    assert (answers[0] == answers[1]).all()


@pytest.mark.parametrize("name", ["onnxruntime", pytest.param("openvino", marks=needs_openvino)])
def test_cpu_results_do_not_depend_on_the_batch(bundle: Bundle, name: str) -> None:
    batch = slices(6)
    with open_runtime(bundle, runtime=name, device="cpu", max_batch=6) as runtime:
        together = runtime.infer(batch).logits
        alone = np.concatenate([runtime.infer(batch[i : i + 1]).logits for i in range(6)])
    assert together is not None
    assert (together == alone).all()


@pytest.mark.skipif(gpu_here(), reason="this machine has a GPU")
def test_a_device_that_is_not_there_is_an_error(bundle: Bundle) -> None:
    for device in ("cuda", "cuda:3"):
        with pytest.raises(DeviceError, match=f"cannot use cuda:{device[5:] or 0}: there is no NVIDIA GPU"):
            open_runtime(bundle, device=device)


def test_unknown_names_say_which_there_are(bundle: Bundle) -> None:
    with pytest.raises(DeviceError, match="auto, cpu, cuda or cuda:N"):
        open_runtime(bundle, device="gpu")
    with pytest.raises(UserError, match="one of: auto, onnxruntime"):
        open_runtime(bundle, runtime="tflite")


def test_device_names() -> None:
    auto = Device("cpu")
    assert str(Device.parse("cuda", auto=auto)) == "cuda:0"
    assert str(Device.parse("cuda:2", auto=auto)) == "cuda:2"
    assert Device.parse("auto", auto=auto) is auto


@pytest.mark.parametrize("no_network", NO_NETWORKS)
def test_a_file_that_is_no_network_is_named(no_network: ModelFile) -> None:
    from lits_deploy.runtime.onnxruntime_ import OnnxRuntime

    with pytest.raises(BundleError, match=r"cannot load empty\.onnx: \[ONNXRuntimeError\] [ :\w]* : No graph"):
        OnnxRuntime(
            no_network,
            device=Device("cpu"),
            precision="fp32",
            shape=(1, 256, 256),
            wanted=("logits",),
            max_batch=1,
        )
