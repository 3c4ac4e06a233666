"""What is evaluated, and on what: a bundle on a runtime or a training run in PyTorch, and the slices of a split.

A subject is known by its files' hashes; PyTorch is imported only for a run. A test set is in the order of patients,
with everything that weakens a figure on it. Marks are what must stand beside every figure: patients in two splits
(leaky), or a network that was trained or chosen on these very patients, which their pixels tell (`train.data.seen`).
Decodes no picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from benchmarks.inputs import labelled_layout
from export.answers import in_order
from lits_deploy.backends import open_runtime, resolve
from lits_deploy.bundle import MANIFEST, Bundle
from lits_deploy.cli.extras import needs
from lits_deploy.contract import InputContract, Task
from lits_deploy.errors import DataError, DeviceError, UserError
from lits_deploy.operating_point import OperatingPoint, point_of
from lits_deploy.pipeline.defaults import default_batch
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.runtime import Runtime
from lits_deploy.runtime.device import Device
from lits_deploy.synthetic import CAVEAT, is_synthetic
from train.data.layout import SPLITS, Sample
from train.data.seen import Past, of_bundle


@dataclass(frozen=True, kw_only=True)
class EvaluationSubject:
    """A network to evaluate, not loaded yet.

    identity: what a reader needs to find this very network again; temperature, abstain_below, point: as the bundle
    applies them, neutral for a run; calibration: how they were fitted; promise: what the point's promise rests on.
    trained_on: the training data set as its layout described it, empty where that is not known; past: which slices it
    was trained on. open: load it; the caller closes it.
    """

    kind: Literal["bundle", "run"]
    name: str
    task: Task
    contract: InputContract
    identity: dict[str, Any]
    trained_on: dict[str, Any]
    open: Callable[[], Runtime]
    temperature: float = 1.0
    abstain_below: float | None = None
    point: OperatingPoint = field(default_factory=OperatingPoint)
    promise: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)
    past: Past = field(default_factory=Past)


def open_subject(path: Path, options: ClassifyOptions = ClassifyOptions()) -> EvaluationSubject:
    """A bundle's folder or a run's folder, told apart by what lies in it.

    options: its runtime, device, artifact, batch_size (None: 8 on a CPU, 32 on a GPU), threads and engine_cache.
    Raises UserError where `path` is neither, BundleError, DataError, DeviceError, and MissingExtra without PyTorch for
    a run.
    """
    if (path / MANIFEST).is_file() or path.is_file():
        return _of_bundle(path, options)
    if (path / "config.json").is_file():
        return _of_run(path, options)
    what = "is neither a bundle nor a training run" if path.exists() else "does not exist"
    raise UserError(f"{path} {what}.", fix="give a folder that `lits-deploy train` or `lits-deploy export` made")


def _of_bundle(path: Path, options: ClassifyOptions) -> EvaluationSubject:
    bundle = Bundle.open(path)
    chosen, manifest = bundle.artifact(options.artifact), bundle.manifest
    if manifest.segmenter is not None:
        raise UserError(
            f"{path} is a pair: evaluate does not measure two networks together.",
            fix="its card says what it does out of fold; evaluate the two bundles that it was made of",
        )
    runtime, device = resolve(options.runtime, options.device)
    opened = partial(
        open_runtime,
        bundle,
        runtime=runtime,
        device=str(device),
        artifact=chosen,
        max_batch=options.batch_size or default_batch(str(device)),
        options=options.runtime_options(insist=options.batch_size is not None),
    )
    return EvaluationSubject(
        kind="bundle",
        name=path.resolve().name,
        task=manifest.task,
        contract=manifest.contract,
        identity={
            "kind": "bundle",
            "name": path.resolve().name,
            "model": manifest.model.get("name"),
            "parameters": manifest.model.get("parameters"),
            "bundle_sha256": bundle.sha256,
            "artifact": chosen.name,
            "artifact_sha256": chosen.sha256,
            "precision": chosen.precision,
            "checkpoint_sha256": manifest.training.get("checkpoint_sha256"),
            "contract_sha256": manifest.contract.sha256,
        },
        trained_on=dict(manifest.training.get("dataset") or {}),
        open=opened,
        temperature=chosen.temperature,
        abstain_below=chosen.abstain_below,
        point=point_of(chosen),
        promise=dict(chosen.promise),
        calibration=dict(chosen.calibration),
        past=Past.of(of_bundle(bundle), manifest.training),
    )


def _of_run(path: Path, options: ClassifyOptions) -> EvaluationSubject:
    if options.artifact is not None or options.runtime not in ("auto", "torch"):
        option = "--artifact" if options.artifact is not None else "--runtime"
        raise UserError(
            f"{path} is a training run, which is evaluated in PyTorch: {option} is for bundles.",
            fix=f"leave it out, or export with `lits-deploy export {path}`",
        )
    with needs("train", "evaluating a training run"):
        import torch

        from benchmarks.torch_eager import TorchEager
        from export.source import from_run
    cuda = torch.cuda.is_available()
    device = Device.parse(options.device, auto=Device("cuda" if cuda else "cpu"))
    if device.kind == "cuda" and (not cuda or device.index >= torch.cuda.device_count()):
        raise DeviceError(f"PyTorch has no {device} here.", fix="--device cpu")
    original, batch = from_run(path), options.batch_size or default_batch(str(device))
    return EvaluationSubject(
        kind="run",
        name=path.resolve().name,
        task=original.info.task,
        contract=original.contract,
        identity={
            "kind": "run",
            "name": path.resolve().name,
            "model": original.info.name,
            "parameters": original.parameters,
            "checkpoint": original.training["checkpoint"],
            "epoch": original.training["epoch"],
            "checkpoint_sha256": original.training["checkpoint_sha256"],
            "precision": "fp32",
            "contract_sha256": original.contract.sha256,
        },
        trained_on=dict(original.training.get("dataset") or {}),
        open=partial(TorchEager, original, device=str(device), threads=options.threads, max_batch=batch),
        past=original.past,
    )


@dataclass(frozen=True, kw_only=True)
class TestSet:
    """samples: ordered by patient, scan, then name. split_by: patient, slice, or None where only this split is at hand.

    marks: sentences that stand beside every figure; notes: those that a reader may want. declared: dataset.json.
    """

    __test__ = False  # not a test of pytest's

    root: Path
    split: str
    samples: tuple[Sample, ...]
    split_by: str | None
    leaked: list[str]
    marks: list[str]
    notes: list[str]
    declared: dict[str, Any]

    @property
    def synthetic(self) -> bool:
        """True for phantoms."""
        return is_synthetic(self.declared)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.root.resolve().name

    def spacing_mm(self, scan: str) -> tuple[float, float, float] | None:
        """Distance in mm of neighbouring slices, rows and columns of a scan; None where it is not declared."""
        table = self.declared.get("spacing_mm")
        values = table.get(scan) if isinstance(table, dict) else None
        if not isinstance(values, list) or len(values) != 3:
            return None
        sound = all(type(value) in (int, float) and 0 < value < math.inf for value in values)
        return (float(values[0]), float(values[1]), float(values[2])) if sound else None


def open_testset(root: Path, split: str, subject: EvaluationSubject) -> TestSet:
    """List a split for a network.

    Raises DataError where there is no such split, or no masks for a U-Net; ContractError where the slices were made
    through another window than the network's.
    """
    if split not in SPLITS:
        raise DataError(f"`{split}` is not a split.", fix=f"use one of: {', '.join(SPLITS)}")
    layout = labelled_layout(root, split, subject.contract, subject.task)
    patients = set(layout.patients(split))
    leaked = sorted(set(layout.leaks()) & patients)
    by_slice = leaked or layout.declared.get("split_by") == "slice"
    split_by = "slice" if by_slice else "patient" if len(layout.splits) == len(SPLITS) else None
    marks = [CAVEAT] if layout.synthetic else []
    notes = []
    if by_slice:
        who = f" ({len(leaked)} of {len(patients)} patients here are in another split too)" if leaked else ""
        marks.append(
            f"LEAKY: the data was split by slice{who}. Neighbouring slices of one patient are nearly equal, so these "
            "figures are too good and say nothing about new patients."
        )
    elif subject.trained_on.get("split_by") == "slice":
        marks.append("The network was trained on data split by slice: which patients it has seen is not known.")
    if split_by is None:
        notes.append(f"only the split {split} is at hand: whether its patients are in another cannot be known")
    if None in (layout.window_hu, subject.contract.window_hu):
        notes.append("the window of the slices or of the network is not declared: whether they agree is not known")
    return TestSet(
        root=root,
        split=split,
        samples=in_order(layout.splits[split]),
        split_by=split_by,
        leaked=leaked,
        marks=marks,
        notes=notes,
        declared=layout.declared,
    )


def past_marks(testset: TestSet, past: Past, keyed: Sequence[tuple[str, int | None]]) -> tuple[list[str], list[str]]:
    """Marks and notes on what the network has to do with these patients. keyed: patient and key of every slice."""
    patients = {sample.patient for sample in testset.samples}
    marks = []
    if trained := past.of_split("train", keyed):
        marks.append(
            f"NOT A TEST: the network was trained on {len(trained)} of the {len(patients)} patients of this split."
        )
    if chosen := past.of_split("validate", keyed):
        marks.append(
            "NOT A TEST: the best epoch, or a bundle's temperature and thresholds, were chosen on "
            f"{len(chosen)} of the {len(patients)} patients of this split."
        )
    if past.whole:
        return marks, []
    named = {split: past.by_name(split, testset.root, patients) for split in ("train", "validate")}
    for split, known in (("train", trained), ("validate", chosen)):
        if more := sorted(set(named[split]) - set(known)):
            marks.append(
                f"NOT KNOWN whether this is a test: {len(more)} of the {len(patients)} patients have the numbers of "
                f"patients of the network's own {split} split, in a folder of the same name."
            )
    return marks, [
        "The training did not note all slices that it learnt from (it was made before that was noted, or gave its "
        "weights alone): other patients of this split may be among them."
    ]
