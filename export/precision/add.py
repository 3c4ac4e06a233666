"""Other precisions into a bundle in the making: calibrate, write, check, keep what passes, say what does not.

Works in the folder that `export.run` fills. Reports with patients' pixels go beside the bundle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from export import gate
from export.answers import LabelledAnswer
from export.calibrate import calibrate
from export.figures import by_rule, measure, say_measured
from export.gate.report import write_report
from export.held_out import PHANTOM_PATIENTS, HeldOut
from export.precision.calibration_set import COUNT, CalibrationSet, from_phantoms, from_training_patients
from export.precision.fp16 import overflow
from export.precision.layers import without_cam
from export.precision.make import AMPLE_MIB, SLICES, ArtifactRecipe, Simulated, choose_ranges, recipes
from export.precision.ranges import METHODS, activations
from export.progress import ExportProgress
from lits_deploy.backends import open_runtime, targets
from lits_deploy.bundle import Artifact, Bundle, Manifest
from lits_deploy.errors import DataError
from lits_deploy.files import sha256_file
from lits_deploy.goldens import compare
from lits_deploy.operating_point import ARGMAX
from lits_deploy.parity import FP16_TOLERANCE
from lits_deploy.procedure import moved_line
from lits_deploy.runtime import Device, Runtime, RuntimeOptions

GATED = ("onnxruntime", "openvino")
"""Runtimes that an artifact is checked on here where they are installed; a TensorRT engine proves itself when built."""

SIMULATION = "simulation"

FLOOR = {"fp16": FP16_TOLERANCE, "int8": 1e-2}
MARGIN = 3.0
"""Tolerance on the goldens: three times the largest |Δp| of any runtime here, at least FLOOR. Rounding to 8 bits moves
an answer about as much on every runtime (1.4e-2 on one, 2.7e-2 on another, docs/log.md); a broken kernel or swapped
classes move it by 0.3 and more."""


@dataclass(frozen=True, kw_only=True)
class WantedPrecisions:
    """Which precisions, from which slices, within which limits.

    calibration: data set whose train split calibrates; None takes the training data of the run. report: folder for
    flipped slices; None writes none. overridden: lines that say which limits are not the default.
    """

    fp16: bool = False
    int8: bool = False
    calibration: Path | None = None
    calibration_slices: int = COUNT
    allow_failing: bool = False
    limits: Mapping[str, gate.GateLimits] = field(default_factory=lambda: gate.DEFAULTS)
    overridden: tuple[str, ...] = ()
    report: Path | None = None

    def __bool__(self) -> bool:
        return self.fp16 or self.int8


def add_precisions(
    held: HeldOut,
    folder: Path,
    base: Manifest,
    calibration: CalibrationSet,
    wanted: WantedPrecisions,
    observer: ExportProgress,
    *,
    base_answers: Mapping[str, Sequence[LabelledAnswer]],
) -> tuple[Manifest, dict[str, dict[str, Any]]]:
    """Make and check every file that is wanted; those that stay out are removed from `folder` again.

    base: manifest so far, its one artifact the FP32 one; base_answers: its answers, by split.
    calibration: as `calibration_slices` chooses them. Returns the manifest with the files that stay, and those
    that do not in `left_out`; and the figures of the former, by name and split (`export.figures`).
    """
    for line in wanted.overridden:
        observer.say(f"gate limit changed: {line}")
    data, slices = calibration.record, calibration.slices
    observer.say(
        f"reading activations on {data['slices']} slices of {data['data']}"
        + (f", {len(data['patients'])} patients" if "patients" in data else "")
    )
    model = without_cam(onnx.load_from_string(Bundle(folder, base, "").read(base.artifacts[0]).data))
    observer.phase("calibration", len(slices))
    seen = activations(model, slices, histograms=wanted.int8, progress=observer.progress)
    ranges = {**overflow(model, seen), "data": data["data"], "slices": data["slices"]}
    chosen = recipes(with_fp16=wanted.fp16, with_int8=wanted.int8)
    made = []
    for recipe in chosen:
        path, record = folder / recipe.file, recipe.record
        if recipe.precision == "int8":
            observer.phase(f"ranges of {recipe.name}", min(SLICES, len(slices)) * len(METHODS))
            record = {**record, **choose_ranges(recipe, model, seen, slices, path, progress=observer.progress)}
            tried = ", ".join(
                f"{name} {delta:.1e}" for name, delta in sorted(record["tried"].items(), key=itemgetter(1))
            )
            way = f"`{record['ranges']}` (mean |Δp| on {record['tried_on']} of those slices: {tried})"
            observer.say(f"  {recipe.name}: ranges by {way}")
        else:
            onnx.save_model(recipe.make(model, seen), str(path))
        made.append(_artifact(recipe, base.artifacts[0], path, record))
    bundle = Bundle(folder, replace(base, artifacts=(*base.artifacts, *made)), "")

    kept, figures, left_out = list(base.artifacts), {}, {}
    with ExitStack() as stack:
        candidates = [c for artifact in made for c in _open(stack, bundle, artifact)]
        observer.say(f"checking {', '.join(r.name for r in chosen)} against PyTorch on {held.origin}")
        if note := held.note():
            observer.say(f"  WARNING: {note}")
        observer.phase("gate", len(held.gated) or 40 * PHANTOM_PATIENTS)
        verdicts = gate.check_candidates(held, candidates, wanted.limits, progress=observer.progress)
        if wanted.report is not None:
            for path in write_report(wanted.report, verdicts):
                observer.say(f"  → {path}")
        for recipe, artifact in zip(chosen, made, strict=True):
            own = [verdict for verdict in verdicts if verdict.candidate.artifact is artifact]
            # It is fitted and measured on the first runtime that it passes on, else on the first.
            lead = next((verdict for verdict in own if verdict.passed), own[0])
            done = _finish(artifact, own, lead, held, ranges if recipe.half else None, wanted)
            if not (done.gate["passed"] or wanted.allow_failing):
                left_out[done.name] = {"bytes": done.bytes, "gate": done.gate}
                (folder / done.file).unlink()
                continue
            own_figures, answers = measure(held, lead.candidate.runtime, observer)
            first = base.artifacts[0]
            done = calibrate(held, done, answers, first.operating_point, base=(first, base_answers))
            if moved := moved_line(done.calibration):
                observer.say(f"  {done.name}: temperature and thresholds {moved}")
            figures[done.name] = by_rule(own_figures, answers, done)
            kept.append(done)
        say_measured(observer.say, figures)
    with_int8 = calibration.record if wanted.int8 else {}
    return replace(base, artifacts=tuple(kept), left_out=left_out, calibration_set=with_int8), figures


def calibration_slices(held: HeldOut, wanted: WantedPrecisions) -> CalibrationSet:
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


def _artifact(recipe: ArtifactRecipe, base: Artifact, path: Path, record: dict[str, Any]) -> Artifact:
    """What a recipe has written to `path`, not checked yet. base: the FP32 one; record: how it was quantised."""
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
        operating_point=ARGMAX,
        operating_points=(),
        promise={},
        outputs=tuple(output for output in base.outputs if output != "cam"),
    )


def _open(stack: ExitStack, bundle: Bundle, artifact: Artifact) -> list[gate.CandidateArtifact]:
    """An artifact on every runtime here that it is for; simulated where there is none."""
    wanted = ("logits", "probabilities") if bundle.manifest.task == "classify" else ("probabilities", "labels")
    most = gate.gate_batch(bundle.manifest.task)
    opened: list[tuple[str, Runtime]] = []
    for name, device in targets():
        if name in GATED and artifact.placed_for(name, device):
            runtime = open_runtime(
                bundle, runtime=name, device=device, artifact=artifact, max_batch=most, wanted=wanted
            )
            opened.append((name if device == "cpu" else f"{name} {device}", runtime))
    if not opened:
        simulated = Simulated(
            bundle.read(artifact),
            device=Device("cpu"),
            precision=artifact.precision,
            shape=bundle.manifest.contract.shape,
            wanted=wanted,
            max_batch=most,
            options=RuntimeOptions(memory_limit_mib=AMPLE_MIB),
        )
        opened.append((SIMULATION, simulated))
    return [gate.CandidateArtifact(artifact, target, stack.enter_context(runtime)) for target, runtime in opened]


def _finish(
    artifact: Artifact,
    verdicts: Sequence[gate.GateVerdict],
    lead: gate.GateVerdict,
    held: HeldOut,
    ranges: dict[str, Any] | None,
    wanted: WantedPrecisions,
) -> Artifact:
    """The artifact with verdict and tolerance, and the runtimes it may be used on.

    lead: the verdict that its parity tells. ranges: of the activations that FP16 holds in it; None where it holds none.
    """
    failures = [f"{verdict.candidate.target}: {line}" for verdict in verdicts for line in verdict.failures]
    runtimes, passed = artifact.runtimes, not failures
    if not passed and lead.passed and runtimes:  # it is for several runtimes, and stays for those it passes on
        bad = {verdict.candidate.target.split()[0] for verdict in verdicts if not verdict.passed}
        runtimes = tuple(name for name in runtimes if name not in bad)
        passed = True
    if ranges is not None and not ranges["passed"]:
        largest = "not finite" if ranges["largest"] is None else f"{ranges['largest']:.0f}"
        failures.append(f"FP16 range: |{ranges['tensor']}| reaches {largest} (≤ {ranges['limit']:.0f})")
        passed = False
    notes = [held.note()]
    if any(verdict.candidate.target == SIMULATION for verdict in verdicts):
        notes.append("simulated in floating point, for its runtime was not here; an engine proves itself when built")
    if lead.figures["lesion_slices"] == 0:
        notes.append("no lesion slice among them")
    record = {
        "passed": passed,
        "failures": failures,
        "limits": wanted.limits[artifact.precision].to_json(),
        "overridden": [line for line in wanted.overridden if line.startswith(f"{artifact.precision}.")],
        "origin": held.origin,
        "note": "; ".join(note for note in notes if note) or None,
        "runtimes": {verdict.candidate.target: verdict.to_json() for verdict in verdicts},
        **({} if ranges is None else {"range": ranges}),
    }
    worst = max(compare(verdict.candidate.runtime, *held.goldens, 1.0).max_delta for verdict in verdicts)
    finite = worst if np.isfinite(worst) else 1.0
    info = lead.candidate.runtime.describe()
    return replace(
        artifact,
        runtimes=runtimes,
        tolerance=float(f"{max(FLOOR[artifact.precision], MARGIN * finite):.1e}"),
        gate=record,
        parity={
            **{key: lead.figures[key] for key in ("slices", "max_delta", "mean_delta", "flipped")},
            "origin": held.origin,
            "runtime": f"{info.name} {info.version}",
            "device": info.device,
            "tolerance": None,
            "passed": passed,
        },
    )
