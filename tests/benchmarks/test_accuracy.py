"""Scores with targets, agreement, and what counts as another answer."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.contenders import Scored, golden_agreement, headline, score
from benchmarks.inputs import Inputs
from fake_runtime import FakeRuntime
from lits_deploy.runtime import Outputs

SLICES = np.broadcast_to(np.linspace(0, 255, 10).astype(np.uint8)[:, None, None, None], (10, 1, 8, 8)).copy()


@pytest.fixture
def scored() -> Scored:
    return score(FakeRuntime(shape=(1, 8, 8), max_batch=4), SLICES, task="classify", tolerance=1e-4)


def inputs(targets: list[int] | None) -> Inputs:
    return Inputs(slices=SLICES, targets=None if targets is None else np.array(targets))


def test_figures_need_targets(scored: Scored) -> None:
    assert scored.figures(inputs(None)) is None
    assert headline(None) is None
    figures = scored.figures(inputs([0] * 5 + [1] * 5))
    assert figures is not None
    assert headline(figures) == 1.0
    assert figures["lesion_auroc"] is None  # no lesion among the targets: not NaN, which JSON lacks


def test_agreement_counts_slices(scored: Scored) -> None:
    runtime = FakeRuntime(shape=(1, 8, 8))
    assert scored.same_class(scored) == 1.0
    expected = runtime.infer(SLICES).probabilities
    assert expected is not None
    other = expected.copy()
    other[0] = other[0, ::-1]
    assert golden_agreement(runtime, SLICES, expected) == 1.0
    assert golden_agreement(runtime, SLICES, other) == pytest.approx(0.9)


def test_mismatch_by_tolerance(scored: Scored) -> None:
    assert scored.probabilities is not None
    chosen = np.array([2, 7])
    right = scored.probabilities[chosen]
    assert scored.mismatch(chosen, Outputs(probabilities=right + np.float32(5e-5))) is None
    assert "max |Δp| 1.0e-03" in str(scored.mismatch(chosen, Outputs(probabilities=right + np.float32(1e-3))))
    assert "nan" not in str(scored.mismatch(chosen, Outputs(probabilities=right * np.nan)))
    assert scored.mismatch(chosen, Outputs(probabilities=right * np.nan)) is not None
    assert scored.mismatch(chosen, Outputs()) is not None


def test_a_unet_is_compared_by_its_sure_pixels() -> None:
    classes = np.zeros((2, 4, 4), np.uint8)
    sure = np.ones((2, 4, 4), np.bool_)
    sure[1, 0, 0] = False
    unet = Scored(task="segment", tolerance=1e-4, classes=classes, probabilities=None, sure=sure)
    labels = classes[[1]].copy()
    labels[0, 0, 0] = 2
    assert unet.mismatch(np.array([1]), Outputs(labels=labels)) is None
    labels[0, 3, 3] = 1
    assert "1 sure pixels" in str(unet.mismatch(np.array([1]), Outputs(labels=labels)))
    masks = Inputs(slices=SLICES[:2], masks=np.ones((2, 4, 4), np.uint8))
    figures = unet.figures(masks)
    assert figures is not None
    assert headline(figures) == 0.0
    assert figures["dice"] == [0.0, 0.0, None]
