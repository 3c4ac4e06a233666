"""`lits-deploy export BUNDLE --trt`: engines from a bundle, without PyTorch and without a GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from lits_deploy.bundle import Bundle
from lits_deploy.nvidia import gpu_here
from lits_deploy.trt.cache import EngineCache
from lits_deploy.trt.flavour import FLAVOURS, installed
from lits_deploy.trt.record import NOT_PROVEN
from tiny_bundle import make_tiny_bundle

needs_rtx = pytest.mark.skipif(not installed(FLAVOURS[1]), reason="TensorRT for RTX is not installed (extra trt-rtx)")
needs_no_gpu = pytest.mark.skipif(gpu_here(), reason="this machine has a GPU")

WITHOUT_TORCH = """
import sys
for name in ("torch", "onnx", "onnxruntime", "openvino", "train", "export.run"):
    sys.modules[name] = None  # importing it fails
from lits_deploy.__main__ import main
main()
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("trt") / "bundle", size=64, crop=56)


def export(*arguments: str | Path, code: str | None = None) -> subprocess.CompletedProcess[str]:
    start = ["-c", code] if code else ["-m", "lits_deploy"]
    return subprocess.run(
        [sys.executable, *start, "export", *map(str, arguments)], capture_output=True, text=True, timeout=120
    )


@needs_rtx
def test_a_bundle_gets_engines_without_pytorch_and_a_table(bundle: Bundle, tmp_path: Path) -> None:
    cross = ("--trt", "--trt-flavour", "rtx", "--compute-capability", "sm86,sm89", "--engine-cache", tmp_path / "e")
    done = export(bundle.folder, *cross, code=WITHOUT_TORCH)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("TensorRT for RTX 1.")
    assert "building the TensorRT for RTX engine of fp32: there is none yet" in lines
    row = next(line for line in lines if line.startswith("fp32 "))
    assert "(of 3, build log)" in row
    assert "sm86+sm89  1/32/64" in row
    assert row.endswith(NOT_PROVEN)
    assert "Not a medical device, not for clinical use." in lines
    (record,) = EngineCache(tmp_path / "e").records()
    assert record.key.bundle == bundle.sha256
    assert record.key.targets == ("sm86", "sm89")
    assert record.proof is None
    assert bundle.problems() == []  # nothing was written into it

    again = export(bundle.folder, *cross)
    assert again.returncode == 0, again.stderr
    assert "building" not in again.stdout
    assert "found" in again.stdout

    smaller = export(bundle.folder, *cross, "--max-batch", "4")
    assert "building the TensorRT for RTX engine of fp32: batches 1/32/64 → 1/4/4" in smaller.stdout
    assert len(EngineCache(tmp_path / "e").records()) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--max-batch", "8"), "without --trt"),
        ((), "is a bundle already"),
        (("--trt", "--fp16"), "is a bundle already"),
        (("--trt", "--compute-capability", "ampere"), "sm86,sm89"),
        (("--trt", "--trt-flavour", "triton"), "auto, tensorrt, rtx"),
    ],
)
def test_what_cannot_be_meant_is_one_line(bundle: Bundle, arguments: tuple[str, ...], message: str) -> None:
    if "--fp16" in arguments:
        arguments = (*arguments, "--compute-capability", "sm86")
        if not installed(FLAVOURS[1]):
            pytest.skip("TensorRT for RTX is not installed (extra trt-rtx)")
    done = export(bundle.folder, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@needs_rtx
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--compute-capability", "sm87"), "does not know sm87"),
        (("--compute-capability", "sm86", "--precision", "int8"), "has no int8 file for TensorRT (it has: fp32, tf32)"),
        (("--compute-capability", "sm86", "--opt-batch", "8", "--max-batch", "4"), "--opt-batch ≤ --max-batch"),
    ],
)
def test_what_cannot_be_built_is_one_line(
    bundle: Bundle, arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    done = export(bundle.folder, "--trt", "--engine-cache", tmp_path, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@needs_no_gpu
def test_without_a_gpu_both_ways_out_are_named(bundle: Bundle) -> None:
    done = export(bundle.folder, "--trt")
    assert done.returncode == 2
    assert "There is no NVIDIA GPU here" in done.stderr
    assert "--compute-capability sm86,sm89" in done.stderr


@needs_no_gpu
@needs_rtx
def test_classify_says_that_tensorrt_needs_a_gpu(bundle: Bundle, tmp_path: Path) -> None:
    Image.new("L", (64, 64), 90).save(tmp_path / "slice.png")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "lits_deploy",
            "classify",
            bundle.folder,
            tmp_path,
            "--runtime",
            "tensorrt",
            "--out",
            tmp_path / "out",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert "no NVIDIA GPU" in done.stderr
    assert "Traceback" not in done.stderr
