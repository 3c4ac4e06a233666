"""Other precisions into a bundle in the making: calibrate, write, judge, keep what passes, say what does not.

Works in the folder that `export.run` fills. Reports with patients' pixels go beside the bundle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from export import gate
from export.calibrate import calibrate
from export.cam import without_cam
from export.figures import measure, say_measured
from export.gate.report import write_report
from export.held_out import PHANTOM_PATIENTS, HeldOut
from export.precision.calibration_set import COUNT, CalibrationSet, from_phantoms, from_training_patients
from export.precision.choose import SLICES, choose_ranges
from export.precision.fp16 import overflow
from export.precision.make import Recipe, recipes
from export.precision.ranges import METHODS, Activation, activations
from export.precision.simulated import Simulated
from export.talk import Talk
from lits_deploy.backends import open_runtime, places
from lits_deploy.bundle import Artifact, Bundle, Manifest
from lits_deploy.errors import DataError
from lits_deploy.files import sha256_file
from lits_deploy.goldens import compare
from lits_deploy.parity import FP16_TOLERANCE
from lits_deploy.runtime import Runtime

GATED = ("onnxruntime", "openvino")
"""Runtimes that an artifact is judged on here where they are installed; a TensorRT engine proves itself when built."""

FLOOR = {"fp16": FP16_TOLERANCE, "int8": 1e-2}
MARGIN = 3.0
"""Tolerance on the goldens: three times the largest |Δp| of any runtime here, at least FLOOR. Rounding to 8 bits moves
an answer about as much on every runtime (1.4e-2 on one, 2.7e-2 on another, docs/log.md); a broken kernel or swapped
classes move it by 0.3 and more."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which precisions, from which slices, within which limits.

    calibration: data set whose train split calibrates; None takes the training data of the run. report: folder for
    flipped slices; None writes none. overridden: lines that say which limits are not the default.
    """

    fp16: bool = False
    int8: bool = False
    calibration: Path | None = None
    calibration_slices: int = COUNT
    allow_failing: bool = False
    limits: Mapping[str, gate.Limits] = field(default_factory=lambda: gate.DEFAULTS)
    overridden: tuple[str, ...] = ()
    report: Path | None = None

    def __bool__(self) -> bool:
        return self.fp16 or self.int8


@dataclass(frozen=True, kw_only=True)
class Added:
    """What came of it. artifacts: those the bundle keeps; figures: theirs, by name and split (`export.figures`);
    left_out: verdicts of the others, by name."""

    artifacts: tuple[Artifact, ...]
    figures: dict[str, dict[str, Any]]
    left_out: dict[str, Any]
    calibration_set: dict[str, Any]


def add_precisions(
    held: HeldOut,
    folder: Path,
    base: Manifest,
    calibration: CalibrationSet,
    wanted: Wanted,
    talk: Talk,
) -> Added:
    """Make and judge every file that is wanted; those that stay out are removed from `folder` again.

    base: manifest so far, its first artifact the FP32 one. calibration: as `calibration_slices` chooses them.
    """
    for line in wanted.overridden:
        talk.say(f"gate limit changed: {line}")
    talk.say(
        f"reading activations on {calibration.record['slices']} slices of {calibration.record['data']}"
        + (f", {len(calibration.record['patients'])} patients" if "patients" in calibration.record else "")
    )
    original_file = Bundle(folder=folder, manifest=base, sha256="").read(base.artifacts[0])
    model = without_cam(onnx.load_from_string(original_file.data))
    talk.phase("calibration", len(calibration.slices))
    seen = activations(model, calibration.slices, histograms=wanted.int8, progress=talk.progress)
    ranges = {**overflow(model, seen), "data": calibration.record["data"], "slices": calibration.record["slices"]}
    chosen = recipes(with_fp16=wanted.fp16, with_int8=wanted.int8)
    made = [_write(recipe, model, seen, calibration.slices, folder, base.artifacts[0], talk) for recipe in chosen]
    bundle = Bundle(folder=folder, manifest=replace(base, artifacts=(*base.artifacts, *made)), sha256="")

    with ExitStack() as stack:
        candidates = [c for artifact in made for c in _open(stack, bundle, artifact)]
        talk.say(f"judging {', '.join(r.name for r in chosen)} against PyTorch on {held.origin}")
        if note := held.note():
            talk.say(f"  WARNING: {note}")
        talk.phase("gate", len(held.gated) or 40 * PHANTOM_PATIENTS)
        verdicts = gate.judge(held, candidates, wanted.limits, progress=talk.progress)
        if wanted.report is not None:
            for path in write_report(wanted.report, verdicts):
                talk.say(f"  → {path}")
        finished: list[Artifact] = []
        figures: dict[str, dict[str, Any]] = {}
        for recipe, artifact in zip(chosen, made, strict=True):
            own = [verdict for verdict in verdicts if verdict.artifact == artifact.name]
            opened = [candidate.runtime for candidate in candidates if candidate.artifact == artifact.name]
            done = _finish(recipe, artifact, own, opened, held, ranges, wanted)
            if done.gate["passed"] or wanted.allow_failing:
                measured = measure(held, opened[_lead(own)], talk)
                figures[done.name] = measured.figures
                fitted = calibrate(held, measured.validate)
                done = replace(
                    done, temperature=fitted.temperature, abstain_below=fitted.abstain_below, calibration=fitted.record
                )
            finished.append(done)
        say_measured(talk.say, figures)
    kept = []
    for artifact in finished:
        if artifact.name in figures:
            kept.append(artifact)
        else:
            (folder / artifact.file).unlink()
    return Added(
        artifacts=tuple(kept),
        figures=figures,
        left_out={a.name: {"bytes": a.bytes, "gate": a.gate} for a in finished if a not in kept},
        calibration_set=calibration.record if wanted.int8 else {},
    )


def calibration_slices(held: HeldOut, wanted: Wanted) -> CalibrationSet:
    """The slices to calibrate on: of the data set named, else of the run's own, else phantoms (for FP16 alone).

    Raises DataError where INT8 has nothing to calibrate on, or slices overlap with validate or test.
    """
    data = wanted.calibration or held.original.data
    if data is not None and (wanted.calibration is not None or (data / "train").is_dir()):
        return from_training_patients(held, data, count=wanted.calibration_slices)
    if wanted.int8:
        raise DataError(
            "INT8 needs slices of training patients, and the training data is not at hand.",
            fix="--calibration DATA (its train split is used)",
        )
    return from_phantoms(held)


def _write(
    recipe: Recipe,
    model: onnx.ModelProto,
    seen: Mapping[str, Activation],
    slices: npt.NDArray[np.uint8],
    folder: Path,
    base: Artifact,
    talk: Talk,
) -> Artifact:
    path, record = folder / recipe.file, recipe.record
    if recipe.precision == "int8":
        talk.phase(f"ranges of {recipe.name}", min(SLICES, len(slices)) * len(METHODS))
        chosen = choose_ranges(recipe, model, seen, slices, path, progress=talk.progress)
        record = {**record, **chosen}
        tried = ", ".join(
            f"{name} {delta:.1e}" for name, delta in sorted(chosen["tried"].items(), key=lambda kv: kv[1])
        )
        way = f"`{chosen['ranges']}` (mean |Δp| on {chosen['tried_on']} of those slices: {tried})"
        talk.say(f"  {recipe.name}: ranges by {way}")
    else:
        onnx.save_model(recipe.make(model, seen), str(path))
    return replace(
        base,
        name=recipe.name,
        file=recipe.file,
        sha256=sha256_file(path),
        bytes=path.stat().st_size,
        precision=recipe.precision,
        runtimes=recipe.runtimes,
        devices=recipe.devices,
        quantisation=record,
        parity={},
        calibration={},
        temperature=1.0,
        abstain_below=None,
        outputs=tuple(output for output in base.outputs if output != "cam"),
    )


def _open(stack: ExitStack, bundle: Bundle, artifact: Artifact) -> list[gate.Candidate]:
    """An artifact on every runtime here that it is for; simulated where there is none."""
    classify = bundle.manifest.task == "classify"
    wanted = ("logits", "probabilities") if classify else ("probabilities", "labels")
    most = gate.judge_batch(bundle.manifest.task)
    opened: list[tuple[str, Runtime]] = []
    for name, device in places():
        if name in GATED and artifact.placed_for(name, device):
            runtime = open_runtime(
                bundle, runtime=name, device=device, artifact=artifact, max_batch=most, wanted=wanted
            )
            opened.append((name if device == "cpu" else f"{name} {device}", stack.enter_context(runtime)))
    if not opened:
        simulated = Simulated(
            bundle.read(artifact),
            precision=artifact.precision,
            shape=bundle.manifest.contract.shape,
            wanted=wanted,
            max_batch=most,
        )
        opened.append(("simulation", stack.enter_context(simulated)))
    return [
        gate.Candidate(artifact=artifact.name, precision=artifact.precision, place=name, runtime=runtime)
        for name, runtime in opened
    ]


def _finish(
    recipe: Recipe,
    artifact: Artifact,
    verdicts: Sequence[gate.Verdict],
    opened: Sequence[Runtime],
    held: HeldOut,
    ranges: dict[str, Any],
    wanted: Wanted,
) -> Artifact:
    """The artifact with verdict and tolerance, and the runtimes it may be used on."""
    failures = [f"{verdict.place}: {line}" for verdict in verdicts for line in verdict.failures]
    runtimes, passed = recipe.runtimes, all(verdict.passed for verdict in verdicts)
    good = [verdict.place for verdict in verdicts if verdict.passed]
    if not passed and good and recipe.runtimes:  # it is for several runtimes, and stays for those it passes on
        bad = {verdict.place.split()[0] for verdict in verdicts if not verdict.passed}
        runtimes = tuple(name for name in recipe.runtimes if name not in bad)
        passed = True
    if recipe.half and not ranges["passed"]:
        largest = "not finite" if ranges["largest"] is None else f"{ranges['largest']:.0f}"
        failures.append(f"FP16 range: |{ranges['tensor']}| reaches {largest} (≤ {ranges['limit']:.0f})")
        passed = False
    lead = _lead(verdicts)
    record = {
        "passed": passed,
        "failures": failures,
        "limits": wanted.limits[recipe.precision].to_json(),
        "overridden": [line for line in wanted.overridden if line.startswith(f"{recipe.precision}.")],
        "origin": held.origin,
        "note": _note(held, verdicts),
        "runtimes": {verdict.place: verdict.to_json() for verdict in verdicts},
    }
    if recipe.half:
        record["range"] = ranges
    worst = max(compare(runtime, *held.goldens, 1.0).max_delta for runtime in opened)
    finite = worst if np.isfinite(worst) else 1.0
    tolerance = float(f"{max(FLOOR[recipe.precision], MARGIN * finite):.1e}")
    info, figures = opened[lead].describe(), verdicts[lead].figures
    return replace(
        artifact,
        runtimes=runtimes,
        tolerance=tolerance,
        gate=record,
        parity={
            **{key: figures[key] for key in ("slices", "max_delta", "mean_delta", "flipped")},
            "origin": held.origin,
            "runtime": f"{info.name} {info.version}",
            "device": info.device,
            "tolerance": None,
            "passed": passed,
        },
    )


def _lead(verdicts: Sequence[gate.Verdict]) -> int:
    """The runtime that an artifact is fitted and measured on: the first that it passes on, else the first."""
    return next((index for index, verdict in enumerate(verdicts) if verdict.passed), 0)


def _note(held: HeldOut, verdicts: Sequence[gate.Verdict]) -> str | None:
    notes = [held.note()]
    if any(verdict.place == "simulation" for verdict in verdicts):
        notes.append("simulated in floating point, for its runtime was not here; an engine proves itself when built")
    if verdicts[0].figures["lesion_slices"] == 0:
        notes.append("no lesion slice among them")
    return "; ".join(note for note in notes if note) or None
