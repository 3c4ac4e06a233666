"""Export: original → graph → parity gate → goldens → other precisions → manifest → bundle, whole or not at all."""

from __future__ import annotations

import platform
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from export import cam, graph, parity
from export.agreement import agree
from export.average import moved_to_average
from export.calibrate import calibrate
from export.card import model_card
from export.cost import cost
from export.figures import ANSWER, BATCH, MEASURED, by_rule, measure, say_measured
from export.flipped_folds import with_flipped_answers
from export.held_out import HeldOut
from export.mean_of_folds import parts_of
from export.precision.add import WantedPrecisions, add_precisions, calibration_slices
from export.procedure import procedure
from export.progress import ExportProgress
from export.source import Original
from export.source_of_folds import networks_of
from export.training_series import kept_of_training
from lits_deploy import __version__
from lits_deploy.bundle import CARD, GOLDEN, SEEN, Artifact, Bundle, Manifest, write_manifest
from lits_deploy.drift.reference import REFERENCE
from lits_deploy.files import sha256_file, write_bytes, write_printable
from lits_deploy.measured import ARTIFACTS, IN_TRAINING
from lits_deploy.model_file import ModelFile
from lits_deploy.operating_point import ARGMAX, OUT_OF_FOLD, point_of, promised
from lits_deploy.packing import check_free, replace_bundle, workplace
from lits_deploy.parity import FP32_TOLERANCE
from lits_deploy.printable import printable
from lits_deploy.procedure import (
    AGREEMENT,
    COST,
    PROCEDURE,
    agreement_line,
    cost_line,
    moved_line,
    procedure_line,
    procedure_of,
    procedure_on,
)
from lits_deploy.runtime.device import Device
from lits_deploy.runtime.onnxruntime_ import OnnxRuntime
from lits_deploy.synthetic import MARK
from train.data.seen import SeenSlices
from train.device import limit_threads
from train.run import provenance

MODEL = "model.onnx"


def export(
    original: Original,
    out: Path,
    *,
    overwrite: bool = False,
    slices: int = parity.MINIMUM,
    wanted: WantedPrecisions | None = None,
    operating_point: str = ARGMAX,
    observer: ExportProgress | None = None,
) -> Bundle:
    """Write the bundle `out`; it appears in one rename, after the parity gate has passed.

    slices: how many the parity gate compares, at least 256. wanted: other precisions; one that fails its own gate is
    left out and named in the manifest (`left_out`), unless it is allowed in. operating_point: the rule by which class 2
    is given (`operating_point.parse_rule`). Raises OutputError where `out` exists, ParityError where the
    graph differs from the original, DataError where calibration slices may not be used, or no threshold can be set for
    the rule.
    """
    check_free(out, overwrite=overwrite)
    limit_threads()
    observer, flips = observer or ExportProgress(), original.module.flips
    if original.folded is not None and flips != "none":
        original = with_flipped_answers(original, flips, observer)
    with workplace(out, 0) as folder:
        _fill(HeldOut(original), folder, max(slices, parity.MINIMUM), wanted, operating_point, observer)
        replace_bundle(out, folder)
    return Bundle.open(out)


def _fill(
    held: HeldOut, folder: Path, count: int, wanted: WantedPrecisions | None, rule: str, observer: ExportProgress
) -> None:
    original = held.original
    chosen = calibration_slices(held, wanted) if wanted else None  # first: it may be refused
    began, say = time.perf_counter(), observer.say
    say(f"exporting {original.info.name} ({original.parameters:,} parameters) to ONNX")
    graph.write_onnx(original, folder / MODEL)
    size = (folder / MODEL).stat().st_size
    say(f"  {MODEL}: {size / 1e6:.1f} MB, opset {graph.OPSET}, {time.perf_counter() - began:.1f} s")

    origin, named = held.parity(count)
    say(f"comparing PyTorch and ONNX Runtime on {len(named[0])} slices ({origin})")
    observer.phase("parity", len(named[0]))
    with _runtime(original, folder / MODEL) as runtime:
        info = runtime.describe()
        compared = parity.gate(original, runtime, named, FP32_TOLERANCE, progress=observer.progress)
        say(f"  -[✓] max |Δp| {compared.max_delta:.1e} (≤ {FP32_TOLERANCE:.0e}), no slice flipped")
    for split in MEASURED:
        if warning := _trained_on(held, split):
            say(f"WARNING: {warning}")

    golden, expected = held.goldens
    if original.module.cam is not None:
        with _runtime(original, folder / MODEL, ("cam",)) as runtime:
            apart = cam.check(original.module, original.module.outputs, runtime, golden)
        say(f"  -[✓] class-activation map: {apart:.0e} of its largest value apart (≤ {cam.TOLERANCE:.0e})")
    np.savez_compressed(folder / GOLDEN, slices=golden, probabilities=expected)  # names that `verify` reads

    with _runtime(original, folder / MODEL, (ANSWER[original.info.task],), max_batch=BATCH) as runtime:
        of_file, answers = measure(held, runtime, observer)
    artifact = Artifact(
        name="fp32",
        file=MODEL,
        sha256=sha256_file(folder / MODEL),
        bytes=size,
        precision="fp32",
        opset=graph.OPSET,
        outputs=original.module.outputs,
        tolerance=FP32_TOLERANCE,
        parity={
            **compared.verdict(),
            "origin": origin,
            "runtime": f"{info.name} {info.version}",
            "device": info.device,
        },
    )
    artifact = calibrate(held, artifact, answers, rule)
    folded = original.folded
    if folded is not None and folded.taken == "average" and artifact.calibration["fitted"]:
        artifact = moved_to_average(held, artifact, answers, networks_of(folded, original.module.flips), observer)
    figures = {"fp32": by_rule(of_file, answers, artifact)}
    say_measured(say, figures)
    metrics = _of_folds(held, folder, observer)
    say(_calibrated(artifact))
    if moved := moved_line(artifact.calibration):
        say(f"  {moved}")
    if sentence := promised(point_of(artifact), artifact.promise):
        say(f"  class 2 by {artifact.operating_point}: {sentence}")
    reference = kept_of_training(held, artifact, answers.get("validate", ()), observer)
    files = {GOLDEN: sha256_file(folder / GOLDEN)}
    if seen := _seen(held, artifact):
        write_bytes(folder / SEEN, seen.to_bytes())
        files[SEEN] = sha256_file(folder / SEEN)
    model = {"name": original.info.name, "parameters": original.parameters, "source": original.info.source}
    if original.width is not None:
        model["width"] = original.width
    if original.module.flips != "none":
        model["flips"] = original.module.flips
    if (networks := len(parts_of(original.module.network))) > 1:
        model["networks"] = networks
    if original.module.cam is not None:
        model["cam"] = cam.record(original.module.network)
    manifest = Manifest(
        task=original.info.task,
        model=model,
        contract=original.contract,
        artifacts=(artifact,),
        files=files,
        training=original.training | ({} if reference is None else {REFERENCE: reference.to_json()}),
        export=_made_with(),
    )
    if wanted and chosen:
        manifest, more = add_precisions(held, folder, manifest, chosen, wanted, observer, base_answers=answers)
        figures |= more
    manifest = replace(manifest, metrics={ARTIFACTS: figures, IN_TRAINING: original.metrics, **metrics})
    write_printable(folder / CARD, model_card(manifest))
    write_manifest(folder, replace(manifest, files={**manifest.files, CARD: sha256_file(folder / CARD)}))


