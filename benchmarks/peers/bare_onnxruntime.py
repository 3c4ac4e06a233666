"""A bare ONNX Runtime loop over slices that are already decoded in memory: the ceiling for a pipeline on that runtime.

Reading, decoding, loading the session and one warm-up call lie before the clock; inside it are only `session.run` and
the class of each slice.
"""

from __future__ import annotations

import json
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.fresh import answer, answer_error
from lits_deploy.bundle import Bundle
from lits_deploy.errors import UserError
from lits_deploy.machine import peak_resident_bytes
from lits_deploy.runtime.onnxruntime_ import import_onnxruntime
from lits_deploy.scans.image import load_slice


def child(text: str) -> None:
    """What the fresh process runs: every batch size over all slices; `labels` by the first one."""
    spec = json.loads(text)
    try:
        bundle = Bundle.open(Path(spec["bundle"]))
        model = bundle.path_of(bundle.artifact(spec["artifact"]))
        ort = import_onnxruntime()
    except UserError as error:
        answer_error(error)
        return
    contract = bundle.manifest.contract
    slices = np.stack([load_slice(Path(file), contract) for file in spec["files"]])
    options = ort.SessionOptions()
    options.intra_op_num_threads = spec["threads"]
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    rates: dict[str, float] = {}
    labels: list[int] | None = None
    for batch in spec["batches"]:
        seconds, found = _loop(session, slices, batch)
        rates[str(batch)] = len(slices) / seconds
        labels = found if labels is None else labels
    answer(
        {"slices": len(slices), "slices_per_second": rates, "labels": labels, "peak_mb": peak_resident_bytes() / 1e6}
    )


def _loop(session: Any, slices: Any, batch: int) -> tuple[float, list[int]]:
    name = session.get_inputs()[0].name
    session.run(["logits"], {name: slices[:batch]})
    labels: list[int] = []
    started = perf_counter()
    for start in range(0, len(slices), batch):
        (logits,) = session.run(["logits"], {name: slices[start : start + batch]})
        labels += logits.argmax(axis=1).tolist()
    return perf_counter() - started, labels
