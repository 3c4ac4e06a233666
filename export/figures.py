"""The figures of an exported file, measured on that very file: what the card, `inspect` and reports say of it.

Slices, their order, batches and functions are those of `evaluate`, so that it gives the same figures for the same file,
runtime and data. What training measured is of another network in that sense: it computes in bf16, and before export.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from export.answers import LabelledAnswer, answers
from export.held_out import HeldOut
from export.progress import ExportProgress
from lits_deploy.bundle import Artifact
from lits_deploy.measured import ARTIFACTS, figures_line, figures_of, measured_on
from lits_deploy.operating_point import point_of
from lits_deploy.pipeline.decide import SliceDecider, softmax
from lits_deploy.pipeline.defaults import default_batch
from lits_deploy.runtime import Runtime
from train.data.layout import SPLITS
from train.metrics import classification_summary, confusion_matrix, segmentation_summary_of

MEASURED = ("validate", "test")
"""Splits that figures are of, less the patients in them that the network was trained on (`HeldOut.unseen`)."""

ANSWER = {"classify": "logits", "segment": "labels"}
"""The output that figures come from."""

BATCH = default_batch("cpu")
"""Slices in a batch, as `evaluate` takes them: another number may change the last digits of a probability."""


def measure(
    held: HeldOut, runtime: Runtime, observer: ExportProgress | None = None
) -> tuple[dict[str, dict[str, Any]], dict[str, tuple[LabelledAnswer, ...]]]:
    """Run the splits through an artifact, once: its figures by split, as they go into the manifest, and a classifier's
    answers by split, in order, those alone that have logits.

    A split that is not at hand, of another window, or of which the network was trained on every patient is not among
    them.

    runtime: the artifact, open; returns `logits` of a classifier, `labels` of a U-Net. Of each split: data, split_by
    (None where it is not known), synthetic, patients and slices (counted), failed (files that could not be used),
    left_out (patients that the network was trained on), data_sha256 (as `evaluate` has it), runtime, device; then
    `classification_summary`, or `segmentation_summary_of` with the confusion matrix of pixels; None for a figure that
    does not exist.
    """
    found: dict[str, dict[str, Any]] = {}
    answered: dict[str, tuple[LabelledAnswer, ...]] = {}
    observer = observer or ExportProgress()
    for split in MEASURED:
        unseen = held.unseen(split)
        if unseen is None or not held.fits(split):
            continue
        layout, before = unseen.layout, [0]
        read, data_sha256 = held.read(split)

        def tell(now: int, before: list[int] = before) -> None:
            observer.progress(now - before[0])
            before[0] = now

        observer.phase(f"figures on {split}", len(read))
        stream = answers(runtime, held.pictured(split), on_progress=tell)
        if held.original.info.task == "classify":
            answered[split] = tuple(answer for answer in stream if answer.logits is not None)
            figures = _classified(answered[split])
        else:
            figures = _segmented(stream)
        if not figures["slices"]:
            continue
        info, whole = runtime.describe(), len(layout.splits) == len(SPLITS)
        found[split] = {
            "data": held.named(split),
            "split_by": layout.split_by if whole or layout.split_by == "slice" else None,
            "synthetic": layout.synthetic,
            "failed": len(read) - figures["slices"],
            "left_out": len(unseen.left_out),
            "data_sha256": data_sha256,
            "runtime": f"{info.name} {info.version}",
            "device": info.device,
            **figures,
        }
    return found, answered


def by_rule(
    figures: dict[str, dict[str, Any]], answers: Mapping[str, Sequence[LabelledAnswer]], artifact: Artifact
) -> dict[str, dict[str, Any]]:
    """The figures of `measure` as the artifact's operating point has them, with its `rule`; the same for argmax."""
    point = point_of(artifact)
    if point.threshold is None:
        return figures
    decider = SliceDecider(temperature=artifact.temperature, point=point)
    return {
        split: {**row, "rule": point.rule, **_classified(answers[split], decider)} for split, row in figures.items()
    }


def say_measured(say: Callable[[str], None], figures: dict[str, dict[str, dict[str, Any]]]) -> None:
    """A line for each artifact and split."""
    for artifact, splits in figures.items():
        for split in splits:
            row = figures_of({ARTIFACTS: figures}, artifact, split)
            assert row is not None
            say(f"  {artifact} on {measured_on(row)}: {figures_line(row)}")
        if not splits:
            say(f"  {artifact}: figures not measured: no validate or test split is at hand that it was not trained on")


def _classified(good: Sequence[LabelledAnswer], decider: SliceDecider = SliceDecider()) -> dict[str, Any]:
    patients = len({answer.sample.patient for answer in good})
    if not good:
        return {"slices": 0, "patients": 0}
    logits = np.stack([answer.logits for answer in good if answer.logits is not None])
    summary = classification_summary(
        [int(answer.target or 0) for answer in good], softmax(logits), labels=decider.decide(logits).labels
    )  # by argmax the class of the highest logit, as `evaluate` has it: two probabilities may round to one
    return {"patients": patients, **summary}


def _segmented(stream: Iterable[LabelledAnswer]) -> dict[str, Any]:
    matrix, slices, patients = np.zeros((3, 3), dtype=np.int64), 0, set()
    for answer in stream:
        if answer.mask is not None and answer.labels is not None:
            matrix += confusion_matrix(answer.mask.ravel(), answer.labels.ravel(), 3)
            slices += 1
            patients.add(answer.sample.patient)
    return {
        "slices": slices,
        "patients": len(patients),
        **segmentation_summary_of(matrix),
        "confusion": matrix.tolist(),
    }
