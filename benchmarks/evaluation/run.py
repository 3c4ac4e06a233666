"""`evaluate`: a network through a split, and everything that is said of it as one document.

The document is what evaluation.json holds; tables, plots and the page are drawn from it alone (`report`, `page`,
`png`). Nothing here prints or writes.

    schema, kind "evaluation", task, disclaimer
    subject      what was evaluated: kind, name, model, hashes, artifact, precision, runtime (of a folded run: `folded`)
    data         name, split, split_by, leaked patients, slices, failed, patients, synthetic, sha256 of its pictures
    marks        sentences that stand beside every figure (phantoms, leaky split, trained on these patients)
    notes        sentences that a reader may want
    intervals    how they were made; `decoration` where there are too few patients
    figures      see `classifier.figures_of` or `unet.figures_of`; a figure with an interval is {value, low, high}
    curves       classifier: ROC and precision–recall points of each class
    patients     one record a patient
    folds        of a folded run: figures fold by fold, and their spread (`folded.spread_of`)
    worst        the slices answered worst, by file name
    failed       files that could not be used, with the reason (the first 50)
    made         versions, machine, date, seconds
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import groupby
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.evaluation import classifier, unet
from benchmarks.evaluation.subject import EvaluationSubject, TestSet, open_testset, past_marks
from export.answers import Identity, LabelledAnswer, answers, read_answer
from export.bootstrap import DRAWS, about_intervals, finite
from lits_deploy import DISCLAIMER, __version__
from lits_deploy.errors import DataError
from lits_deploy.machine import processor
from lits_deploy.operating_point import promised
from lits_deploy.pipeline.decide import SliceDecider
from lits_deploy.revision import git_revision
from lits_deploy.scans import Slice
from lits_deploy.scans.paths import escape

SCHEMA = 1

FAILED_SHOWN = 50
"""Failed files in the document; slices.csv has them all."""

AS_TRAINED = (
    "Classes, AUROC, average precision and operating points come from the probabilities as trained (temperature 1), so "
    "a run and its bundle show the same figures. A temperature changes no class."
)

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """document: see this module; slices: one row a file, in the order of patients, for slices.csv."""

    document: dict[str, Any]
    slices: list[Row]

    @property
    def failed(self) -> int:
        """Files that could not be used."""
        return sum(row["status"] == "failed" for row in self.slices)


def evaluate(
    subject: EvaluationSubject,
    data: Path,
    *,
    split: str = "test",
    draws: int = DRAWS,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Measure a network on a split.

    draws: of the bootstrap. on_progress: called with (slices done, slices in all). Raises UserError for what the
    user can mend, among them DataError where no slice of the split can be used. A single file that cannot be used is
    a row and counted.
    """
    testset = open_testset(data, split, subject)
    started, identity = perf_counter(), Identity()
    keyed: list[tuple[str, int | None]] = []

    def read() -> Iterator[tuple[LabelledAnswer, Slice | None]]:
        for sample in testset.samples:
            answer, picture = read_answer(sample, subject.contract, identity)
            keyed.append((sample.patient, answer.key))
            yield answer, picture

    with subject.open() as runtime:
        stream = answers(runtime, read(), on_progress=lambda done: on_progress(done, len(testset.samples)))
        collect = _classified if subject.task == "classify" else _segmented
        rows, content = collect(subject, testset, stream, draws)
        info = runtime.describe()
    marks, notes = past_marks(testset, subject.past, keyed)
    failed = [{"path": row["path"], "reason": row["reason"]} for row in rows if row["status"] == "failed"]
    patients, window = len(content["patients"]), subject.contract.window_hu
    document = {
        "schema": SCHEMA,
        "kind": "evaluation",
        "task": subject.task,
        "disclaimer": DISCLAIMER,
        "subject": {
            **subject.identity,
            "classes": list(subject.contract.classes),
            "window_hu": None if window is None else list(window),
            "temperature": subject.temperature,
            "abstain_below": subject.abstain_below,
            "operating_point": {"rule": subject.point.rule, "threshold": subject.point.threshold},
            "calibration": subject.calibration,
            "trained_on": subject.trained_on.get("name"),
            "runtime": {key: getattr(info, key) for key in ("name", "version", "device", "providers")},
        },
        "data": {
            "name": testset.name,
            "split": testset.split,
            "split_by": testset.split_by,
            "leaked_patients": testset.leaked,
            "slices": len(rows) - len(failed),
            "failed": len(failed),
            "patients": patients,
            "source": testset.declared.get("source"),
            "synthetic": testset.synthetic,
            "sha256": identity.hexdigest(),
        },
        "marks": [*testset.marks, *marks],
        "notes": [*testset.notes, *notes, *_notes(subject, content["figures"])],
        "intervals": about_intervals(patients, draws),
        **content,
        "failed": failed[:FAILED_SHOWN],
        "made": made(started),
    }
    return Evaluation(document=finite(document), slices=rows)


