"""Samples beside each other: false findings at their rate, shifts found, nothing compared that differs in meaning."""

from __future__ import annotations

import numpy as np
import pytest

from lits_deploy.drift.features import BY_NAME, NUMBERS, Number
from lits_deploy.drift.portrait import Portrait
from lits_deploy.nights import formatting
from lits_deploy.nights.compare import LEAST, FeatureFinding, compare, scipy_stats, steps
from lits_deploy.nights.night import SeriesSample, pooled, sample_of, training_of
from lits_deploy.nights.smallest import smallest_shift
from looks import people, person

pytest.importorskip("scipy")


def sample(seeds: range, name: str = "night", contract: str = "c", **changes: float) -> SeriesSample:
    return sample_of(name, [person(seed, changes=changes) for seed in seeds], contract, "b")


def found(own: SeriesSample, other: SeriesSample, **how: float) -> set[str]:
    (one,) = compare([(own, other)], false_share=how.get("false_share", 0.05), smallest=False)
    return {finding.name for finding in one.found}


def test_false_findings_stay_at_their_rate() -> None:
    """Of nights like the training series no more than one in twenty differs in anything."""
    hits = sum(bool(found(sample(range(n, n + 8)), sample(range(n + 8, n + 29)))) for n in range(0, 4350, 29))
    assert hits <= 13  # of 150: 7.5 expected at most; more than 13 happens once in fifty


@pytest.mark.parametrize(
    ("changes", "name"), [({"middle": 25}, "middle"), ({"noise": 80}, "noise"), ({"rise": -1.0}, "rise")]
)
def test_a_shift_is_found_in_the_number_that_shifted(changes: dict[str, float], name: str) -> None:
    training = sample(range(21), "training")
    nights = [found(sample(range(n, n + 8), **changes), training) for n in range(100, 180, 8)]
    assert sum(name in one for one in nights) >= 9


def test_all_that_is_tested_is_one_family() -> None:
    training = sample(range(21), "training")
    own = sample(range(100, 108), middle=25)
    (alone,) = compare([(own, training)], false_share=0.05, smallest=False)
    together = compare(
        [(own, training), *[(sample(range(n, n + 8)), training) for n in range(200, 280, 8)]], false_share=0.05
    )
    first = {one.name: one for one in alone.findings}
    for one in together[0].findings:
        assert one.p == first[one.name].p
        assert one.p <= one.adjusted
    assert together[0].findings[3].adjusted != first[together[0].findings[3].name].adjusted


def test_what_differs_by_less_than_a_step_is_equal() -> None:
    number, at = BY_NAME["step_mm"], np.array([5.0])
    assert len(set(steps(number, np.array([5.0, 5.02, 4.98]), at).tolist())) == 1
    many = [
        sample_of(str(mm), [Portrait(numbers={"step_mm": mm}) for _ in range(30)], "c", "b") for mm in (5.0, 5.02, 6.0)
    ]
    assert found(many[0], many[1]) == set()
    assert found(many[0], many[2]) == {"step_mm"}


def test_techniques_are_compared_each_against_all_others() -> None:
    def scanners(**counts: int) -> SeriesSample:
        return SeriesSample(name="n", series=sum(counts.values()), numbers={}, technique={"scanner": counts})

    (one,) = compare([(scanners(GE=10), scanners(GE=2, Siemens=18))], false_share=0.05)
    assert {(f.word, f.own, f.other) for f in one.found} == {("GE", 1.0, 0.1), ("Siemens", 0.0, 0.9)}
    (none,) = compare([(scanners(GE=3), scanners(Siemens=21))], false_share=0.05)
    assert none.why_not is not None


class TestMeaning:
    """Only what means the same on both sides is compared."""

    def test_grey_levels_need_one_contract_and_answers_one_bundle(self) -> None:
        portraits = [
            Portrait(numbers={"middle": 100.0 + n, "hu_middle": 20.0 + n, "suspect": n / 50, "field_mm": 400.0 + n})
            for n in range(8)
        ]
        own = sample_of("own", portraits, "c", "b")
        assert own.shared(sample_of("o", portraits, "c", "b")) == ["middle", "hu_middle", "field_mm", "suspect"]
        assert own.shared(sample_of("o", portraits, "c", "another")) == ["middle", "hu_middle", "field_mm"]
        for other in ("another", ""):
            assert own.shared(sample_of("o", portraits, other, "b")) == ["hu_middle", "field_mm"]
        assert pooled([own, sample_of("o", portraits, "x", "b")]).contract == ""
        assert pooled([own, own]).series == 16

    def test_answers_to_patients_that_were_trained_on_are_no_reference(self) -> None:
        training = training_of(people(), "c", "b")
        assert training is not None
        assert training.answered_by == ""
        held_out = training_of(people(answers="out of fold"), "c", "b")
        assert held_out is not None
        assert held_out.answered_by == "b"

    def test_too_few_series_say_so(self) -> None:
        (one,) = compare([(sample(range(LEAST - 1)), sample(range(50, 71)))], false_share=0.05)
        assert one.why_not == f"3 and 21 series are too few: {LEAST} are needed on either side"
        (two,) = compare([(sample(range(8)), sample(range(50, 71), contract="x"))], false_share=0.05)
        assert "nothing in common" in (two.why_not or "")

    def test_too_few_looks_are_told_from_networks_that_see_otherwise(self) -> None:
        looked = sample_of("own", [person(1), *(Portrait() for _ in range(9))], "c", "b")
        (one,) = compare([(looked, sample(range(50, 71)))], false_share=0.05)
        assert one.why_not == (
            "no number is known of 4 series or more on both sides (a series needs 6 slices that were looked at, some "
            "24 in all)"
        )


