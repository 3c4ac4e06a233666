"""Batch size and threads that were fastest on this box for one artifact: measured by `classify --tune`, remembered.

A setting is kept in the user's cache (`lits-deploy/tuned`), one small JSON file for each bundle, artifact, runtime with
its version, device, processor and number of cores. Later runs of the same bundle on the same box take it without being
asked; `--batch-size` and `--threads` come before it. It changes how fast something happens, not what is in the tables
(on a GPU, answers may move within the artifact's tolerance, as with any batch size).

The network is timed alone: decoders take their share of the cores beside every setting alike. A default is left only
for something that is faster by more than what a re-run may change (`BETTER`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from lits_deploy.bundle import Artifact, Bundle
from lits_deploy.errors import DeviceOutOfMemory
from lits_deploy.files import canonical_json, write_json
from lits_deploy.machine import processor
from lits_deploy.pipeline import tuning
from lits_deploy.runtime import Runtime, resolve

SCHEMA = 1

BETTER = 1.03
"""Rate over the default's from which another setting is taken."""

STEP_S, PASSES = 0.25, 3
"""A setting is timed for at least STEP_S in each pass, in turns; its best pass counts."""

_DISTRIBUTIONS = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"), "onnxruntime-tensorrt": ("onnxruntime-gpu",),
    "openvino": ("openvino",), "tensorrt": ("tensorrt", "tensorrt-rtx-cu13-bindings"),
}  # fmt: skip

Open = Callable[[int, int], Runtime]
"""(max_batch, threads) → an open runtime."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """batch: slices in a batch; threads: of the network, 0 for a GPU. slices_per_s: of the network alone."""

    batch: int
    threads: int
    slices_per_s: float


def box_and_bundle(bundle: Bundle, artifact: Artifact, runtime: str, device: str) -> dict[str, Any]:
    """What a setting holds for."""
    name, target = resolve(runtime, device)
    return {
        "bundle": bundle.sha256, "artifact": artifact.name, "runtime": name, "version": _version(name),
        "device": str(target), "processor": processor(), "cores": tuning.cores(),
    }  # fmt: skip


def remembered(key: dict[str, Any]) -> Setting | None:
    """The setting that was kept for it; None where there is none that can be read and makes sense."""
    try:
        record = json.loads(_path(key).read_text(encoding="utf-8"))
        setting = Setting(**record["setting"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    sane = (
        record.get("schema") == SCHEMA
        and record.get("key") == key
        and isinstance(setting.batch, int)
        and isinstance(setting.threads, int)
        and 1 <= setting.batch <= tuning.MOST_BATCH
        and 0 <= setting.threads <= tuning.cores()
    )
    return setting if sane else None


def remember(key: dict[str, Any], setting: Setting, tried: Sequence[Setting]) -> bool:
    """Keep a setting; False where the cache cannot be written, which is no reason to stop a run."""
    record = {"schema": SCHEMA, "key": key, "setting": asdict(setting), "tried": [asdict(one) for one in tried]}
    with suppress(OSError):
        write_json(_path(key), record)
        return True
    return False


def measure(open_network: Open, *, device: str, batches: Sequence[int] = (), step_s: float = STEP_S) -> list[Setting]:
    """Time every batch size with every number of threads; the best first, which is the default unless beaten clearly.

    A batch that the device has no memory for is left out.
    """
    cpu = device == "cpu"
    sizes = batches or (tuning.CPU_BATCHES if cpu else tuning.GPU_BATCHES)
    counts = sorted({tuning.cores(), max(1, tuning.cores() - 1)}, reverse=True) if cpu else [0]
    rates: dict[tuple[int, int], float] = {}
    for threads in counts:
        with open_network(max(sizes), threads) as network:
            noise = np.random.default_rng(0).integers(0, 256, (max(sizes), *network.shape), dtype=np.uint8)
            for turn in range(PASSES):
                for size in sizes if turn % 2 == 0 else list(reversed(sizes)):
                    with suppress(DeviceOutOfMemory):
                        rate = _rate(network, noise[:size], step_s)
                        rates[size, threads] = max(rate, rates.get((size, threads), 0.0))
    found = [Setting(batch=b, threads=t, slices_per_s=rate) for (b, t), rate in rates.items()]
    found.sort(key=lambda one: -one.slices_per_s)
    usual = (tuning.default_batch(device), counts[0])
    default = next((one for one in found if (one.batch, one.threads) == usual), None)
    if default is not None and found[0].slices_per_s < BETTER * default.slices_per_s:
        found.remove(default)
        found.insert(0, default)
    return found


def _rate(network: Runtime, slices: Any, step_s: float) -> float:
    network.infer(slices)
    calls, started = 0, perf_counter()
    while True:
        network.infer(slices)
        calls += 1
        spent = perf_counter() - started
        if spent >= step_s:
            return calls * len(slices) / spent


def _version(runtime: str) -> str:
    for name in _DISTRIBUTIONS.get(runtime, ()):
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return "unknown"


def _path(key: dict[str, Any]) -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    folder = (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "lits-deploy" / "tuned"
    return folder / f"{hashlib.sha256(canonical_json(key).encode()).hexdigest()[:24]}.json"
