"""Series against a reference: as many false alarms as are said, shifts found and said in plain words, no guesses."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from lits_deploy.drift.compare import LEAST_SERIES, against, deviations, marked_of, promise, rate
from lits_deploy.drift.features import AS_SEEN, BY_NAME, NUMBERS
from lits_deploy.drift.portrait import Portrait, portrait
from lits_deploy.drift.reference import MOST_SERIES, DriftReference, reference_of
from looks import looks, people, person


class TestFalseAlarms:
    def test_their_share_is_the_one_that_is_said_whatever_the_distribution(self) -> None:
        """Exactly: of n + 1 series that come in any order, as many are marked as `marked_of` says."""
        rng = np.random.default_rng(0)
        wild = [
            Portrait(numbers={"middle": value, "noise": float(np.exp(3 * rng.normal())), "low": float(rng.pareto(1))})
            for value in rng.standard_cauchy(22)
        ]
        for series in (wild, [person(seed) for seed in range(22)]):
            marks = [against(reference_of([one for one in series if one is not own]), own).marked for own in series]
            assert sum(marks) == marked_of(21) == 2

    @pytest.mark.parametrize(
        ("series", "marked"), [(0, 0), (8, 0), (9, 1), (18, 1), (19, 2), (21, 2), (99, 2), (149, 3), (400, 8)]
    )
    def test_few_are_marked_of_few_and_two_in_a_hundred_of_many(self, series: int, marked: int) -> None:
        assert marked_of(series) == marked
        assert rate(series) == marked / (series + 1)
        assert rate(series) <= 0.1

    def test_new_patients_of_the_same_kind_are_marked_as_often(self) -> None:
        reference = people(39)
        marks = [against(reference, person(seed)).marked for seed in range(1000, 1200)]
        assert np.mean(marks) == pytest.approx(rate(39), abs=0.05)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"low": 30, "middle": 60, "high": 40}, "its soft tissue is brighter"),
        ({"noise": 250}, "it has more noise"),
        ({"width": -80, "height": -60, "tissue": -160}, "the body is"),
        ({"rise": -1.0}, "air and fat shrink (does it run head first?)"),
        ({"light": 300}, "more of it is as bright as bone"),
    ],
)
def test_a_shift_is_found_and_said(changes: dict[str, float], says: str) -> None:
    reference = people()
    found = [against(reference, person(seed, changes=changes)) for seed in range(100, 110)]
    assert sum(one.marked for one in found) >= 9
    sentences = [one.sentence for one in found if one.marked]
    assert all(text.startswith("unlike the training series: ") and "\n" not in text for text in sentences)
    assert sum(says in text for text in sentences) >= 8, sentences


def test_a_sentence_has_figures_and_stops_at_three_deviations() -> None:
    usual = against(people(), person(500))
    assert (usual.marked, usual.sentence) == (False, "like the training series")
    found = against(people(), person(500, changes={"middle": 90, "low": 60, "high": 50, "noise": 400, "light": 500}))
    assert found.nearer == found.series == 21
    assert found.sentence.count("; training ") == 3
    first = found.deviations[0]
    assert f"{first.number.text(first.low)} to {first.number.text(first.high)})" in found.sentence


def test_what_is_missing_on_one_side_is_not_compared() -> None:
    """A series in HU beside a reference of pictures, and the other way round."""
    for reference, own in ((people(), person(7, hu=True)), (people(hu=True), person(7))):
        names = {one.number.name for one in against(reference, own).deviations}
        assert "middle" in names
        assert not names & {"body", "hu_middle", "fat"}
    both = against(people(hu=True), person(70, hu=True, changes={"hu_middle": 60, "hu_high": 60, "hu_low": 60}))
    assert both.marked
    assert "HU are higher" in both.sentence


def test_a_number_that_few_of_the_reference_have_does_not_count() -> None:
    """As answers on the few validate patients."""
    some = [person(seed, suspect=0.1) if seed < LEAST_SERIES - 1 else person(seed) for seed in range(21)]
    found = against(reference_of(some), person(50, suspect=0.9))
    assert "suspect" not in {one.number.name for one in found.deviations}
    whole = reference_of([person(seed, suspect=0.1 + seed / 1000) for seed in range(21)])
    assert against(whole, person(50, suspect=0.9)).sentence.startswith(
        "unlike the training series: its mean lesion probability is higher (0.900; training 0.100 to 0.120)"
    )


def test_equal_numbers_do_not_make_every_difference_infinite() -> None:
    same = reference_of([person(seed, step_mm=5.0) for seed in range(21)])
    assert not against(same, person(50, step_mm=5.01)).marked
    assert against(same, person(50, step_mm=20.0)).marked


@pytest.mark.parametrize(
    ("reference", "own", "why"),
    [
        (None, person(1), "the bundle keeps nothing of the series that it was trained on"),
        (people(8), person(1), "the bundle keeps 8 of the series"),
        (DriftReference(numbers={}), person(1), "the bundle keeps 0 of the series"),
        (people(), Portrait(), "fewer than 6 of its slices were looked at"),
        (people(), Portrait(numbers={"field_mm": 400.0}), "fewer than 6 of its slices were looked at"),
    ],
)
def test_where_nothing_can_be_said_the_reason_is(reference: DriftReference | None, own: Portrait, why: str) -> None:
    found = against(reference, own)
    assert not found.marked
    assert found.sentence.startswith(f"not compared: {why}")


def test_technique_is_said_with_a_mark_and_makes_none() -> None:
    made = [Portrait(numbers=person(seed).numbers, technique={"scanner": "GE"}) for seed in range(21)]
    reference = reference_of(made)
    usual = Portrait(numbers=person(500).numbers, technique={"scanner": "Canon", "kernel": "sharp"})
    assert not against(reference, usual).marked
    noisy = Portrait(numbers=person(500, changes={"noise": 400}).numbers, technique=usual.technique)
    assert against(reference, noisy).sentence.endswith("; its scanner is Canon, as in no training series")


def test_every_series_is_measured_against_all_others() -> None:
    rng = np.random.default_rng(3)
    numbers = [BY_NAME["middle"], BY_NAME["high"]]
    table = rng.normal(100, 10, (12, 2))
    table[3, 1] = np.nan
    apart = deviations(numbers, table)
    for row in range(12):
        for column in range(2):
            others = np.delete(table[:, column], row)
            others = others[~np.isnan(others)]
            spread = others.std(ddof=1) * np.sqrt(1 + 1 / len(others))
            wanted = (table[row, column] - others.mean()) / spread
            np.testing.assert_allclose(apart[row, column], wanted, rtol=1e-9)


class TestReference:
    def test_it_comes_back_from_json_and_names_nobody(self) -> None:
        reference = people(hu=True, answers="out of fold")
        record = json.loads(json.dumps(reference.to_json()))
        again = DriftReference.from_json(record)
        assert again is not None
        assert (again.series, again.data, again.answers, again.synthetic) == (21, "made up", "out of fold", False)
        assert again.to_json() == record
        assert len(json.dumps(record)) < 6000
        first = next(iter(again.numbers.values())).tolist()
        assert first == sorted(first)  # in no order of patients
        for seed in range(40, 50):
            assert against(again, person(seed, hu=True)).marked == against(reference, person(seed, hu=True)).marked

    @pytest.mark.parametrize(
        "change",
        [
            {"schema": 2},
            {"series": -1},
            {"series": 3},
            {"numbers": []},
            {"numbers": {"middle": [1, 2]}},
            {"numbers": {"middle": ["x"] * 21}},
            {"numbers": {"middle": [True] * 21}},
            {"words": {"scanner": {"GE": -1}}},
            {"words": 3},
            {"data": None},
            {"answers": 3},
        ],
    )
    def test_what_is_not_as_it_must_be_is_none(self, change: dict[str, Any]) -> None:
        assert DriftReference.from_json(people().to_json() | change) is None
        assert DriftReference.from_json([change]) is None
        assert DriftReference.from_json(None) is None

    def test_numbers_and_technique_that_are_not_known_are_passed_over(self) -> None:
        record = people().to_json()
        record["numbers"]["beauty"], record["words"]["colour"] = [1.0] * 21, {"red": 1}
        read = DriftReference.from_json(record)
        assert read is not None
        assert "beauty" not in read.numbers
        assert read.technique == {}

    def test_of_many_an_even_selection_is_kept(self) -> None:
        many = reference_of([Portrait(numbers={"middle": float(n)}) for n in range(1000)])
        assert many.series == MOST_SERIES
        assert many.numbers["middle"][[0, -1]].tolist() == [0.0, 999.0]

    def test_what_a_bundle_can_say_is_a_sentence(self) -> None:
        assert "Nothing is kept" in promise(None)
        assert "too little" in promise(people(5))
        assert promise(people()) == (
            "Series unlike its 21 training series are marked, by 11 numbers of each; of 100 series that are like them, "
            "about 9 are marked by chance."
        )


class TestPortrait:
    def test_numbers_are_medians_and_rises(self) -> None:
        numbers = person(3).numbers
        assert set(numbers) == {number.name for number in AS_SEEN}
        assert numbers["rise"] > 0.6
        assert person(3, changes={"rise": -1}).numbers["rise"] < -0.6

    def test_headers_and_answers_add_theirs(self) -> None:
        info = {
            "geometry": {"rows": 512, "columns": 400, "spacing_mm": [0.8, 0.8]},
            "technique": {"scanner": "GE", "voltage": "120 kV", "thickness_mm": 2.5},
        }
        arranged = {"by": "position", "in_mm": True, "step_mm": 3.0}
        answers = np.tile([0.2, 0.5, 0.3], (30, 1))
        made = portrait(info, arranged, looks(1, hu=True), answers, unsure=6)
        assert made.technique == {"scanner": "GE", "voltage": "120 kV"}
        assert made.numbers["field_mm"] == pytest.approx(409.6)
        assert made.numbers["body_mm"] == pytest.approx(2 * (0.45 * 409.6 * 320 / np.pi) ** 0.5, rel=0.2)
        assert (made.numbers["step_mm"], made.numbers["thickness_mm"]) == (3.0, 2.5)
        assert made.numbers["liver"] == 1.0
        figures = (made.numbers["unsure"], made.numbers["suspect"], made.numbers["surest"])
        assert figures == pytest.approx((0.2, 0.3, 0.5))

    @pytest.mark.parametrize("by", ["instance number", "name", None, "slice location"])
    def test_what_does_not_tell_head_from_feet_tells_no_rise(self, by: str | None) -> None:
        made = portrait({"kind": "dicom"}, {"by": by}, looks(1), np.empty((0, 3)), 0)
        assert "middle" in made.numbers
        assert not {"rise", "climb", "liver"} & set(made.numbers)

    def test_few_looks_tell_nothing(self) -> None:
        assert portrait({}, {}, looks(1, count=5), np.empty((0, 3)), 0).numbers == {}

    def test_every_number_is_worded_both_ways(self) -> None:
        for number in NUMBERS:
            assert number.said(True) != number.said(False)
            assert "{" not in number.said(True)
        assert BY_NAME["rise"].text(-0.5) == "−0.50"
