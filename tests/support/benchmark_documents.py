"""A benchmark's document and its rows, made up: for tests of what is drawn from them."""

from __future__ import annotations

from typing import Any


def row(batch: int, **changes: Any) -> dict[str, Any]:
    """A timed row of FP32 on ONNX Runtime: 100 slices/s, accuracy 0.8."""
    values: dict[str, Any] = {
        "scenario": "single-stream" if batch == 1 else "batch",
        "runtime": "onnxruntime",
        "version": "1",
        "device": "cpu",
        "artifact": "fp32",
        "original": False,
        "precision": "fp32",
        "batch": batch,
        "threads": 2,
        "size_mb": 44.0,
        "accuracy": 0.8,
        "error": None,
        "notes": [],
        "slices_per_second": 100.0,
        "same_class": None,
        "figures": None,
        "latency_ms": {"p50": 10.0, "p90": 11.0, "p99": None},
        "cold": {"load_s": 0.3, "first_ms": 20.0, "peak_mb": 200.0},
        "energy": None,
    }
    return {**values, **changes}


def document(*rows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The parts of benchmark.json that do not depend on a machine."""
    values: dict[str, Any] = {
        "kind": "benchmark",
        "schema": 2,
        "machine": {"processor": "P", "cores": 2, "gpus": [], "board": None, "libraries": {"numpy": "2"}},
        "bundle": {"sha256": "a" * 64},
        "data": {"line": "d", "test_set_sha256": "d" * 64},
        "rows": list(rows),
        "notes": [],
    }
    return {**values, **changes}


def full(name: str, rate: float, accuracy: float, *, sha256: str = "a" * 64, **data: Any) -> dict[str, Any]:
    """A benchmark of FP32 on ONNX Runtime. data: in place of what the document says of its slices."""
    rows = [
        row(
            1,
            slices_per_second=rate / 2,
            accuracy=accuracy,
            distribution_ms=[8.0, 9.0, 12.0],
            windows=None,
            speedup=None,
        )
    ]
    values = document(*rows, disclaimer="Not a medical device, not for clinical use.", against=None)
    values["bundle"] = {"name": name, "sha256": sha256, "task": "classify", "model": {"name": name}}
    values["machine"] |= {
        "board": None,
        "virtual": True,
        "governor": None,
        "load_average": [0.1, 0.1, 0.1],
        "date": "2026-11-25",
        "system": "Linux",
        "lits_deploy": "0",
        "git": None,
    }
    values["data"] = {**values["data"], **data}
    values["settings"] = {"mode": "quick", "threads": 2, "batches": [1]}
    values["rows"][0]["latency_ms"] |= {"samples": 3, "needed": {"p99": 662}, "cv": 0.01}
    offline = row(
        8, scenario="offline", slices_per_second=rate, accuracy=accuracy, slices=96, timed_s=2.0, windows=None
    )
    return {**values, "offline": [offline], "server": [], "end_to_end": []}
