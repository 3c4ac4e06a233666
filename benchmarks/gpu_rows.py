"""The rows of `gpu_check`: every way to run a network, checked against the original, then timed in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.candidates import taking
from benchmarks.latency import Lane, MeasuringEffort, SliceFeed, measure
from lits_deploy.backends import fits, open_runtime
from lits_deploy.bundle import Bundle
from lits_deploy.errors import LitsError
from lits_deploy.parity import Parity
from lits_deploy.runtime import Device, Runtime, RuntimeOptions
from lits_deploy.trt.flavour import FLAVOURS, Flavour, installed
from lits_deploy.trt.open import open_tensorrt

INSISTING = RuntimeOptions(insist=True)

SOLO = 64
"""Batch size from which contestants are open one at a time."""

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One way to run a network. tolerance: largest |Δp| against the original that counts as the same.

    open: opens a runtime for batches up to `max_batch` with outputs `wanted`; the caller closes it.
    """

    name: str
    precision: str
    tolerance: float
    open: Callable[..., Runtime]


@dataclass(frozen=True, kw_only=True)
class GpuSubject:
    """A network to run: distinct slices uint8 [N, C, S, S], and the original's FP32 probabilities of the first ones.

    wanted: outputs of daily use, which are timed. contestants: all that are to run it.
    """

    name: str
    slices: npt.NDArray[np.uint8]
    expected: npt.NDArray[np.float32]
    wanted: tuple[str, ...]
    contestants: list[Contestant]


def check_network(
    subject: GpuSubject, batches: Sequence[int], *, effort: MeasuringEffort, say: Callable[[str], None] = lambda _: None
) -> list[Row]:
    """A row for each contestant and batch size: checked, then timed in turns. What fails is a row with `error`.

    From SOLO slices on there are no turns: each contestant has the GPU for itself, where a U-Net takes gigabytes.
    """
    checked: list[tuple[Contestant, Row]] = []
    for contestant in subject.contestants:
        say(f"{subject.name}: checking {contestant.name}")
        checked.append((contestant, _check(contestant, subject, max(batches))))
    rows: list[Row] = []
    for batch in batches:
        say(f"{subject.name}, batch {batch}: {len(checked)} candidates {'one by one' if batch >= SOLO else 'in turns'}")
        for group in [[one] for one in checked] if batch >= SOLO else [checked]:
            rows += _time(subject, group, batch, effort)
    return rows


def _time(subject: GpuSubject, checked: list[tuple[Contestant, Row]], batch: int, effort: MeasuringEffort) -> list[Row]:
    """The rows of one batch size."""
    rows: list[Row] = []
    lanes: list[tuple[Row, Lane]] = []
    with ExitStack() as stack:
        for contestant, about in checked:
            row = {"network": subject.name, "batch": batch, "runtime": contestant.name}
            row |= {"precision": contestant.precision, "latency_ms": None, "slices_per_second": None, **about}
            rows.append(row)
            with _noted(row):
                if row["error"] is None:
                    runtime = taking(contestant.open(max_batch=batch, wanted=subject.wanted), batch)
                    stack.callback(runtime.close)
                    lanes.append((row, Lane(contestant.name, runtime, lambda _indices, _outputs: None)))
        measure([lane for _, lane in lanes], SliceFeed(subject.slices, batch), batch, effort)
    for row, lane in lanes:
        row |= {"error": lane.error} if lane.error else lane.result(batch)
    return rows


def _check(contestant: Contestant, subject: GpuSubject, most: int) -> Row:
    """Full batches, a ragged one and a single slice, against the original."""
    about: Row = {"max_delta": None, "labels_equal": None, "tolerance": contestant.tolerance, "error": None}
    parity = Parity(contestant.tolerance)
    same: list[npt.NDArray[np.bool_]] = []
    with _noted(about):
        with contestant.open(max_batch=most, wanted=("probabilities",)) as runtime:
            about["version"] = runtime.describe().version
            for start, end in _parts(len(subject.expected), runtime.max_batch):
                got = runtime.infer(subject.slices[start:end]).probabilities
                assert got is not None
                parity.add([str(index) for index in range(start, end)], subject.expected[start:end], got)
                same.append(subject.expected[start:end].argmax(1) == got.argmax(1))
        about["max_delta"] = parity.verdict()["max_delta"]
        about["labels_equal"] = float(np.concatenate(same).mean())
        if not parity.passed:
            about["error"] = f"its answers are not the original's: {parity.lines()[0]}"
    return about


def _parts(count: int, most: int) -> Iterator[tuple[int, int]]:
    """All of `count` slices as 1, 3 and the rest, in parts of up to `most`."""
    edges = [0, *(edge for edge in (1, 4) if edge < count), count]
    for start, end in pairwise(edges):
        for first in range(start, end, most):
            yield first, min(first + most, end)


@contextmanager
def _noted(row: Row) -> Iterator[None]:
    """What fails is the row's error: the others go on, whatever one library raises."""
    try:
        yield
    except LitsError as error:
        row["error"] = str(error)
    except (RuntimeError, ImportError, ValueError, OSError) as error:  # torch.compile without a compiler, for one
        row["error"] = line_of(error)


def line_of(error: BaseException) -> str:
    """An error of any library in one line."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:300]}"


def contestants_of(
    bundle: Bundle, here: Sequence[tuple[str, str]], flavours: Sequence[Flavour] = FLAVOURS
) -> list[Contestant]:
    """Every artifact on every runtime of `here` (see `backends.targets`), and on each TensorRT that is installed."""
    found = []
    for runtime, device in here:
        kinds = [flavour for flavour in flavours if runtime == "tensorrt" and installed(flavour)]
        for artifact in bundle.artifacts:
            if not fits(artifact, runtime, device):
                continue
            on_trt = partial(open_tensorrt, bundle, artifact, device=Device("cuda"), options=INSISTING)
            ways: dict[str, Callable[..., Runtime]] = {
                kind.title: partial(on_trt, flavour_name=kind.name) for kind in kinds
            }
            if not ways:
                on_runtime = partial(open_runtime, bundle, artifact=artifact, runtime=runtime, device=device)
                ways[f"{runtime} {device}"] = partial(on_runtime, options=INSISTING)
            for title, way in ways.items():
                found.append(
                    Contestant(name=title, precision=artifact.precision, tolerance=artifact.tolerance, open=way)
                )
    return found
