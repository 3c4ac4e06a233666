"""`evaluate`: a network through a split, and everything that is said of it as one document.

The document is what evaluation.json holds; tables, plots and the page are drawn from it alone (`report`, `page`,
`png`). Nothing here prints or writes.

    schema, kind "evaluation", task, disclaimer
    subject      what was evaluated: kind, name, model, hashes, artifact, precision, runtime
    data         name, split, split_by, leaked patients, slices, failed, patients, synthetic, sha256 of what was judged
    marks        sentences that stand beside every figure (phantoms, leaky split, trained on these patients)
    notes        sentences that a reader may want
    intervals    how they were made; `decoration` where there are too few patients
    figures      see `classifier.figures_of` or `unet.figures_of`; a figure with an interval is {value, low, high}
    curves       classifier: ROC and precision–recall points of each class
    patients     one record a patient
    worst        the slices answered worst, by file name
    failed       files that could not be used, with the reason (the first 50)
    made         versions, machine, date, seconds
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import groupby
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.evaluation import classifier, unet
from benchmarks.evaluation.bootstrap import DRAWS, SEED
from benchmarks.evaluation.figures import about_intervals, finite
from benchmarks.evaluation.subject import Subject
from benchmarks.evaluation.testset import TestSet, open_testset, past_marks
from export.answers import Answer, Identity, answers, read_answer
from lits_deploy import DISCLAIMER, __version__
from lits_deploy.errors import DataError
from lits_deploy.machine import processor
from lits_deploy.revision import git_revision
from lits_deploy.runtime import RuntimeInfo
from lits_deploy.scans.paths import escape

SCHEMA = 1

FAILED_SHOWN = 50
"""Failed files in the document; slices.csv has them all."""

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
    subject: Subject,
    data: Path,
    *,
    split: str = "test",
    draws: int = DRAWS,
    seed: int = SEED,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Measure a network on a split.

    draws, seed: of the bootstrap. on_progress: called with (slices done, slices in all). Raises UserError for what the
    user can mend, among them DataError where no slice of the split can be used. A single file that cannot be used is
    a row and counted.
    """
    testset = open_testset(data, split, subject)
    started, identity = perf_counter(), Identity()
    keyed: list[tuple[str, int | None]] = []
    with subject.open() as runtime:
        read = (read_answer(sample, subject.contract, identity) for sample in testset.samples)
        stream = answers(runtime, read, on_progress=lambda done: on_progress(done, len(testset.samples)))
        collect = _classified if subject.task == "classify" else _segmented
        rows, content = collect(subject, testset, _noted(stream, keyed), draws, seed)
        info = runtime.describe()
    marks, notes = past_marks(testset, subject.past, keyed)
    testset = replace(testset, marks=(*testset.marks, *marks), notes=(*testset.notes, *notes))
    seconds = perf_counter() - started
    return Evaluation(
        document=finite(_document(subject, testset, rows, content, identity, info, draws, seed, seconds)), slices=rows
    )


def _noted(stream: Iterable[Answer], keyed: list[tuple[str, int | None]]) -> Iterator[Answer]:
    for answer in stream:
        keyed.append((answer.sample.patient, answer.key))
        yield answer


def _classified(
    subject: Subject, testset: TestSet, stream: Iterable[Answer], draws: int, seed: int
) -> tuple[list[Row], dict[str, Any]]:
    kept = list(stream)  # a few numbers each: the pictures are gone
    good = [answer for answer in kept if answer.logits is not None and answer.target is not None]
    _need(good, kept, testset)
    classes = subject.contract.classes
    answered = classifier.Answered(
        target=np.array([answer.target for answer in good], dtype=np.int64),
        logits=np.stack([answer.logits for answer in good if answer.logits is not None]),
        patients=tuple(answer.sample.patient for answer in good),
        paths=tuple(_path(testset, answer) for answer in good),
    )
    probabilities = answered.probabilities(subject.temperature)
    unsure = classifier.uncertain(probabilities, subject.abstain_below)
    judged = iter(zip(answered.labels, probabilities, unsure, strict=True))
    rows = []
    for answer in kept:
        row = _row(testset, answer)
        if answer.reason is None:
            label, (p0, p1, p2), hidden = next(judged)
            row |= {"label": int(label), "p0": float(p0), "p1": float(p1), "p2": float(p2), "uncertain": bool(hidden)}
        rows.append(row)
    figures = classifier.figures_of(
        answered, classes, temperature=subject.temperature, abstain_below=subject.abstain_below, draws=draws, seed=seed
    )
    return rows, {
        "figures": figures,
        "curves": classifier.curves_of(answered, classes),
        "patients": classifier.patients_of(answered, len(classes)),
        "worst": classifier.worst_of(answered, classes, subject.temperature),
    }


