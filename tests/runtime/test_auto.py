"""`auto` on a machine with a GPU that does not work: one line says what was found, and the CPU is taken."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

import fake_libcuda
from fake_libcuda import FakeLibcuda
from lits_deploy import backends, nvidia
from lits_deploy.backends import open_runtime, resolve, targets
from lits_deploy.cli.app import app
from lits_deploy.errors import DeviceError
from lits_deploy.nvidia import Trouble
from lits_deploy.runtime import Device, onnxruntime_, openvino_
from lits_deploy.trt import bindings
from lits_deploy.trt import open as trt_open
from recording_onnxruntime import CUDA, FakeOrt
from tiny_bundle import make_tiny_bundle

ON_THE_CPU = ("openvino" if openvino_.installed() else "onnxruntime", Device("cpu"))


@pytest.fixture(autouse=True)
def _as_new() -> Iterator[None]:
    yield
    fake_libcuda.forget()


@pytest.fixture
def with_cuda(monkeypatch: pytest.MonkeyPatch) -> FakeOrt:
    """An ONNX Runtime for CUDA 13 that works on whatever GPU there is; no TensorRT."""
    ort = FakeOrt([CUDA, "CPUExecutionProvider"])
    monkeypatch.setattr(onnxruntime_, "import_onnxruntime", lambda: ort)
    monkeypatch.setattr(trt_open.flavour, "installed", lambda: False)
    return ort


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == backends.__name__]


FOUND = [
    pytest.param(
        FakeLibcuda(cuda=12_040),
        "550.54.15",
        {},
        r"driver 550\.54\.15 runs CUDA 12\.4, and ONNX Runtime 1\.31\.1 is built for CUDA 13: driver 580 needed.*"
        r"Fix: install driver 580 or newer, or wheels for CUDA 12",
        id="driver too old",
    ),
    pytest.param(None, "580.95.05", {}, r"libcuda\.so\.1, is missing.*--gpus all", id="no libcuda"),
    pytest.param(
        FakeLibcuda(start=100),
        None,
        {},
        r"does not start \(CUDA_ERROR_NO_DEVICE; its driver is not loaded\)",
        id="driver not loaded",
    ),
    pytest.param(FakeLibcuda(start=803), "580.95.05", {}, r"\(error 803; driver 580.*reboot", id="half an update"),
    pytest.param(
        FakeLibcuda(), "580.95.05", {"CUDA_VISIBLE_DEVICES": ""}, "CUDA_VISIBLE_DEVICES hides every GPU", id="hidden"
    ),
    pytest.param(
        FakeLibcuda(free=310),
        "580.95.05",
        {},
        r"NVIDIA L4 has 310 of 15,360 MiB free, and 1,024 are wanted",
        id="memory taken",
    ),
    pytest.param(FakeLibcuda(context=2), "580.95.05", {}, "NVIDIA L4 has 0 MiB free", id="no room for a context"),
    pytest.param(
        FakeLibcuda(context=46),
        "580.95.05",
        {},
        "NVIDIA L4 cannot be used now: CUDA_ERROR_DEVICE_UNAVAILABLE",
        id="taken for itself",
    ),
    pytest.param(
        FakeLibcuda(name="NVIDIA H100 MIG 1g.5gb", total=700, free=600),
        "580.95.05",
        {},
        r"H100 MIG 1g\.5gb has 600 of 700 MiB free",
        id="small MIG slice",
    ),
]


@pytest.mark.parametrize(("library", "driver", "environment", "says"), FOUND)
def test_auto_tells_once_what_it_found_and_takes_the_cpu(
    library: FakeLibcuda | None,
    driver: str | None,
    environment: dict[str, str],
    says: str,
    with_cuda: FakeOrt,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fake_libcuda.put_in(monkeypatch, library, driver=driver)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert resolve("auto", "auto") == ON_THE_CPU
            assert {device for _, device in targets()} == {"cpu"}
    (line,) = lines(caplog)
    assert line.startswith("note: running on the CPU, not on the NVIDIA GPU: ")
    assert re.search(says, line)
    assert with_cuda.asked == [], "nothing was put on such a GPU"
    assert library is None or library.contexts == 0


def test_auto_takes_the_gpu_that_works_and_says_nothing(
    with_cuda: FakeOrt, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    library = FakeLibcuda(name="NVIDIA H100 MIG 1g.10gb", total=9_728, free=9_000)
    fake_libcuda.put_in(monkeypatch, library, driver="580.95.05")
    assert resolve("auto", "auto") == resolve("onnxruntime", "auto") == ("onnxruntime", Device("cuda"))
    assert ("onnxruntime", "cuda:0") in targets()
    assert lines(caplog) == []
    assert library.contexts == 0


def test_memory_of_a_whole_machine_counts_with_its_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_libcuda.put_in(monkeypatch, FakeLibcuda(free=200, integrated=True), driver="36.4.3")
    monkeypatch.setattr(nvidia, "proc_value", lambda *_: "6000000 kB")
    assert nvidia.memory_trouble() is None


def test_a_newer_minor_version_of_cuda_is_no_reason(with_cuda: FakeOrt, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a major version every driver of it will do: 525 runs what CUDA 12.9 has built."""
    with_cuda.cuda_version = "12.9"
    fake_libcuda.put_in(monkeypatch, FakeLibcuda(cuda=12_000), driver="525.147.05")
    assert resolve("auto", "auto") == ("onnxruntime", Device("cuda"))


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        ({"gives": ["CPUExecutionProvider"]}, "does not load .libcublasLt.so.13 is missing"),
        (
            {"refuses": RuntimeError("x.cc:63 CUDA failure 35: too old ; GPU=-1 ; hostname=ward7")},
            ": CUDA failure 35: ",
        ),
        ({"fails": "CUDNN failure 1001: CUDNN_STATUS_NOT_INITIALIZED"}, "cannot compute on it: CUDNN failure 1001"),
    ],
)
def test_auto_finds_out_by_computing(
    breaks: dict[str, Any],
    says: str,
    with_cuda: FakeOrt,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What only shows when the libraries are loaded or run: no cuDNN, half of CUDA, a GPU they are not built for."""
    vars(with_cuda).update(breaks)
    fake_libcuda.put_in(monkeypatch, FakeLibcuda(), driver="580.95.05")
    monkeypatch.setattr(onnxruntime_.ctypes, "CDLL", missing_cublas if "gives" in breaks else lambda _: None)
    assert resolve("auto", "auto") == ON_THE_CPU
    (line,) = lines(caplog)
    assert re.search(says, line)
    assert "ward7" not in line


def missing_cublas(path: str) -> Any:
    if path.endswith("cuda.so"):
        raise OSError("libcublasLt.so.13: cannot open shared object file: No such file or directory")
    return SimpleNamespace()


def test_a_named_device_is_refused_with_the_cause(
    with_cuda: FakeOrt, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle")
    fake_libcuda.put_in(monkeypatch, FakeLibcuda(cuda=12_040), driver="550.54.15")
    for runtime in ("auto", "onnxruntime"):
        with pytest.raises(
            DeviceError, match=r"cannot use cuda:0: driver 550\.54\.15 runs CUDA 12\.4.*580 needed\. Fix"
        ):
            open_runtime(bundle, runtime=runtime, device="cuda")
    insufficient = (35, None)
    module = SimpleNamespace(cudaGetDeviceCount=lambda: insufficient, cudaRuntimeGetVersion=lambda: (0, 13_050))
    monkeypatch.setattr(bindings.importlib, "import_module", lambda _: module)
    for device in ("auto", "cuda"):
        with pytest.raises(DeviceError, match=r"does not start: driver 550\.54.*cuda-bindings is built for CUDA 13: d"):
            open_runtime(bundle, runtime="tensorrt", device=device)
    assert lines(caplog) == []


def test_a_named_device_is_not_refused_for_what_another_program_holds(
    with_cuda: FakeOrt, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake_libcuda.put_in(monkeypatch, FakeLibcuda(free=100), driver="580.95.05")
    with open_runtime(make_tiny_bundle(tmp_path / "bundle"), runtime="onnxruntime", device="cuda:1") as opened:
        assert opened.describe().device == "cuda:1"


def test_without_cuda_in_the_wheel_auto_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fake_libcuda.put_in(monkeypatch, FakeLibcuda(), driver="580.95.05")
    if "CUDAExecutionProvider" in onnxruntime_.import_onnxruntime().get_available_providers():
        pytest.skip("the wheel here has CUDA")
    monkeypatch.setattr(trt_open.flavour, "installed", lambda: False)
    assert resolve("auto", "auto") == ON_THE_CPU
    (line,) = lines(caplog)
    assert re.search(r"ONNX Runtime \S+ is built without CUDA; TensorRT is not installed\. Fix: .*\[gpu\]", line)


def test_the_real_cuda_wheel_without_its_libraries_names_the_first_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ort = onnxruntime_.import_onnxruntime()
    if CUDA not in ort.get_available_providers():
        pytest.skip("ONNX Runtime is built without CUDA here")
    if nvidia.gpu_here():
        pytest.skip("this machine has a GPU")
    fake_libcuda.put_in(monkeypatch, FakeLibcuda(), driver="580.95.05")
    trouble = onnxruntime_.cuda_trouble()
    assert trouble is not None
    assert re.search(r"its CUDA provider does not load \(lib(cu\w+|nv\w+)\.so\.\d+ is missing", trouble.found)
    assert capfd.readouterr() == ("", "")


def test_the_network_of_one_node_is_what_it_is_said_to_be() -> None:
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 1, s, s]) for n, s in (("x", 2), ("y", 1)))
    weights = helper.make_tensor("w", TensorProto.FLOAT, [1, 1, 2, 2], [1.0] * 4)
    graph = helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y"])], "", [x], [y], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    assert onnx.load_from_string(onnxruntime_._ONE_NODE.data) == model
    network = onnxruntime_.import_onnxruntime().InferenceSession(onnxruntime_._ONE_NODE.data)
    assert network.run(None, {"x": np.ones((1, 1, 2, 2), np.float32)})[0] == 4


def test_the_commands_say_it_and_end_well(with_cuda: FakeOrt, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle")
    monkeypatch.undo()  # the library that is here
    fake_libcuda.put_in(monkeypatch, FakeLibcuda(cuda=12_040), driver="550.54.15")
    done = CliRunner().invoke(app, ["verify", str(bundle.folder)], catch_exceptions=False)
    assert (done.exit_code, " ".join(done.output.split()).count("running on the CPU, not on")) == (0, 1), done.output


def test_without_a_gpu_nothing_is_asked_and_nothing_imported() -> None:
    if nvidia.gpu_here():
        pytest.skip("this machine has a GPU")
    code = (
        "import sys; from lits_deploy.backends import targets; targets();"
        "sys.exit(bool({'onnxruntime', 'openvino', 'tensorrt', 'tensorrt_rtx_bindings', 'cuda'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert (
        onnxruntime_.cuda_trouble()
        == trt_open.tensorrt_trouble()
        == Trouble("there is no NVIDIA GPU here", "--device cpu")
    )


@pytest.mark.parametrize("path", ["/dev/nvidiactl", "/dev/nvhost-gpu", "/usr/lib/wsl/lib/libcuda.so.1"])
def test_a_gpu_shows_on_a_pc_a_jetson_and_under_wsl(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(Path, "exists", lambda self: str(self) == path)
    assert nvidia.gpu_here()
    monkeypatch.setattr(Path, "exists", lambda self: str(self) == "/dev/dxg")
    assert not nvidia.gpu_here()
