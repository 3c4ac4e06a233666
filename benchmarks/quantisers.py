"""What each way of quantising costs in accuracy: ranges, bits and layers left in floating point, on one run.

    python -m benchmarks.quantisers RUN --data DATA [--split validate] [--slices N] [--extra FILE.onnx …] [--out F.json]

Every variant is calibrated on the same training slices and compared with the FP32 graph on the same slices of a split,
one by one; `chosen by` is its mean |Δp| on the calibration slices that `export.precision.choose` looks at. CPU variants
run on ONNX Runtime in integers, TensorRT's in simulation (`export.precision.simulated`). --extra takes files that
another quantiser made from the same FP32 graph (`peers/other_quantisers.py`), in simulation; --dump writes what it
needs and ends. Speed is measured by `benchmarks.int8_cpu`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from benchmarks.machine import describe_machine
from benchmarks.peers.other_quantisers import CALIBRATION, MODEL
from export import graph
from export.gate.comparison import Comparison
from export.gate.slices import Judged
from export.precision import fp16, int8_cpu, int8_tensorrt
from export.precision.calibration_set import from_training_patients
from export.precision.choose import spread
from export.precision.layers import weighted
from export.precision.ranges import METHODS, Activation, activations
from export.precision.simulated import Simulated
from export.source import Original, from_run
from lits_deploy.files import write_json
from lits_deploy.model_file import ModelFile
from lits_deploy.printable import say
from lits_deploy.program import run_program
from lits_deploy.runtime import Runtime
from lits_deploy.runtime.device import Device
from lits_deploy.runtime.onnxruntime_ import OnnxRuntime
from train.data.layout import read_layout
from train.data.load import load_sample
from train.data.masks import load_class

BATCH = 8
HEADER = (
    f"{'variant':40} {'chosen by':>9} {'mean |Δp|':>9} {'max |Δp|':>8} {'flipped':>7} {'lost/found':>10} "
    f"{'accuracy':>8} {'AUROC':>6}"
)

Variant = tuple[str, onnx.ModelProto, bool]
"""Name, graph, whether it is simulated."""


def variants(model: onnx.ModelProto, seen: dict[str, Activation], extra: list[Path]) -> Iterator[Variant]:
    """Every variant in turn: one graph in memory at a time."""
    layers = [model.graph.node[index].name for index in weighted(model)]
    floating = {"all layers": [], "last in float": layers[-1:], "first and last in float": [layers[0], layers[-1]]}
    yield "fp16", fp16.to_fp16(model), True
    for method in METHODS:
        for which, names in floating.items():
            quantised = int8_cpu.to_int8(model, seen, method=method, floating=names)
            yield f"cpu {method}, {which}", quantised, False
        eight = int8_cpu.to_int8(model, seen, method=method, floating=layers[-1:], seven_bits=False)
        yield f"cpu {method}, last in float, 8 bits", eight, False
        for which, names in floating.items():
            yield f"trt {method}, {which}", int8_tensorrt.to_int8(model, seen, method=method, floating=names), True
    for path in extra:
        yield path.stem, onnx.load_from_string(ModelFile.read(path).data), True


def read_split(original: Original, data: Path, split: str, most: int) -> list[Judged]:
    """At most `most` slices of a split, evenly spread, with their classes."""
    samples = read_layout(data, (split,)).splits[split]
    places = np.unique(np.linspace(0, len(samples) - 1, min(most, len(samples))).round().astype(int))
    slices = []
    for place in places:
        sample = samples[place]
        picture, target = load_sample(sample, original.contract), load_class(sample)
        slices.append(Judged(name=sample.image.stem, patient=sample.patient, target=target, picture=picture, mask=None))
    return slices


def answers(
    original: Original, path: Path, pictures: npt.NDArray[np.uint8], *, simulated: bool
) -> npt.NDArray[np.float32]:
    """Probabilities [N, 3] of a classifier's ONNX file on slices uint8 [N, C, S, S]."""
    shape, wanted = original.contract.shape, ("probabilities",)
    runtime: Runtime
    if simulated:
        runtime = Simulated(ModelFile.read(path), precision="int8", shape=shape, wanted=wanted, max_batch=BATCH)
    else:
        runtime = OnnxRuntime(
            ModelFile.read(path), device=Device("cpu"), precision="int8", shape=shape, wanted=wanted, max_batch=BATCH
        )
    found = []
    with runtime:
        for start in range(0, len(pictures), BATCH):
            got = runtime.infer(pictures[start : start + BATCH]).probabilities
            assert got is not None
            found.append(got)
    return np.concatenate(found)


def compare(original: Original, data: Path, slices: list[Judged], extra: list[Path]) -> list[dict[str, Any]]:
    """A row of figures (`export.gate.comparison`) for every variant, printed as it comes."""
    calibration = from_training_patients(original, data)
    pictures, seen_ones = np.stack([one.picture for one in slices]), spread(calibration.slices)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        graph.write_onnx(original, path)
        model = onnx.load(path)
        seen = activations(model, calibration.slices)
        expected, known = (answers(original, path, some, simulated=False) for some in (pictures, seen_ones))
        say(HEADER)
        for name, quantised, simulated in variants(model, seen, extra):
            onnx.save_model(quantised, str(path))
            comparison = Comparison("classify")
            comparison.add(slices, expected, answers(original, path, pictures, simulated=simulated))
            delta = float(np.abs(answers(original, path, seen_ones, simulated=simulated) - known).mean())
            figures = comparison.figures() | {"calibration_delta": delta}
            rows.append({"variant": name, "simulated": simulated, **figures})
            say(line(name, figures))
    return rows


def dump(original: Original, data: Path, folder: Path) -> None:
    """What `peers/other_quantisers.py` works on: patients' pixels, so not into the repository."""
    folder.mkdir(parents=True, exist_ok=True)
    graph.write_onnx(original, folder / MODEL)
    np.save(folder / CALIBRATION, from_training_patients(original, data).slices)
    say(f"wrote {folder / MODEL} and {folder / CALIBRATION}")


def line(name: str, figures: dict[str, Any]) -> str:
    """A row of the table under HEADER."""
    after, lost = figures["artifact"], f"{figures['lesions_lost']}/{figures['lesions_found']}"
    return (
        f"{name:40} {figures['calibration_delta']:9.5f} {figures['mean_delta']:9.5f} {figures['max_delta']:8.3f} "
        f"{figures['flipped']:7d} {lost:>10} {after['accuracy']:8.4f} {after['lesion_auroc'] or float('nan'):6.4f}"
    )


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quantisers", description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="training run of a classifier")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="validate", choices=("validate", "test"))
    parser.add_argument("--slices", type=int, default=2_048, metavar="N", help="at most, evenly spread")
    parser.add_argument("--extra", type=Path, nargs="*", default=[], metavar="FILE.onnx")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    parser.add_argument("--dump", type=Path, metavar="FOLDER", help="graph and calibration slices for other quantisers")
    given = parser.parse_args(arguments)
    original = from_run(given.run)
    if original.info.task != "classify":
        parser.error("a U-Net is judged by its Dice, by `lits-deploy export --int8`")
    if given.dump is not None:
        dump(original, given.data, given.dump)
        return 0
    slices = read_split(original, given.data, given.split, given.slices)
    rows = compare(original, given.data, slices, given.extra)
    if given.out is not None:
        machine = describe_machine()
        write_json(given.out, {"machine": machine, "run": given.run.resolve().name, "split": given.split, "rows": rows})
        say(f"wrote {given.out}")
    return 0


if __name__ == "__main__":
    run_program(main)
