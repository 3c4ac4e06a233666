"""What the classifier alone, the U-Net alone and both together do out of fold, with intervals over patients.

No slice is scored by a rule that was fitted on its fold. The U-Net alone ranks by its tumour pixels, on every slice. A
series' score is its suspicion (`lits_deploy.studies`): the highest mean over three neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from export.bootstrap import DRAWS, ranked, resample
from export.pair.evidence import PairEvidence
from export.pair.fit import as_seen, fit_fusion
from export.promise import share
from lits_deploy.fusion import TUMOUR, lesion_log_odds, probability
from lits_deploy.studies import suspicion

SPECIFICITY = 0.95

Floats = npt.NDArray[np.float64]


def measured(evidence: PairEvidence, draws: int = DRAWS) -> dict[str, Any]:
    """For `metrics.pair` of the manifest.

    slices, patients, with_lesion: counts; series, series_with_lesion: of scans; classifier, segmenter, pair: each with
    lesion_auroc, sensitivity (at a specificity of 0.95, chosen on the slices that it is given for) and series_auroc, as
    value, low, high; looks: share of the slices at which the U-Net looked, and lesions_seen of those with a lesion.
    """
    scores, looked = nested_scores(evidence)
    resamples, patients = resample(evidence.patients, draws=draws), np.asarray(evidence.patients)
    whole = np.ones(len(patients), np.bool_)
    return {
        "slices": len(patients),
        "patients": len(set(evidence.patients)),
        "with_lesion": len(set(patients[evidence.lesion].tolist())),
        **by_witness(scores, evidence.lesion, evidence.patients, evidence.scans, draws),
        "looks": share(looked, whole, resamples),
        "lesions_seen": share(looked, evidence.lesion, resamples),
    }


def by_witness(
    scores: Mapping[str, Floats],
    lesion: npt.NDArray[np.bool_],
    patients: Sequence[str],
    scans: Sequence[str],
    draws: int = DRAWS,
) -> dict[str, Any]:
    """series, series_with_lesion: counts; and each witness's figures. Slices of a scan lie in order."""
    ill = np.zeros(0, np.bool_)
    found: dict[str, Any] = {}
    for name, score in scores.items():
        slices = ranked(lesion, score, patients, wanted=SPECIFICITY, draws=draws)
        suspicions, of_series, ill = series(patients, scans, score, lesion)
        found[name] = {
            "lesion_auroc": slices["auroc"],
            "sensitivity": slices["sensitivity_at"],
            "series_auroc": ranked(ill, suspicions, of_series, wanted=SPECIFICITY, draws=draws)["auroc"],
        }
    return {"series": len(ill), "series_with_lesion": int(ill.sum()), **found}


def nested_scores(evidence: PairEvidence) -> tuple[dict[str, Floats], npt.NDArray[np.bool_]]:
    """Score of each slice by witness, float64 [N], and at which the U-Net looks; all by rules of the other folds.

    Probabilities of classifier and pair, so that folds compare; ln(1 + tumour pixels) of the U-Net.
    """
    count = len(evidence.target)
    alone, both, looked = np.zeros(count), np.zeros(count), np.zeros(count, np.bool_)
    for group in np.unique(evidence.groups):
        own = evidence.groups == group
        rule = fit_fusion(evidence.target[~own], evidence.logits[~own], evidence.counts[~own])
        logits, counts = evidence.logits[own], evidence.counts[own]
        alone[own] = probability(lesion_log_odds(logits, rule.temperature))
        both[own] = probability(rule.log_odds(logits, as_seen(rule, logits, counts)))
        looked[own] = rule.looks(logits)
    tumour = np.log1p(evidence.counts[:, TUMOUR].astype(np.float64))
    return {"classifier": alone, "segmenter": tumour, "pair": both}, looked


def series(
    patients: Sequence[str], scans: Sequence[str], score: Floats, lesion: npt.NDArray[np.bool_]
) -> tuple[Floats, list[str], npt.NDArray[np.bool_]]:
    """Suspicion of every scan, its patient, and whether it shows a lesion; slices lie in order."""
    rows = zip(patients, scans, score.tolist(), lesion.tolist(), strict=True)
    found, of_series, ill = [], [], []
    for (patient, _), group in groupby(rows, key=lambda row: row[:2]):
        slices = list(group)
        found.append(suspicion([row[2] for row in slices]) or 0.0)
        of_series.append(patient)
        ill.append(any(row[3] for row in slices))
    return np.array(found), of_series, np.array(ill)
