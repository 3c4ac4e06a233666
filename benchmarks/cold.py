"""A cold start: a fresh process that loads one network on one runtime, runs one batch size, and nothing else.

It tells what a steady-state loop cannot: how long loading and the first inference take, and how much memory the process
peaks at. PyTorch is imported there only for the original. On a GPU the memory is the host's, not the device's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.candidates import Candidate, opener
from benchmarks.fresh import run_fresh
from lits_deploy.bundle import Bundle
from lits_deploy.machine import peak_resident_bytes
from lits_deploy.runtime import Runtime

CALLS = 4
"""Inferences in all: memory plans and arenas are complete after a few."""


def cold_start(candidate: Candidate, batch: int) -> dict[str, Any]:
    """Start one and measure. Raises ChildError.

    build_s: what building an engine took, for TensorRT's runtimes, else None; load_s: importing the library, checking
    hashes, building the session or finding the engine that is there by now; first_ms: the first inference of `batch`
    slices; peak_mb: peak resident memory of the process, of which before_load_mb was there before (Python, numpy);
    process_s: all of it; torch_imported: whether PyTorch was. MB are 10⁶ bytes.
    """
    return run_fresh(__name__, {**candidate.spec, "batch": batch})


def from_spec(spec: dict[str, Any]) -> Callable[..., Runtime]:
    """What a fresh process opens; imports PyTorch only for the original."""
    if "run" in spec:
        from benchmarks.torch_eager import open_original

        return partial(open_original, spec)
    return opener(Bundle.open(Path(spec["bundle"])), spec)


def child(spec: dict[str, Any]) -> dict[str, Any]:
    """What the fresh process runs."""
    before, batch = peak_resident_bytes(), spec["batch"]
    open_it, built = from_spec(spec), None
    if "tensorrt" in spec.get("runtime", ""):  # once to build the engine, and again to load it
        begun = perf_counter()
        open_it(batch).close()
        built = perf_counter() - begun
    started = perf_counter()
    with open_it(batch) as runtime:
        loaded = perf_counter()
        noise = np.random.default_rng(0).integers(0, 256, (batch, *runtime.shape), dtype=np.uint8)
        begun = perf_counter()
        runtime.infer(noise)
        first = perf_counter() - begun
        for _ in range(CALLS - 1):
            runtime.infer(noise)
        return {
            "build_s": None if built is None else max(0.0, built - (loaded - started)),
            "load_s": loaded - started,
            "first_ms": 1000.0 * first,
            "peak_mb": peak_resident_bytes() / 1e6,
            "before_load_mb": before / 1e6,
            "torch_imported": "torch" in sys.modules,
        }
