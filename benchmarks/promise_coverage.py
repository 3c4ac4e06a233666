"""How often the intervals of a promise hold the truth, on simulated patients: `python -m benchmarks.promise_coverage`.

A patient's slices share a shift of their score, of those with a lesion and of the others, and patients differ in how
many slices they have: so slices are no independent draws, and patients are few. The truth is what the rule, its
threshold set on all patients of a draw, does on 3,000 others.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from export.promise import nested, promises
from export.thresholds import threshold_of
from lits_deploy.cli.console import table

Bools = npt.NDArray[np.bool_]

RULES = ("balanced", "sensitivity=0.9", "specificity=0.95")
FOLDS, OTHERS = 5, 3000


@dataclass(frozen=True)
class ScoredSlices:
    """lesion: bool [N]; score: float64 [N]; patient: int64 [N]."""

    lesion: Bools
    score: npt.NDArray[np.float64]
    patient: npt.NDArray[np.int64]

    def marks(self, on: Bools) -> dict[str, Bools]:
        """All slices, by thresholds that were set on those of a mask."""
        return {rule: self.score >= threshold_of(rule, self.lesion[on], self.score[on]) for rule in RULES}


def simulated(rng: np.random.Generator, patients: int, *, apart: float = 2.5, by_patient: float = 1.0) -> ScoredSlices:
    """Patients of some 30 slices with a lesion and 80 without, whose scores lie `apart` in standard deviations of a
    patient's slices; by_patient: that of the patients' shifts."""
    lesion, score, of = [], [], []
    for patient in range(patients):
        ill, well = max(1, int(rng.lognormal(3.4, 0.7))), max(5, int(rng.lognormal(4.4, 0.3)))
        shifts = np.repeat(rng.normal([apart, 0.0], by_patient), [ill, well])
        score.append(shifts + rng.normal(0, 1, ill + well))
        lesion.append(np.arange(ill + well) < ill)
        of.append(np.full(ill + well, patient))
    return ScoredSlices(np.concatenate(lesion), np.concatenate(score), np.concatenate(of).astype(np.int64))


def coverage(patients: int, *, apart: float, draws: int, by_patient: float = 1.0) -> dict[str, tuple[float, float]]:
    """Share of draws whose interval of sensitivity, and of specificity, holds the truth; by rule."""
    world = simulated(np.random.default_rng(1), OTHERS, apart=apart, by_patient=by_patient)
    held: dict[str, list[tuple[bool, bool]]] = {rule: [] for rule in RULES}
    for seed in range(draws):
        rng = np.random.default_rng([patients, seed])
        drawn = simulated(rng, patients, apart=apart, by_patient=by_patient)
        folds = (rng.permutation(patients) % FOLDS)[drawn.patient]
        promised = promises(nested(folds, drawn.marks), drawn.lesion, drawn.patient)
        for rule in RULES:
            marked = world.score >= threshold_of(rule, drawn.lesion, drawn.score)
            truth = marked[world.lesion].mean(), (~marked)[~world.lesion].mean()
            figures = (promised[rule][name] for name in ("sensitivity", "specificity"))
            one, other = (f["low"] <= value <= f["high"] for f, value in zip(figures, truth, strict=True))
            held[rule].append((one, other))
    return {rule: (float(shares[0]), float(shares[1])) for rule in RULES for shares in [np.mean(held[rule], axis=0)]}


def main(draws: int = 400) -> None:
    """Print the table of docs/promises.md."""
    rows = []
    for patients, apart, by_patient in product((10, 21, 40), (2.5, 4.0), (0.5, 1.0)):
        found = coverage(patients, apart=apart, draws=draws, by_patient=by_patient)
        shares = [f"{100 * share:.0f}" for rule in RULES for share in found[rule]]
        rows.append((str(patients), f"{apart:g}", f"{by_patient:g}", *shares))
    columns = [f"{rule}: {name}" for rule in RULES for name in ("sens.", "spec.")]
    table(("patients", "apart", "shift", *columns), rows)


if __name__ == "__main__":
    main()
