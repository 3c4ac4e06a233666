"""What the peers' scripts share: reading a picture, writing the CSV, and the two jobs that each is given.

    model    decoded slices in memory to probabilities, at some batch sizes; loading and two warm-up calls outside
    folder   files to CSV in the script's own way; loading, workers and the CSV inside the clock, imports outside

A script is what a competent user of its library writes: no hashes, no limits, no ledger, no checks of a file.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.percentiles import summarise_ms
from lits_deploy.machine import peak_resident_bytes
from lits_deploy.model_file import ModelFile
from lits_deploy.spreadsheet import CsvWriter

Slices = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]
Spec = dict[str, Any]

WARM_UP = 2


class Script(Protocol):
    """One peer. `load` builds the network; nothing heavy happens before, except imports."""

    def load(self) -> None:
        """Build the network."""
        ...

    def classify(self, slices: Slices) -> Probabilities:
        """Uint8 [N, 1, S, S] → float32 [N, 3], back in host memory."""
        ...

    def folder(self, files: Sequence[str], batch: int, workers: int) -> Iterator[Probabilities]:
        """The files in order, in pieces of any length."""
        ...


def run_job(spec: Spec, kind: Callable[..., Script], first: Any, *names: str) -> dict[str, Any]:
    """Do what `spec["job"]` names and say how long it took; a script is made of `first` and these of the spec."""
    script = kind(first, **{name: spec[name] for name in names})
    if spec["job"] == "model":
        return model_job(script, spec)
    return folder_job(script, spec["files"], Path(spec["out"]), batch=spec["batch"], workers=spec["workers"])


def model_job(script: Script, spec: Spec) -> dict[str, Any]:
    """slices_per_second and latency_ms by batch size; labels of the first batch size.

    A script may bring `classify_all(slices, batch)`, where single calls are not how its library is fast.
    """
    slices = np.stack([read_grey(file, spec["size"]) for file in spec["files"]])[:, np.newaxis]
    script.load()
    together = getattr(script, "classify_all", None)
    rates: dict[str, float] = {}
    latencies: dict[str, Any] = {}
    labels: list[int] = []
    for batch in spec["batches"]:
        for first in range(WARM_UP):
            script.classify(slices[first : first + batch])
        seconds: list[float] = []
        started = perf_counter()
        if together is not None:
            found = together(slices, batch)
        else:
            parts = []
            for start in range(0, len(slices), batch):
                begun = perf_counter()
                parts.append(script.classify(slices[start : start + batch]))
                seconds.append(perf_counter() - begun)
            found = np.concatenate(parts)
        rates[str(batch)] = len(slices) / (perf_counter() - started)
        latencies[str(batch)] = summarise_ms(seconds) if seconds else None
        labels = labels or found.argmax(axis=1).tolist()
    return {
        "slices": len(slices),
        "slices_per_second": rates,
        "latency_ms": latencies,
        "labels": labels,
    }


def folder_job(script: Script, files: Sequence[str], out: Path, *, batch: int, workers: int) -> dict[str, Any]:
    """Write `out` with columns file, class, p0, p1, p2.

    wall_s: network built and loaded, workers started, CSV written; load_s: of the network; steady_slices_per_second:
    after the first piece, None where there is one only. labels are read back from the CSV.
    """
    started = perf_counter()
    script.load()
    loaded = perf_counter()
    pieces: list[Probabilities] = []
    first = loaded
    for piece in script.folder(files, batch, workers):
        pieces.append(piece)
        if len(pieces) == 1:
            first = perf_counter()
    ended = perf_counter()
    write_csv(out, files, np.concatenate(pieces))
    wall = perf_counter() - started
    rest = len(files) - len(pieces[0])
    return {
        "wall_s": wall,
        "load_s": loaded - started,
        "slices": len(files),
        "slices_per_second": len(files) / wall,
        "steady_slices_per_second": rest / (ended - first) if rest > 0 else None,
        "batch": batch,
        "workers": workers,
        "labels": read_csv(out),
        "peak_mb": peak_resident_bytes() / 1e6,
    }


def read_model(spec: Spec) -> ModelFile:
    """The network's file; BundleError where it is not the one that the parent's manifest names."""
    return ModelFile.read(Path(spec["model"]), spec["model_sha256"])


def read_grey(file: str, size: int) -> Slices:
    """A picture as uint8 [S, S]."""
    with Image.open(file) as picture:
        grey = picture.convert("L")
        if grey.size != (size, size):
            grey = grey.resize((size, size), Image.Resampling.BOX)
        return np.asarray(grey)


def read_ahead(files: Sequence[str], size: int, batch: int, workers: int) -> Iterator[Slices]:
    """Batches uint8 [N, 1, S, S] in order, decoded by threads (Pillow lets go of Python's lock), two batches ahead."""

    def decode(start: int) -> Slices:
        return np.stack([read_grey(file, size) for file in files[start : start + batch]])[:, np.newaxis]

    with ThreadPoolExecutor(max_workers=workers) as pool:
        waiting: list[Future[Slices]] = []
        for start in range(0, len(files), batch):
            waiting.append(pool.submit(decode, start))
            if len(waiting) > workers + 1:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


def write_csv(out: Path, files: Sequence[str], values: Probabilities) -> None:
    """File, class and probabilities, one row a file."""
    with out.open("w", newline="", encoding="utf-8") as stream:
        rows = zip(files, values.argmax(axis=1).tolist(), values.tolist(), strict=True)
        cells = ([file, label, *(f"{value:.6f}" for value in row)] for file, label, row in rows)
        CsvWriter(stream).writerows([("file", "class", "p0", "p1", "p2"), *cells])


def read_csv(out: Path) -> list[int]:
    """The classes of such a CSV."""
    with out.open(newline="", encoding="utf-8") as stream:
        return [int(row["class"]) for row in csv.DictReader(stream)]
