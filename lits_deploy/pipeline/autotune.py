"""Batch size and threads that were fastest on this box for one artifact: measured by `classify --tune`, remembered.

A setting is kept in the user's cache (`lits-deploy/tuned`), one small JSON file for each bundle, artifact, runtime with
its version, device, processor and number of cores. Later runs of the same bundle on the same box take it without being
asked; `--batch-size` and `--threads` come before it. It changes how fast something happens, not what is in the tables
(on a GPU, answers may move within the artifact's tolerance, as with any batch size).

On a machine where other programs compute, what is found holds for the moment: the run takes it, and nothing is kept.

The network is timed alone: decoders take their share of the cores beside every setting alike. A default is left only
for something that is faster by more than what a re-run may change (`BETTER`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, NamedTuple

import numpy as np

from lits_deploy import private
from lits_deploy.backends import resolve
from lits_deploy.bundle import Artifact, Bundle
from lits_deploy.errors import DeviceOutOfMemory
from lits_deploy.files import canonical_json, write_json
from lits_deploy.machine import cores, processor
from lits_deploy.pipeline import defaults
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.stop import Stop
from lits_deploy.runtime import Runtime
from lits_deploy.user_cache import user_cache

SCHEMA = 1

BETTER = 1.03
"""Rate over the default's from which another setting is taken."""

STEP_S, PASSES = 0.25, 3
"""A setting is timed for at least STEP_S in each pass, in turns; its best pass counts."""

BUSY = 0.1
"""Share of the cores' time that other programs may take while a setting is found that is to be remembered."""

_DISTRIBUTIONS = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "openvino": ("openvino",),
    "tensorrt": ("tensorrt", "tensorrt-rtx-cu13-bindings"),
}

Open = Callable[[int, int], Runtime]
"""(max_batch, threads) → an open runtime."""