def _segmented(
    subject: Subject, testset: TestSet, stream: Iterable[Answer], draws: int, seed: int
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
    good = sorted((row for row in rows if row["reason"] is None), key=lambda row: (-row["pixel_error"], row["path"]))
    columns = ("path", "patient", "target", "label", "dice_liver", "dice_lesion", "pixel_error")
    return rows, {
        "figures": unet.figures_of(scored, draws=draws, seed=seed),
        "curves": [],
        "patients": unet.patients_of(scored),
        "worst": [{name: row[name] for name in columns} for row in good[: classifier.WORST]],
    }


def _document(
    subject: Subject, testset: TestSet, rows: list[Row], content: dict[str, Any], identity: Identity,
    info: RuntimeInfo, draws: int, seed: int, seconds: float,
) -> dict[str, Any]:  # fmt: skip
    failed = [{"path": row["path"], "reason": row["reason"]} for row in rows if row["status"] == "failed"]
    patients = len(content["patients"])
    window = subject.contract.window_hu
    return {
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
            "calibration": subject.calibration,
            "trained_on": subject.trained_on.get("name"),
            "runtime": {
                "name": info.name, "version": info.version, "device": info.device, "providers": list(info.providers)
            },
        },
        "data": {
            "name": testset.name, "split": testset.split, "split_by": testset.split_by,
            "leaked_patients": list(testset.leaked), "slices": len(rows) - len(failed), "failed": len(failed),
            "patients": patients, "source": testset.declared.get("source"),
            "synthetic": testset.synthetic, "sha256": identity.hexdigest(),
        },
        "marks": list(testset.marks),
        "notes": list(testset.notes) + _notes(subject, content["figures"]),
        "intervals": about_intervals(patients, draws, seed),
        **content,
        "failed": failed[:FAILED_SHOWN],
        "made": {
            "lits_deploy": __version__, "git_revision": git_revision(), "python": platform.python_version(),
            "numpy": np.__version__, "processor": processor(), "seconds": round(seconds, 1),
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        },
    }  # fmt: skip


def _notes(subject: Subject, figures: dict[str, Any]) -> list[str]:
    if subject.task == "segment":
        notes = [unet.EMPTY_RULE]
        notes += [f"HD95 was not computed for some patients: {why}" for why in figures["hd95"]["not_computed"]]
        if figures["lesions"] is None:
            notes.append("Lesions were not counted: SciPy is not installed. Fix: pip install 'lits-deploy[bench]'")
        return notes
    notes = [
        "Classes, AUROC, average precision and operating points come from the probabilities as trained (temperature "
        "1), so a run and its bundle show the same figures. A temperature changes no class.",
        "The thresholds of the operating points were chosen on this very split: on other patients they hold less well.",
    ]
    if subject.kind == "run":
        notes.append("A training run has no temperature: it is uncalibrated. `lits-deploy export` fits one.")
    elif not subject.calibration.get("fitted", False):
        why = subject.calibration.get("why")
        notes.append("The bundle brings no fitted temperature" + (f": {why}." if why else "."))
    return notes


def _row(testset: TestSet, answer: Answer) -> Row:
    failed = answer.reason is not None
    return {
        "path": _path(testset, answer), "patient": answer.sample.patient, "scan": answer.sample.scan,
        "status": "failed" if failed else "ok",
        "reason": answer.reason, "split_by": testset.split_by, "target": answer.target,
    }  # fmt: skip


def _path(testset: TestSet, answer: Answer) -> str:
    return escape(answer.sample.image.relative_to(testset.root).as_posix())


def _need(good: list[Any], all_of_them: list[Any], testset: TestSet) -> None:
    if not good:
        raise DataError(
            f"None of the {len(all_of_them)} slices of {testset.root / testset.split} can be used.",
            fix="see `lits-deploy data check` for the reasons",
        )