class TestSmallest:
    @pytest.mark.parametrize("name", ["middle", "noise", "rise"])
    def test_a_shift_beyond_it_is_found_and_one_well_within_it_is_not(self, name: str) -> None:
        number, stats = BY_NAME[name], scipy_stats()
        training = sample(range(200), "training")
        column = training.numbers[name]
        low, high = smallest_shift(number, column, 8, false_share=0.05, tests=11, stats=stats)
        assert low is not None
        assert high is not None
        assert low < np.median(column) < high
        rng = np.random.default_rng(0)
        scaled = number.scale.of(column)
        edge = float(number.scale.of(np.array([high]))[0] - np.median(scaled))
        for share, least, most in ((1.3, 0.75, 1.0), (0.4, 0.0, 0.4)):
            hits = 0
            for _ in range(40):
                own = number.scale.back(rng.choice(scaled, 8) + share * edge)
                shifted = SeriesSample(name="n", series=8, numbers={name: own}, contract="c")
                hits += (
                    _p(shifted, SeriesSample(name="t", series=200, numbers={name: column}, contract="c")) <= 0.05 / 11
                )
            assert least <= hits / 40 <= most

    def test_more_series_show_smaller_shifts_and_too_few_none(self) -> None:
        number, stats = BY_NAME["middle"], scipy_stats()
        column = sample(range(21)).numbers["middle"]
        edges = [smallest_shift(number, column, n, false_share=0.05, tests=11, stats=stats)[1] for n in (4, 8, 32)]
        assert None not in edges
        assert edges == sorted(edges, reverse=True)  # type: ignore[type-var]
        assert smallest_shift(number, column, 1, false_share=0.05, tests=11, stats=stats) == (None, None)

    @pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.name)
    def test_no_edge_lies_beyond_what_the_number_can_be(self, number: Number) -> None:
        """No share above 100 %, no probability above 1, nothing below 0: such an edge is left out."""
        stats, rng = scipy_stats(), np.random.default_rng(1)
        least = 1.0 if number.lowest is None else number.lowest
        most = 1000.0 if number.highest is None else number.highest
        for share in (0.02, 0.5, 0.98):
            column = np.clip(least + (most - least) * rng.normal(share, 0.2, 21), least + 1e-3, most)
            low, high = smallest_shift(number, column, 4, false_share=0.05, tests=15, stats=stats)
            for edge in (low, high):
                assert edge is None or number.lowest is None or edge > number.lowest
                assert edge is None or number.highest is None or edge < number.highest

    def test_an_edge_beyond_the_range_is_left_out_and_the_other_one_stays(self) -> None:
        """Shares of slices with liver from 0 to 92 %: a night of four would have to reach 229 % to be found above."""
        column = np.linspace(0.0, 0.92, 21)
        low, high = smallest_shift(BY_NAME["liver"], column, 4, false_share=0.05, tests=15, stats=scipy_stats())
        assert high is None
        assert low is not None
        assert 0.0 < low < 0.46
        sure = smallest_shift(
            BY_NAME["surest"], np.linspace(0.73, 0.99, 21), 4, false_share=0.05, tests=15, stats=scipy_stats()
        )
        assert sure[0] is not None
        assert sure[1] is None

    def test_every_scale_leads_back(self) -> None:
        for number in NUMBERS:
            values = np.array([0.1, 0.5, 0.9])
            np.testing.assert_allclose(number.scale.back(number.scale.of(values)), values)


def _p(own: SeriesSample, other: SeriesSample) -> float:
    (one,) = compare([(own, other)], false_share=0.05, smallest=False)
    return one.findings[0].p


def test_an_edge_of_0_is_an_edge() -> None:
    found = FeatureFinding(
        name="hu_middle", what="median HU", own=40.0, other=50.0, counts=(8, 21), p=0.5, smallest=(0.0, None)
    )
    assert formatting.smallest(found) == "below 0"
