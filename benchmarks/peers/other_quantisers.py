"""The same FP32 graph quantised by others: NVIDIA ModelOpt, and onnxruntime.quantization with its own calibration.

    python -m benchmarks.quantisers RUN --data DATA --dump FOLDER        # the graph and the calibration slices
    python benchmarks/peers/other_quantisers.py FOLDER                   # → FOLDER/<tool>-<method>.onnx

Run as a file, in an environment that has `nvidia-modelopt` (it pins old versions of what is in ours: install it with
--no-deps into one of its own); without it ModelOpt is left out, and a line says so. Entropy and percentile keep every
activation of every slice in memory, so they see a quarter of the slices with ModelOpt and an eighth with ONNX Runtime.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

Slices = npt.NDArray[np.uint8]

MODEL, CALIBRATION = "fp32.onnx", "calibration.npy"


def modelopt(folder: Path, slices: Slices, method: str) -> Path:
    """ModelOpt's INT8 for TensorRT: residual branches quantised, biases and the rest in FP32. method: max, entropy."""
    from modelopt.onnx.quantization import quantize

    path = folder / f"modelopt-{method}.onnx"
    quantize(
        str(folder / MODEL), quantize_mode="int8", calibration_data=slices, calibration_method=method,
        calibration_eps=["cpu"], high_precision_dtype="fp32", output_path=str(path), log_level="ERROR",
    )  # fmt: skip
    return path


def onnxruntime_static(folder: Path, slices: Slices, method: str) -> Path:
    """`quantize_static` as it comes, per channel and in 7 bits: Q/DQ for CPUs. method: MinMax, Entropy, Percentile."""
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc] # no type stubs
        def __init__(self) -> None:
            self.left = iter(slices)

        def get_next(self) -> dict[str, Any] | None:
            picture = next(self.left, None)
            return None if picture is None else {"slices": picture[None]}

    path = folder / f"onnxruntime-{method.lower()}.onnx"
    quantize_static(
        str(folder / MODEL), str(path), Reader(), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=True,
        calibrate_method=CalibrationMethod[method],
    )  # fmt: skip
    return path


def main(folder: Path) -> int:
    """Every tool and method in turn; a line for each file."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # lits_deploy does it elsewhere; where this runs it is not installed
    slices: Slices = np.load(folder / CALIBRATION)
    ways: list[tuple[Any, str, Slices]] = [
        (modelopt, "max", slices), (modelopt, "entropy", slices[::4]), (onnxruntime_static, "MinMax", slices[::8]),
        (onnxruntime_static, "Entropy", slices[::8]), (onnxruntime_static, "Percentile", slices[::8]),
    ]  # fmt: skip
    for make, method, few in ways:
        started = perf_counter()
        try:
            path = make(folder, few, method)
        except ImportError as error:
            print(f"{make.__name__} {method}: left out, {error}")
            continue
        print(f"{path.name}: {len(few)} slices, {perf_counter() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
