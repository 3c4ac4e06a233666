"""TF32: the FP32 file on a GPU that multiplies in TF32, as a precision of its own, and refused where it is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fake_libcuda
from fake_libcuda import FakeLibcuda
from folder_runs import rows
from lits_deploy import verify as verify_module
from lits_deploy.backends import choose, open_runtime
from lits_deploy.bundle import Bundle
from lits_deploy.errors import BundleError, DeviceError, EngineError
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.run import run_folder
from lits_deploy.run_json import read_run_json
from lits_deploy.runtime import onnxruntime_
from lits_deploy.trt import open as trt_open
from lits_deploy.trt.cache import EngineCache
from lits_deploy.trt.key import OptimisationProfile
from lits_deploy.trt.layers import keeps_promise
from lits_deploy.trt.prepare import EngineJob, artifacts_for, prepare
from pictures import folder_of_slices
from recording_cuda import RecordingCuda
from recording_onnxruntime import CUDA, FakeOrt
from tiny_bundle import make_tiny_bundle
from trt_fakes import fake_library


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("tf32") / "bundle")


@pytest.fixture
def ort(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOrt]:
    """An ONNX Runtime with CUDA on an L4."""
    library = FakeOrt([CUDA, "CPUExecutionProvider"])
    fake_libcuda.put_in(monkeypatch, FakeLibcuda(), driver="580.95.05")
    monkeypatch.setattr(onnxruntime_, "import_onnxruntime", lambda: library)
    monkeypatch.setattr(trt_open.flavour, "installed", lambda: False)
    yield library
    fake_libcuda.forget()


def test_it_is_the_fp32_file_held_by_what_fp16_is_held_by(bundle: Bundle) -> None:
    fp32, tf32 = bundle.artifact("fp32"), bundle.artifact("tf32")
    assert (tf32.file, tf32.sha256, tf32.temperature) == (fp32.file, fp32.sha256, fp32.temperature)
    assert (fp32.tolerance, tf32.tolerance) == (1e-5, 1e-3)
    assert tf32 not in bundle.manifest.artifacts
    assert tf32.placed_for("tensorrt", "cuda:0")
    assert not tf32.placed_for("onnxruntime", "cpu")


def test_only_tf32_allows_it(bundle: Bundle, ort: FakeOrt) -> None:
    for precision, allowed in (("tf32", 1), ("fp32", 0)):
        artifact, runtime, device = choose(bundle, precision)
        assert (artifact.name, runtime, device) == (precision, "onnxruntime", "cuda:0")
        with open_runtime(bundle, runtime=runtime, device=device, artifact=artifact) as opened:
            assert opened.describe().precision == precision
        assert ort.asked == [(CUDA, {"device_id": 0, "use_tf32": allowed})]


def test_a_run_is_recorded_as_tf32(bundle: Bundle, ort: FakeOrt, tmp_path: Path) -> None:
    scans, out = folder_of_slices(tmp_path / "scans", 2, size=256), tmp_path / "out"
    summary = run_folder(bundle, [scans], out, options=ClassifyOptions(precision="tf32", workers=1))
    assert summary.device == "cuda:0"
    run = read_run_json(summary.run_json)
    assert (run["identity"]["precision"], run["identity"]["artifact"]) == ("tf32", "tf32")
    assert run["runtime"]["precision"] == "tf32"
    assert [(row["artifact"], row["precision"], row["reason"]) for row in rows(out)] == [("tf32", "tf32", "")] * 2


def test_it_is_refused_in_one_line_on_a_cpu_and_on_an_older_gpu(
    bundle: Bundle, ort: FakeOrt, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = r"^TF32 needs an NVIDIA GPU of Ampere or later .*: \w+ on {} is none\. Fix: --precision fp32$"
    for device, where in (("cpu", "cpu"), ("auto", "cuda:0")):
        if device == "auto":
            fake_libcuda.put_in(monkeypatch, FakeLibcuda(name="Tesla T4", capability=(7, 5)), driver="580.95.05")
        with pytest.raises(DeviceError, match=refusal.format(where)):
            choose(bundle, "tf32", device=device)
        with pytest.raises(DeviceError, match=refusal.format(where)):
            open_runtime(bundle, device=device, artifact=bundle.artifact("tf32"))
    assert choose(bundle, "fp32")[1:] == ("onnxruntime", "cuda:0")


@pytest.mark.parametrize("capability", [(8, 0), (7, 5)])
def test_verify_holds_it_to_the_goldens_where_it_runs(
    bundle: Bundle, ort: FakeOrt, capability: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_libcuda.put_in(monkeypatch, FakeLibcuda(capability=capability), driver="580.95.05")
    checked: list[tuple[str, str, float]] = []

    def check(_bundle: Any, *, artifact: Any, device: str, **_: Any) -> None:
        checked.append((artifact.name, device, artifact.tolerance))
        raise BundleError("not opened")

    monkeypatch.setattr(verify_module, "open_runtime", check)
    verify_module.verify(bundle.folder)
    assert ("fp32", "cuda:0", 1e-5) in checked
    assert (("tf32", "cuda:0", 1e-3) in checked) == (capability >= (8, 0))
    assert not any(name == "tf32" and device == "cpu" for name, device, _ in checked)


def test_its_engine_is_its_own_and_refused_for_older_gpus(bundle: Bundle, tmp_path: Path) -> None:
    given: dict[str, Any] = {"bundle": bundle, "library": fake_library("rtx"), "cache": EngineCache(tmp_path / "e")}
    here = {**given, "cuda": RecordingCuda()}
    keys = [EngineJob(artifact=bundle.artifact(name), **here).key(OptimisationProfile()) for name in ("fp32", "tf32")]
    assert keys[0].digest != keys[1].digest
    assert not keys[0].serves(keys[1])
    assert [artifact.name for artifact in artifacts_for(bundle, ("tf32",))] == ["tf32"]
    assert "tf32" not in [artifact.name for artifact in artifacts_for(bundle)]
    with pytest.raises(DeviceError, match=r"Ampere or later .*: sm75 is older"):
        prepare(EngineJob(artifact=bundle.artifact("tf32"), targets=("sm75", "sm86"), **given), OptimisationProfile())
    with pytest.raises(EngineError, match="does not know sm75"):  # as before
        prepare(EngineJob(artifact=bundle.artifact("fp32"), targets=("sm75",), **given), OptimisationProfile())


def test_layers_of_a_tf32_engine_are_listed_as_fp32() -> None:
    assert keeps_promise({"fp32": 21}, "tf32")
    assert not keeps_promise({"fp16": 21}, "tf32")
