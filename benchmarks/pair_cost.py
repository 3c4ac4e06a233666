"""What a pair's second network costs: slices a second of a classifier alone and of the pair, in turns in one run.

    python -m benchmarks.pair_cost [--width 16] [--channels 1] [--share 0.4] [--runtimes NAME …] [--out FILE.json]

Networks are untrained: how long they take does not depend on their weights. Where the U-Net looks is set here, to
`--share` of the slices, in runs as a liver lies in a series. FP32 and INT8 files are made as `export` makes them. A
ratio is the median of the rounds' ratios, so what else runs on the machine slows both down alike.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch

from benchmarks.machine import MachineRecord
from export.graph import write_onnx
from export.held_out import HeldOut
from export.precision.make import INT8_CPU
from export.precision.ranges import activations
from export.source import Deployed, Original
from lits_deploy.backends import SEGMENTER_BATCH
from lits_deploy.files import write_json
from lits_deploy.fusion import Fusion, Logits
from lits_deploy.model_file import ModelFile
from lits_deploy.pipeline.defaults import CPU_BATCH
from lits_deploy.printable import say
from lits_deploy.program import run_program
from lits_deploy.runtime import Device, Runtime, RuntimeOptions
from lits_deploy.runtime.onnxruntime_ import OnnxRuntime
from lits_deploy.runtime.openvino_ import OpenVino
from lits_deploy.runtime.pair import PairRuntime
from train.models.registry import build, network
from train.settings import input_contract

SCHEMA = 1
RUNTIMES: dict[str, type[OnnxRuntime | OpenVino]] = {"onnxruntime": OnnxRuntime, "openvino": OpenVino}
SERIES = 50
"""Slices after which the pattern of liver and no liver comes again."""

CALIBRATION = 8
"""Slices that INT8 ranges are taken from: enough for a file that is only timed."""


@dataclass(frozen=True, kw_only=True)
class Pattern(Fusion):
    """Looks at a share of all slices that go by, whatever they show."""

    share: float
    indices: cycle[int] = field(default_factory=lambda: cycle(range(SERIES)), compare=False)

    def looks(self, logits: Logits) -> npt.NDArray[np.bool_]:
        """The first slices of each SERIES."""
        return np.array([next(self.indices) < self.share * SERIES for _ in logits])


def original(name: str, width: int | None, channels: int) -> Original:
    """An untrained network as `export` takes it."""
    torch.manual_seed(0)
    info = network(name)
    contract = input_contract(info, window=(-40.0, 160.0), channels=channels)
    model = build(name, width=width, channels=channels).eval()
    return Original(info=info, module=Deployed(model, contract, info.task).eval(), contract=contract, width=width)


def write(made: Original, folder: Path) -> tuple[dict[str, Path], npt.NDArray[np.uint8]]:
    """Its FP32 and INT8 files by precision, and phantom slices uint8 [N, C, S, S]."""
    slices = np.stack([picture for _, picture in HeldOut(made).phantoms(2 * SERIES)])
    files = {precision: folder / f"{made.info.name}-{precision}.onnx" for precision in ("fp32", "int8")}
    write_onnx(made, files["fp32"])
    model = onnx.load(files["fp32"])
    seen = activations(model, slices[:: len(slices) // CALIBRATION], histograms=False)
    onnx.save(INT8_CPU.make(model, seen, "max"), files["int8"])
    return files, slices


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Both networks made and timed on every runtime and precision asked for."""
    record = MachineRecord()
    made = original("resnet18", None, given.channels), original("unet", given.width, given.channels)
    files, slices = zip(*(write(one, folder) for one in made), strict=True)
    rows = []
    for runtime in given.runtimes:
        for precision in ("fp32", "int8"):
            paths = [each[precision] for each in files]
            rows.append(
                {"runtime": runtime, "precision": precision, **timed(runtime, precision, paths, slices[0], given)}
            )
            say(line(rows[-1]))
    return record.document(
        "cost of a pair",
        SCHEMA,
        classifier="resnet18",
        segmenter=f"unet of width {given.width}",
        channels=given.channels,
        share=given.share,
        threads=given.threads,
        batch=CPU_BATCH,
        segmenter_batch=SEGMENTER_BATCH["cpu"],
        rounds=given.rounds,
        rows=rows,
    )


def timed(
    runtime: str, precision: str, paths: list[Path], slices: npt.NDArray[np.uint8], given: argparse.Namespace
) -> dict[str, Any]:
    """Rates of either, in turns; the order moves on each round."""

    def opened(path: Path, output: str, most: int) -> Runtime:
        return RUNTIMES[runtime](
            ModelFile.read(path),
            device=Device("cpu"),
            precision=precision,
            shape=slices.shape[1:],
            wanted=(output,),
            max_batch=most,
            options=RuntimeOptions(threads=given.threads),
        )

    with ExitStack() as stack:
        alone = stack.enter_context(opened(paths[0], "logits", CPU_BATCH))
        second = opened(paths[1], "labels", SEGMENTER_BATCH["cpu"])
        rule = Pattern(
            segmenter=precision,
            temperature=1.0,
            no_liver_below=1.0,
            intercept=0.0,
            classifier=1.0,
            tumour=1.0,
            share=given.share,
        )
        pair = stack.enter_context(PairRuntime(opened(paths[0], "logits", CPU_BATCH), second, rule))
        rates: dict[str, list[float]] = {"classifier": [], "pair": []}
        for number in range(given.rounds + 1):
            for name, network_ in [("classifier", alone), ("pair", pair)][:: 1 if number % 2 else -1]:
                rate = passes(network_, slices, given.seconds if number else 0.0)
                if number:  # the first warms up
                    rates[name].append(rate)
    ratios = [both / one for one, both in zip(rates["classifier"], rates["pair"], strict=True)]
    return {
        "slices_per_s": {name: round(median(values), 2) for name, values in rates.items()},
        "ratio": round(median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in sorted(ratios)],
    }


def passes(runtime: Runtime, slices: npt.NDArray[np.uint8], seconds: float) -> float:
    """Slices a second, over whole passes that take that long at least."""
    began, done = time.perf_counter(), 0
    while True:
        for start in range(0, len(slices), runtime.max_batch):
            runtime.infer(slices[start : start + runtime.max_batch])
        done += len(slices)
        if (spent := time.perf_counter() - began) >= seconds:
            return done / spent


def line(row: dict[str, Any]) -> str:
    """A row as text."""
    rates = row["slices_per_s"]
    return (
        f"{row['runtime']} {row['precision']}: classifier {rates['classifier']:.1f} slices/s, pair "
        f"{rates['pair']:.1f}, ratio {row['ratio']:.2f} ({row['ratios'][0]:.2f} to {row['ratios'][-1]:.2f})"
    )


def main() -> int:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description="A pair beside its classifier alone.")
    parser.add_argument("--width", type=int, default=16, help="of the U-Net")
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--share", type=float, default=0.4, help="of slices at which the U-Net looks")
    parser.add_argument("--runtimes", nargs="+", choices=list(RUNTIMES), default=list(RUNTIMES))
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="least time of each in each round")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lits-deploy-pair-") as temporary:
        record = measure(given, Path(temporary))
    for note in record["notes"]:
        say(f"note: {note}")
    if given.out is not None:
        write_json(given.out, record)
    return 0


if __name__ == "__main__":
    run_program(main)
