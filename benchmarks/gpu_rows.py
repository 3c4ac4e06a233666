"""The rows of `gpu_check`: every way to run a network, checked against the original, then timed in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from benchmarks.candidates import taking
from benchmarks.latency import Effort, Feed, Lane, measure
from benchmarks.percentiles import needed_samples
from lits_deploy.backends import fits, open_runtime
from lits_deploy.bundle import Artifact, Bundle
from lits_deploy.errors import DeviceError, LitsError
from lits_deploy.parity import Parity
from lits_deploy.runtime import Device, Runtime
from lits_deploy.trt.flavour import FLAVOURS, Flavour, installed
from lits_deploy.trt.open import open_tensorrt

EFFORT = Effort(samples=needed_samples(95), cap_s=5.0, warmup_s=0.5, warmup_cap_s=10.0)
"""About five seconds a row."""

SOLO = 64
"""Batch size from which contestants are open one at a time."""

Row = dict[str, Any]
Result = TypeVar("Result")


class Open(Protocol):
    """Opens a runtime for batches up to `max_batch`; wanted: outputs."""

    def __call__(self, max_batch: int, wanted: tuple[str, ...]) -> Runtime:
        """The caller closes it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One way to run a network. tolerance: largest |Δp| against the original that counts as the same."""

    name: str
    precision: str
    tolerance: float
    open: Open


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network to run: distinct slices uint8 [N, C, S, S], and the original's FP32 probabilities of the first ones.

    wanted: outputs of daily use, which are timed. contestants: all that are to run it.
    """

    name: str
    slices: npt.NDArray[np.uint8]
    expected: npt.NDArray[np.float32]
    wanted: tuple[str, ...]
    contestants: list[Contestant]


def check_network(
    subject: Subject, batches: Sequence[int], *, effort: Effort = EFFORT, say: Callable[[str], None] = lambda _: None
) -> list[Row]:
    """A row for each contestant and batch size: checked, then timed in turns. What fails is a row with `error`.

    From SOLO slices on there are no turns: each contestant has the GPU for itself, where a U-Net takes gigabytes.
    """
    most = max(batches)
    checked: list[tuple[Contestant, Row]] = []
    for contestant in subject.contestants:
        say(f"{subject.name}: checking {contestant.name}")
        checked.append((contestant, _check(contestant, subject, most)))
    rows: list[Row] = []
    for batch in batches:
        say(f"{subject.name}, batch {batch}: {len(checked)} candidates {'one by one' if batch >= SOLO else 'in turns'}")
        for group in [[one] for one in checked] if batch >= SOLO else [checked]:
            with ExitStack() as stack:
                rows += _time(subject, group, batch, effort, stack)
    return rows


def _time(
    subject: Subject, checked: list[tuple[Contestant, Row]], batch: int, effort: Effort, stack: ExitStack
) -> list[Row]:
    """The rows of one batch size."""
    rows: list[Row] = []
    lanes: list[tuple[Row, Lane]] = []
    for contestant, about in checked:
        row = {
            "network": subject.name, "batch": batch, "runtime": contestant.name, "precision": contestant.precision,
            "latency_ms": None, "slices_per_second": None, **about,
        }  # fmt: skip
        rows.append(row)
        if row["error"] is not None:
            continue
        runtime, row["error"] = _guarded(partial(_opened, contestant, batch, subject.wanted))
        if runtime is not None:
            stack.callback(runtime.close)
            lanes.append((row, Lane(contestant.name, runtime, lambda _indices, _outputs: None)))
    measure([lane for _, lane in lanes], Feed(subject.slices, batch), batch, effort)
    for row, lane in lanes:
        row |= {"error": lane.error} if lane.error else lane.result(batch)
    return rows


def _opened(contestant: Contestant, batch: int, wanted: tuple[str, ...]) -> Runtime:
    return taking(contestant.open(batch, wanted), batch)


def _check(contestant: Contestant, subject: Subject, most: int) -> Row:
    """Full batches, a ragged one and a single slice, against the original."""
    about: Row = {
        "max_delta": None, "labels_equal": None, "tolerance": contestant.tolerance, "version": None, "error": None,
    }  # fmt: skip
    parity = Parity(contestant.tolerance)
    same: list[npt.NDArray[np.bool_]] = []

    def run() -> None:
        with contestant.open(most, ("probabilities",)) as runtime:
            info = runtime.describe()
            about["version"], about["providers"] = info.version, list(info.providers)
            for start, end in _parts(len(subject.expected), runtime.max_batch):
                got = runtime.infer(subject.slices[start:end]).probabilities
                assert got is not None
                parity.add([str(index) for index in range(start, end)], subject.expected[start:end], got)
                same.append(subject.expected[start:end].argmax(1) == got.argmax(1))
        about["max_delta"] = parity.verdict()["max_delta"]
        about["labels_equal"] = float(np.concatenate(same).mean())
        if not parity.passed:
            raise DeviceError(f"its answers are not the original's: {parity.lines()[0]}")

    _, about["error"] = _guarded(run)
    return about


def _parts(count: int, most: int) -> Iterator[tuple[int, int]]:
    """All of `count` slices as 1, 3 and the rest, in parts of up to `most`."""
    edges = [0, *(edge for edge in (1, 4) if edge < count), count]
    for start, end in pairwise(edges):
        for first in range(start, end, most):
            yield first, min(first + most, end)


def _guarded(step: Callable[[], Result]) -> tuple[Result | None, str | None]:
    """What it returns, or why it failed: the others go on, whatever one library raises."""
    try:
        return step(), None
    except LitsError as error:
        return None, str(error)
    except (RuntimeError, ImportError, ValueError, OSError) as error:  # torch.compile without a compiler, for one
        return None, f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:300]}"


def contestants_of(
    bundle: Bundle, here: Sequence[tuple[str, str]], flavours: Sequence[Flavour] = FLAVOURS
) -> list[Contestant]:
    """Every artifact on every runtime of `here` (see `backends.places`), and on each TensorRT that is installed."""

    def through(artifact: Artifact, runtime: str, device: str) -> Open:
        def open_it(max_batch: int, wanted: tuple[str, ...]) -> Runtime:
            return open_runtime(
                bundle, runtime=runtime, device=device, artifact=artifact, max_batch=max_batch, insist=True,
                wanted=wanted,
            )  # fmt: skip

        return open_it

    def on_tensorrt(artifact: Artifact, flavour: str) -> Open:
        def open_it(max_batch: int, wanted: tuple[str, ...]) -> Runtime:
            return open_tensorrt(
                bundle, artifact, device=Device("cuda"), wanted=wanted, max_batch=max_batch, insist=True,
                flavour_name=flavour,
            )  # fmt: skip

        return open_it

    found = []
    for runtime, device in here:
        for artifact in bundle.artifacts:
            if not fits(artifact, runtime, device):
                continue
            kinds = [f for f in flavours if runtime == "tensorrt" and installed(f)]
            ways = [(f.title, on_tensorrt(artifact, f.name)) for f in kinds]
            ways = ways or [(f"{runtime} {device}", through(artifact, runtime, device))]
            for title, way in ways:
                found.append(
                    Contestant(name=title, precision=artifact.precision, tolerance=artifact.tolerance, open=way)
                )
    return found