def made(started: float) -> dict[str, Any]:
    """Versions, machine, date and seconds of an evaluation; started: of `perf_counter`."""
    return {
        "lits_deploy": __version__,
        "git_revision": git_revision(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "processor": processor(),
        "seconds": round(perf_counter() - started, 1),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _classified(
    subject: EvaluationSubject, testset: TestSet, stream: Iterable[LabelledAnswer], draws: int
) -> tuple[list[Row], dict[str, Any]]:
    kept = list(stream)  # a few numbers each: the pictures are gone
    good = [answer for answer in kept if answer.logits is not None and answer.target is not None]
    _need(good, kept, testset)
    classes = subject.contract.classes
    answered = classifier.AnsweredSlices(
        target=np.array([answer.target for answer in good], dtype=np.int64),
        logits=np.stack([answer.logits for answer in good if answer.logits is not None]),
        patients=tuple(answer.sample.patient for answer in good),
        paths=tuple(_path(testset, answer) for answer in good),
        decider=SliceDecider(temperature=subject.temperature, abstain_below=subject.abstain_below, point=subject.point),
    )
    probabilities = answered.probabilities(subject.temperature)
    decided = iter(zip(answered.labels, probabilities, answered.unsure, strict=True))
    rows = []
    for answer in kept:
        row = _row(testset, answer)
        if answer.reason is None:
            label, (p0, p1, p2), hidden = next(decided)
            row |= {"label": int(label), "p0": float(p0), "p1": float(p1), "p2": float(p2), "uncertain": bool(hidden)}
        rows.append(row)
    return rows, {
        "figures": classifier.figures_of(answered, classes, draws),
        "curves": classifier.curves_of(answered, classes),
        "patients": classifier.patients_of(answered),
        "worst": classifier.worst_of(answered, classes, subject.temperature),
    }


def _segmented(
    subject: EvaluationSubject, testset: TestSet, stream: Iterable[LabelledAnswer], draws: int
) -> tuple[list[Row], dict[str, Any]]:
    rows: list[Row] = []
    scored: list[unet.PatientScores] = []
    for _, of_patient in groupby(stream, key=lambda answer: answer.sample.patient):
        scans = []
        for scan, group in groupby(of_patient, key=lambda answer: answer.sample.scan):
            mine = []
            for answer in group:
                row = _row(testset, answer)
                if answer.reason is None:
                    row |= unet.slice_row(answer)
                    mine.append(answer)
                rows.append(row)
            if mine:
                scans.append(unet.score_scan(mine, testset.spacing_mm(scan)))
        if scans:
            scored.append(unet.joined(scans))
    _need(scored, rows, testset)
    return rows, {
        "figures": unet.figures_of(scored, draws),
        "curves": [],
        "patients": unet.patients_of(scored),
        "worst": unet.worst_of(rows),
    }


def _notes(subject: EvaluationSubject, figures: dict[str, Any]) -> list[str]:
    if subject.task == "segment":
        notes = [unet.EMPTY_RULE]
        notes += [f"HD95 was not computed for some patients: {why}" for why in figures["hd95"]["not_computed"]]
        if figures["lesions"] is None:
            notes.append("Lesions were not counted: SciPy is not installed. Fix: pip install 'lits-deploy[bench]'")
        return notes
    by_rule = subject.point.threshold is not None
    notes = [
        AS_TRAINED.replace("Classes, AUROC", "AUROC") if by_rule else AS_TRAINED,
        "The thresholds of the operating points were chosen on this very split: on other patients they hold less well.",
    ]
    notes += _promise(subject, figures)
    if subject.kind == "run":
        notes.append("A training run has no temperature: it is uncalibrated. `lits-deploy export` fits one.")
    elif not subject.calibration.get("fitted", False):
        why = subject.calibration.get("why")
        notes.append("The bundle brings no fitted temperature" + (f": {why}." if why else "."))
    return notes


def _promise(subject: EvaluationSubject, figures: dict[str, Any]) -> list[str]:
    """By which rule class 2 was given, what that promised, and what came of it here."""
    point, marked, lines = subject.point, figures["marked"], []
    if point.threshold is not None:
        lines.append(
            f"Classes are by the bundle's operating point ({point.rule}): class 2 where the calibrated odds of a "
            f"lesion reach {point.threshold:.3g}."
        )
    found, spared = marked["sensitivity"]["value"], marked["specificity"]["value"]
    if (sentence := promised(point, subject.promise)) and found is not None and spared is not None:
        lines.append(f"Promised: {sentence} Here it found {100 * found:.0f} and marked {100 * (1 - spared):.0f}.")
    return lines


def _row(testset: TestSet, answer: LabelledAnswer) -> Row:
    failed = answer.reason is not None
    return {
        "path": _path(testset, answer),
        "patient": answer.sample.patient,
        "scan": answer.sample.scan,
        "status": "failed" if failed else "ok",
        "reason": answer.reason,
        "split_by": testset.split_by,
        "target": answer.target,
    }


def _path(testset: TestSet, answer: LabelledAnswer) -> str:
    return escape(answer.sample.image.relative_to(testset.root).as_posix())


def _need(good: list[Any], all_of_them: list[Any], testset: TestSet) -> None:
    if not good:
        raise DataError(
            f"None of the {len(all_of_them)} slices of {testset.root / testset.split} can be used.",
            fix="see `lits-deploy data check` for the reasons",
        )
