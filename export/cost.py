"""What an average of networks costs: time a slice of its file against that of one of its networks, on this machine."""

from __future__ import annotations

import dataclasses
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from export import graph
from export.held_out import HeldOut
from export.mean_of_folds import parts_of
from export.source import Deployed
from lits_deploy.model_file import ModelFile
from lits_deploy.runtime.device import Device
from lits_deploy.runtime.onnxruntime_ import OnnxRuntime

ROUNDS = 5
"""Turns of both files, the shortest of which counts: what else runs on the machine only lengthens them."""

BATCH = {"classify": 8, "segment": 1}


def cost(held: HeldOut, path: Path, folder: Path) -> dict[str, Any]:
    """For `metrics.cost` of the manifest: ms_per_slice of the file at `path`, one_network_ms, ratio, networks, batch,
    runtime, device. folder: for a file that is removed again."""
    original = held.original
    one = Deployed(parts_of(original.module.network)[0], original.contract, original.info.task).eval()
    single, batch = folder / "one.onnx", BATCH[original.info.task]
    slices = np.stack([picture for _, picture in held.phantoms(batch)])
    best = [float("inf")] * 2
    with ExitStack() as stack:
        stack.callback(single.unlink, missing_ok=True)
        graph.write_onnx(dataclasses.replace(original, module=one), single)
        runtimes = [stack.enter_context(_open(held, file, batch)) for file in (path, single)]
        info = runtimes[0].describe()
        for number in range(ROUNDS + 1):
            for n, runtime in enumerate(runtimes):
                began = time.perf_counter()
                runtime.infer(slices)
                if number:  # the first one warms up
                    best[n] = min(best[n], time.perf_counter() - began)
    mine, single_ms = (1000 * seconds / batch for seconds in best)
    return {
        "ms_per_slice": mine,
        "one_network_ms": single_ms,
        "ratio": mine / single_ms,
        "networks": len(parts_of(original.module.network)),
        "batch": batch,
        "runtime": f"{info.name} {info.version}",
        "device": info.device,
    }


def _open(held: HeldOut, path: Path, batch: int) -> OnnxRuntime:
    task = held.original.info.task
    return OnnxRuntime(
        ModelFile.read(path),
        device=Device("cpu"),
        precision="fp32",
        shape=held.contract.shape,
        wanted=("probabilities",) if task == "classify" else ("labels",),
        max_batch=batch,
    )
