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