def _of_folds(held: HeldOut, folder: Path, observer: ExportProgress) -> dict[str, Any]:
    """What a bundle of a folded run has beside the figures of its files; nothing for another."""
    folded = held.original.folded
    if folded is None:
        return {}
    found: dict[str, Any] = {PROCEDURE: procedure(folded.answers)}
    figures = procedure_of(found)
    assert figures is not None
    observer.say(f"the procedure, {procedure_on(figures)}")
    observer.say(f"  {procedure_line(figures)}")
    if folded.taken == "average":
        found[COST] = cost(held, folder / MODEL, folder)
        observer.say(f"  the average takes {cost_line(found[COST])}")
    if folded.taken == "all":
        found[AGREEMENT] = agree(held, networks_of(folded, held.original.module.flips), observer).to_json()
        observer.say(f"  -[✓] {agreement_line(found[AGREEMENT])}")
    return found


def _runtime(
    original: Original, path: Path, wanted: tuple[str, ...] = (), *, max_batch: int | None = None
) -> OnnxRuntime:
    usual = ("logits", "probabilities") if original.info.task == "classify" else ("probabilities",)
    return OnnxRuntime(
        ModelFile.read(path),
        device=Device("cpu"),
        precision="fp32",
        shape=original.contract.shape,
        wanted=wanted or usual,
        max_batch=max_batch or (16 if original.info.task == "classify" else 4),
    )


def _seen(held: HeldOut, artifact: Artifact) -> SeenSlices | None:
    """The slices that the bundle was trained, chosen and fitted on; None where the training did not note them."""
    seen = held.original.seen
    if not artifact.calibration["fitted"] or held.original.out_of_fold is not None:  # a fold's notes hold all patients
        return seen
    found = held.unseen("validate")
    return seen if seen is None or found is None else seen.with_validate(found.keys)


def _trained_on(held: HeldOut, split: str) -> str | None:
    """What must be said of a split where the network was trained on patients in it."""
    found, folded = held.unseen(split), held.original.folded
    if found is None or not found.left_out:
        return None
    if folded is not None and folded.layout is not None and folded.fold is None and split == "validate":
        return None  # as it was asked for
    some = ", ".join(printable(patient) for patient in found.left_out[:5])
    whole = len(found.layout.patients(split))
    return (
        f"the network was trained on {len(found.left_out)} of the {whole} {split} patients ({some}"
        + (", …" if len(found.left_out) > 5 else "")
        + "): nothing is fitted or measured on them. Fix: train on the split as it is now, or give --data with other "
        "patients"
    )


def _calibrated(artifact: Artifact) -> str:
    record = artifact.calibration
    if not record["fitted"]:
        return f"not calibrated: {record['why']}"
    threshold = artifact.abstain_below
    rule = "never abstains" if threshold is None else f"abstains below {threshold:.3f}"
    (nll, ece), (nll_after, ece_after) = ((record[when]["nll"], record[when]["ece"]) for when in ("before", "after"))
    how = f" {OUT_OF_FOLD}" if record["source"] == OUT_OF_FOLD else ""
    return (
        f"calibrated{how} on {record['slices']} slices of {len(record['patients'])} patients ({record['data']}"
        f"{', ' + MARK if record['synthetic'] else ''}): "
        f"temperature {artifact.temperature:.3f}, log loss {nll:.3f} → {nll_after:.3f}, calibration error "
        f"{ece:.3f} → {ece_after:.3f}, {rule}"
    )


def _made_with() -> dict[str, Any]:
    import onnx
    import onnxruntime

    return {
        **provenance(),
        "lits_deploy": __version__,
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "machine": platform.machine(),
    }
