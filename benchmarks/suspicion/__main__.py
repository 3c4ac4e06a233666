"""By which number series are best ranked, out of fold: ways to pool a series' slices, grey values at one level.

    python -m benchmarks.suspicion RUN [--data DATA] [--as-it-is] [--out FILE.json] [--page FILE.md]

RUN is a folded run of a classifier. Each series is scored by the network of the fold that left its patient out, with a
temperature of the other folds. Two figures: series with a lesion ranked before those without; and, since data sets
have few without, before those and the same series without the slices that show one or lie next to such (`less their
lesions`). `chosen out of fold` scores each fold by the way that does best on the others, as its place among theirs.

Levels (left out by `--as-it-is`) are the median of a series' soft tissue, which any scan has, and of its liver by the
truth, which shows what could be gained at best. Only suspicion could follow from them: p0 to p2 depend on a slice and
its neighbours.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import MachineRecord
from benchmarks.suspicion.grey_levels import answers_at_one_level, levels_of
from benchmarks.suspicion.page import page
from benchmarks.suspicion.pools import POOLS, Floats, SeriesAnswersInOrder, series_of
from export.bootstrap import Figure, one_of, ranked, ranking
from export.folded import fresh_answers
from lits_deploy.files import write_json, write_text
from lits_deploy.printable import say
from lits_deploy.program import run_program
from train.data.layout import read_layout
from train.folds.folder import read_record

SCHEMA = 1


def scored(series: list[SeriesAnswersInOrder]) -> list[dict[str, Any]]:
    """A row for each way of pooling, and one for the way chosen out of fold."""
    rests = [rest for one in series if one.ill and (rest := one.less_its_lesions()) is not None]
    both = [*series, *rests]
    scores = {name: np.array([pool(one.odds, one.liver) for one in both]) for name, pool in POOLS.items()}
    rows = [{"pool": name, **_areas(both, len(series), score)} for name, score in scores.items()]
    score, taken = _chosen(both, scores)
    return [*rows, {"pool": "chosen out of fold", **_areas(both, len(series), score), "taken": taken}]


def _chosen(both: list[SeriesAnswersInOrder], scores: dict[str, Floats]) -> tuple[Floats, list[str]]:
    """Places among the other folds' series, by the way that ranks these best; ties go to the first."""
    folds, ill = np.array([one.fold for one in both]), np.array([one.ill for one in both])
    score, taken = np.zeros(len(both)), []
    for fold in np.unique(folds):
        own = folds == fold
        others = one_of([one.patient for one in both if one.fold != fold])
        areas = {name: float(ranking(ill[~own], values[~own], others)["auroc"][0]) for name, values in scores.items()}
        best = max(areas, key=areas.__getitem__)
        lower = np.searchsorted(np.sort(scores[best][~own]), scores[best][own])
        score[own] = lower / np.count_nonzero(~own)
        taken.append(best)
    return score, taken


def _areas(both: list[SeriesAnswersInOrder], whole: int, score: Floats) -> dict[str, Figure]:
    ill, patients = np.array([one.ill for one in both]), [one.patient for one in both]
    rows = {"series": slice(0, whole), "less_their_lesions": slice(0, len(both))}
    return {name: ranked(ill[part], score[part], patients[part])["auroc"] for name, part in rows.items()}


def slice_area(series: list[SeriesAnswersInOrder]) -> Figure:
    """AUROC of the slices that show a lesion."""
    patients = [one.patient for one in series for _ in one.odds]
    lesion, odds = (np.concatenate([getattr(one, name) for one in series]) for name in ("lesion", "odds"))
    return ranked(lesion, odds, patients)["auroc"]


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """The record: for each level of grey values, AUROC of slices and of series by every way of pooling."""
    session = MachineRecord()
    record = read_record(given.run)
    answers = fresh_answers(given.run, record)
    assert answers.logits is not None
    logits = {"as they are": answers.logits}
    if not given.as_it_is:
        layout = read_layout(given.data or record.config.data)
        for name, levels in levels_of(layout, record).items():
            anew = answers_at_one_level(given.run, record, layout, levels)
            logits[name] = np.stack([anew[path] for path in answers.path.tolist()])
    found = {name: series_of(answers, each) for name, each in logits.items()}
    first = found["as they are"]
    return session.document(
        "what ranks series",
        SCHEMA,
        data=answers.record["data"],
        synthetic=answers.record["synthetic"],
        folds=answers.folds,
        network=answers.record["model"],
        checkpoints=answers.record["checkpoints"],
        series=len(first),
        series_with_lesion=sum(one.ill for one in first),
        levels=[
            {"grey_values": name, "lesion_slice_auroc": slice_area(each), "series": scored(each)}
            for name, each in found.items()
        ],
    )


def main() -> int:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description="By which number series are best ranked.")
    parser.add_argument("run", type=Path, help="folded run of a classifier")
    parser.add_argument("--data", type=Path, help="the data set, where it is not where the run was trained")
    parser.add_argument("--as-it-is", action="store_true", help="leave out grey values at one level")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--page", type=Path)
    given = parser.parse_args()
    record = measure(given)
    say(*page(record).splitlines())
    if given.out is not None:
        write_json(given.out, record)
    if given.page is not None:
        write_text(given.page, page(record))
    return 0


if __name__ == "__main__":
    run_program(main)