OpenArtifact = Callable[[Bundle, Artifact, ClassifyOptions], Runtime]
"""Opens an artifact as the options say; the caller closes it."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """batch: slices in a batch; threads: of the network, 0 for a GPU. slices_per_s: of the network alone."""

    batch: int
    threads: int
    slices_per_s: float


class TunedSetting(NamedTuple):
    """What there is for a run: the setting, why it was not remembered, and the options with it."""

    setting: Setting | None
    why_not: str | None
    options: ClassifyOptions


def find(
    bundle: Bundle,
    artifact: Artifact,
    options: ClassifyOptions,
    open_artifact: OpenArtifact,
    *,
    stop: Stop | None = None,
) -> TunedSetting:
    """The batch size and threads that are fastest here: remembered, or measured now where the options ask for it.

    What the user set stays. Measuring takes some seconds and opens the network for itself. Raises KeyboardInterrupt
    when asked to stop meanwhile.
    """
    if options.batch_size and options.threads and not options.tune:
        return TunedSetting(None, None, options)
    key = box_and_bundle(bundle, artifact, options.runtime, options.device)
    setting, why_not = remembered(key), None
    if options.tune:

        def open_network(most: int, threads: int) -> Runtime:
            return open_artifact(bundle, artifact, replace(options, batch_size=most, threads=threads))

        others = Others()
        tried = measure(open_network, device=key["device"], stop=stop)
        setting, share = tried[0], others.share()
        if share > BUSY:
            why_not = f"Other programs took {100 * share:.0f} % of the processor while tuning: nothing was remembered."
        elif not remember(key, setting, tried):
            why_not = (
                "The user's cache cannot be written: what tuning found was not remembered. "
                "Fix: export XDG_CACHE_HOME=FOLDER that can be written"
            )
    if setting is None:
        return TunedSetting(None, None, options)
    batch, threads = options.batch_size or setting.batch, options.threads or setting.threads
    return TunedSetting(setting, why_not, replace(options, batch_size=batch, threads=threads))


def box_and_bundle(bundle: Bundle, artifact: Artifact, runtime: str, device: str) -> dict[str, Any]:
    """What a setting holds for."""
    name, target = resolve(runtime, device)
    return {
        "bundle": bundle.sha256,
        "artifact": artifact.name,
        "runtime": name,
        "version": _version(name),
        "device": str(target),
        "processor": processor(),
        "cores": cores(),
    }


def remembered(key: dict[str, Any]) -> Setting | None:
    """The setting that was kept for it; None where there is none that can be read and makes sense."""
    path = _path(key)
    if path is None:
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        setting = Setting(**record["setting"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    sane = (
        record.get("schema") == SCHEMA
        and record.get("key") == key
        and isinstance(setting.batch, int)
        and isinstance(setting.threads, int)
        and 1 <= setting.batch <= defaults.MOST_BATCH
        and 0 <= setting.threads <= cores()
    )
    return setting if sane else None


def remember(key: dict[str, Any], setting: Setting, tried: Sequence[Setting]) -> bool:
    """Keep a setting; False where the cache cannot be written, which is no reason to stop a run."""
    record = {"schema": SCHEMA, "key": key, "setting": asdict(setting), "tried": [asdict(one) for one in tried]}
    path = _path(key)
    if path is not None:
        with suppress(OSError), private.private():
            write_json(path, record)
            return True
    return False


def measure(open_network: Open, *, device: str, stop: Stop | None = None) -> list[Setting]:
    """Time every batch size with every number of threads; the best first, which is the default unless beaten clearly.

    A batch that the device or its engine has no room for is left out.
    """
    cpu = device == "cpu"
    sizes: Sequence[int] = defaults.CPU_BATCHES if cpu else defaults.GPU_BATCHES
    counts = sorted({cores(), max(1, cores() - 1)}, reverse=True) if cpu else [0]
    rates: dict[tuple[int, int], float] = {}
    for threads in counts:
        with open_network(max(sizes), threads) as network:
            noise = np.random.default_rng(0).integers(0, 256, (max(sizes), *network.shape), dtype=np.uint8)
            sizes = [size for size in sizes if size <= network.max_batch] or [network.max_batch]
            for number in range(PASSES):
                for size in sizes if number % 2 == 0 else list(reversed(sizes)):
                    if stop is not None and stop.requested:
                        raise KeyboardInterrupt
                    with suppress(DeviceOutOfMemory):
                        rate = _rate(network, noise[:size])
                        rates[size, threads] = max(rate, rates.get((size, threads), 0.0))
    found = [Setting(batch=b, threads=t, slices_per_s=rate) for (b, t), rate in rates.items()]
    found.sort(key=lambda one: -one.slices_per_s)
    usual = (defaults.default_batch(device), counts[0])
    default = next((one for one in found if (one.batch, one.threads) == usual), None)
    if default is not None and found[0].slices_per_s < BETTER * default.slices_per_s:
        found.remove(default)
        found.insert(0, default)
    return found


class Others:
    """Share of the cores' time that other programs have taken since this was made; 0 where the system does not tell."""

    def __init__(self) -> None:
        self._begun = self._ticks(), process_time()

    def share(self) -> float:
        """From 0 to 1."""
        (total, idle), own = self._ticks(), process_time()
        (first, rest), before = self._begun
        ticks = os.sysconf("SC_CLK_TCK")
        spent = (total - first) / ticks
        return max(0.0, (spent - (idle - rest) / ticks - (own - before)) / spent) if spent > 0 else 0.0

    @staticmethod
    def _ticks() -> tuple[int, int]:
        """Of all cores: in all, and idle."""
        try:
            fields = [int(word) for word in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
        except (OSError, ValueError):
            return 0, 0
        return sum(fields), fields[3] + fields[4]


def _rate(network: Runtime, slices: Any) -> float:
    """Slices per second with every lane at work."""
    if network.lanes == 1:
        return _lane_rate(network, slices)
    with ThreadPoolExecutor(network.lanes) as lanes:
        return sum(lanes.map(lambda _: _lane_rate(network, slices), range(network.lanes)))


def _lane_rate(network: Runtime, slices: Any) -> float:
    network.infer(slices)
    calls, started = 0, perf_counter()
    while True:
        network.infer(slices)
        calls += 1
        spent = perf_counter() - started
        if spent >= STEP_S:
            return calls * len(slices) / spent


def _version(runtime: str) -> str:
    for name in _DISTRIBUTIONS.get(runtime, ()):
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return "unknown"


def _path(key: dict[str, Any]) -> Path | None:
    cache, name = user_cache(), hashlib.sha256(canonical_json(key).encode()).hexdigest()[:24]
    return None if cache is None else cache / "tuned" / f"{name}.json"
