"""What values flow through a graph: the range of every activation on calibration slices, and where to clip it.

One pass of ONNX Runtime over the FP32 graph with every activation as an output, one slice at a time; histograms grow
with the values, so nothing is kept and memory does not depend on the number of slices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx

from export.precision.layers import types
from lits_deploy.errors import UserError
from lits_deploy.runtime.onnxruntime_ import import_onnxruntime

Method = Literal["max", "percentile", "entropy", "error"]
METHODS: tuple[Method, ...] = ("max", "percentile", "entropy", "error")

BINS = 2_048
"""Bins of a histogram over 0…top, as TensorRT's calibrator has them."""

PERCENTILE = 99.99
"""Of |activation|; what lies above is clipped by `percentile`."""

LEVELS = 128
"""Magnitudes that an 8-bit number with a sign can tell apart."""


@dataclass
class Activation:
    """One tensor's values on all slices: extremes, and counts of |value| over 0…top in BINS equal bins."""

    low: float = np.inf
    high: float = -np.inf
    top: float = 0.0
    counts: npt.NDArray[np.float64] | None = None

    @property
    def largest(self) -> float:
        """Largest |value|; infinite where a value was not finite."""
        return max(abs(self.low), abs(self.high))

    def add(self, values: npt.NDArray[np.float32], *, count: bool = True) -> None:
        """More values of any shape; `count` False keeps the extremes only."""
        low, high = float(values.min()), float(values.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        if not np.isfinite(low + high):  # NaN too, which no comparison finds
            self.low, self.high = -np.inf, np.inf
        if not count or not np.isfinite(self.largest):
            return
        if self.counts is None:
            self.counts, self.top = np.zeros(BINS), max(self.largest, 1e-6)
        while self.largest > self.top:  # twice the range: two bins become one
            self.counts = np.concatenate([self.counts.reshape(-1, 2).sum(axis=1), np.zeros(BINS // 2)])
            self.top *= 2
        bins = (np.abs(values).ravel() * np.float32(BINS / self.top)).astype(np.int32)
        self.counts += np.bincount(np.minimum(bins, BINS - 1), minlength=BINS)

    def clipped(self, method: Method) -> tuple[float, float]:
        """(low, high) to quantise over, zero always inside."""
        limits = {"percentile": self._percentile, "entropy": self._entropy, "error": self._error}
        limit = self.largest if method == "max" else limits[method]()
        return max(min(self.low, 0.0), -limit), min(max(self.high, 0.0), limit)

    def _percentile(self) -> float:
        assert self.counts is not None
        reached = np.searchsorted(np.cumsum(self.counts), self.counts.sum() * PERCENTILE / 100)
        return min(self.largest, (int(reached) + 1) * self.top / BINS)

    def _entropy(self) -> float:
        """Least Kullback-Leibler divergence of the quantised histogram (Migacz, GTC 2017: 8-bit inference)."""
        assert self.counts is not None
        counts = self.counts.copy()
        counts[0] = counts[1]  # zeros are exact at any scale, and would drown the rest
        best, at = np.inf, BINS
        for edge in range(LEVELS, BINS + 1, 8):
            kept = counts[:edge].copy()
            kept[-1] += counts[edge:].sum()  # what is clipped ends up in the last bin
            groups = np.arange(edge) * LEVELS // edge
            filled = counts[:edge] > 0
            sums = np.bincount(groups, counts[:edge], LEVELS)
            members = np.bincount(groups, filled, LEVELS)
            spread = np.where(filled, (sums / np.maximum(members, 1))[groups], 0.0)
            divergence = _divergence(kept, spread)
            if divergence < best:
                best, at = divergence, edge
        return min(self.largest, at * self.top / BINS)

    def _error(self) -> float:
        """Least mean squared error of rounding and clipping together."""
        assert self.counts is not None
        centres = (np.arange(BINS) + 0.5) * self.top / BINS
        best, at = np.inf, self.largest
        for limit in np.linspace(0.2, 1.0, 81) * self.largest:
            step = limit / (LEVELS - 1)
            quantised = np.minimum(np.rint(centres / step), LEVELS - 1) * step
            error = float((self.counts * (centres - quantised) ** 2).sum())
            if error < best:
                best, at = error, float(limit)
        return at


def _divergence(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> float:
    p, q = p / max(p.sum(), 1e-12), q / max(q.sum(), 1e-12)
    both = (p > 0) & (q > 0)
    lost = float(p[(p > 0) & (q == 0)].sum())  # mass where q has none: infinite in theory, a fixed price here
    return float((p[both] * np.log(p[both] / q[both])).sum()) + 10.0 * lost


def activations(
    model: onnx.ModelProto,
    slices: npt.NDArray[np.uint8],
    *,
    histograms: bool = True,
    progress: Callable[[int], None] = lambda _: None,
) -> dict[str, Activation]:
    """Every float tensor that a node of the graph puts out, on slices uint8 [N, C, S, S], by its name.

    histograms: needed by every method but `max`; without them it is faster. Raises UserError where a value is not
    finite: such a network cannot be checked in any precision.
    """
    ort = import_onnxruntime()
    type_of = types(model)
    outputs = (name for node in model.graph.node for name in node.output)
    names = [name for name in outputs if type_of.get(name) == onnx.TensorProto.FLOAT]
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    there = {value.name for value in watched.graph.output}
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in there)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0].name
    found = {name: Activation() for name in names}
    for picture in slices:
        values: list[Any] = session.run(names, {given: picture[None]})
        for name, value in zip(names, values, strict=True):
            found[name].add(value, count=histograms)
        progress(1)
    if broken := [name for name, values in found.items() if not np.isfinite(values.largest)]:
        raise UserError(f"The network's activations are not finite (first in {broken[0]}).", fix="train it again")
    return found
