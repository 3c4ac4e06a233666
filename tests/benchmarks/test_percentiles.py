"""No percentile from too few samples, and no sample dropped."""

from __future__ import annotations

import math

import pytest

from benchmarks.percentiles import PERCENTS, needed_samples, percentile, summarise_ms


@pytest.mark.parametrize(("percent", "needed"), [(50, 11), (90, 64), (95, 130), (99, 662)])
def test_needed_samples_are_those_of_mlperf(percent: int, needed: int) -> None:
    assert needed_samples(percent) == needed

    def seldom(n: int) -> float:  # at most one sample beyond the percentile
        q = percent / 100
        return q**n + math.comb(n, 1) * (1 - q) * q ** (n - 1)

    assert seldom(needed) <= 0.01 < seldom(needed - 1)


@pytest.mark.parametrize("percent", PERCENTS)
def test_a_percentile_appears_with_its_last_needed_sample(percent: int) -> None:
    n = needed_samples(percent)
    assert percentile([1.0] * (n - 1), percent) is None
    assert percentile([1.0] * n, percent) == 1.0


def test_summary_says_what_is_missing() -> None:
    summary = summarise_ms([0.001] * 100)
    assert summary["samples"] == 100
    assert summary["p50"] == summary["p90"] == 1.0
    assert summary["p95"] is None
    assert summary["p99"] is None
    assert summary["needed"] == {"p95": 130, "p99": 662}
    assert summary["cv"] == pytest.approx(0.0, abs=1e-9)


def test_outliers_stay_and_percentiles_are_latencies_that_occurred() -> None:
    seconds = [0.001 * (index + 1) for index in range(661)] + [60.0]
    summary = summarise_ms(seconds)
    assert summary["max"] == 60_000.0
    assert summary["p50"] == pytest.approx(331.0)
    assert summary["p99"] == pytest.approx(656.0)  # the 656th of 662: ⌈0.99 · 662⌉
    assert summary["cv"] > 1
    assert summary["needed"] == {}


def test_no_samples_no_figures() -> None:
    assert summarise_ms([]) == {"samples": 0, "needed": {"p50": 11, "p90": 64, "p95": 130, "p99": 662}}
