"""Surveys: order by position, gaps and repeats told, no patient named."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from lits_deploy.scans import Series
from lits_deploy.scans.survey import Steps, Survey, along, steps_of


def series(key: str = "s", study: str = "1", kind: str = "dicom") -> Series:
    return Series(study=study, key=key, kind=kind, modality="CT", identifiers={"patient_name": "Doe^Jane"})


def test_steps_of_a_plain_series() -> None:
    assert steps_of([10.0, 0.0, 5.0]) == Steps(step_mm=5.0, extent_mm=10.0, missing=0, repeated=0)
    assert steps_of([]) == steps_of([3.0]) == Steps(step_mm=None, extent_mm=None, missing=0, repeated=0)


def test_gaps_and_repeats_are_counted() -> None:
    assert steps_of([0, 5, 10, 25, 30, 40]) == Steps(step_mm=5.0, extent_mm=40.0, missing=3, repeated=0)
    assert steps_of([0, 0, 5, 5.004, 10]) == Steps(step_mm=5.0, extent_mm=10.0, missing=0, repeated=2)
    assert steps_of([0, 5.1, 9.9, 15.2]).missing == 0


@given(st.integers(2, 40), st.floats(0.3, 10), st.floats(-1000, 1000), st.randoms(use_true_random=False))
def test_even_steps_are_found_in_any_order(count: int, step: float, start: float, dice: object) -> None:
    positions = [start + step * n for n in range(count)]
    dice.shuffle(positions)  # type: ignore[attr-defined]
    steps = steps_of(positions)
    assert steps.step_mm is not None
    assert abs(steps.step_mm - step) < 0.002
    assert (steps.missing, steps.repeated) == (0, 0)


def test_slices_sort_by_position_and_those_without_come_last() -> None:
    slices = [(None, "a", 0), (3.0, "z", 0), (-7.5, "y", 0), (3.0, "b", 1), (3.0, "b", 0)]
    assert sorted(slices, key=lambda s: along(*s)) == [
        (-7.5, "y", 0), (3.0, "b", 0), (3.0, "b", 1), (3.0, "z", 0), (None, "a", 0),
    ]  # fmt: skip


def surveyed() -> Survey:
    survey = Survey()
    survey.add("b/2.dcm", series(), [(5.0, None)])
    survey.add("b/1.dcm", series(), [(10.0, "a localizer, not a slice")])
    survey.add("a/1.dcm", series("t", "2"), [(0.0, None), (5.0, None)])
    survey.add("c/1.dcm", series("u", "1"), failure="the pixel data are truncated")
    survey.add("d.png", None, failure="the PNG is truncated")
    return survey


def test_studies_and_series_have_numbers_in_the_order_of_their_paths() -> None:
    survey = surveyed()
    assert [[one.path for one in study] for study in survey.studies()] == [["a/1.dcm"], ["b/1.dcm", "c/1.dcm"]]
    told = survey.to_json()
    assert [[one["series"] for one in study["series"]] for study in told["studies"]] == [["1.1"], ["2.1", "2.2"]]
    assert (told["files"], told["slices"]) == (5, 4)
    assert told["skipped"] == {"a localizer, not a slice": 1}
    assert told["failed"] == {"the PNG is truncated": 1, "the pixel data are truncated": 1}
    assert told["studies"][1]["series"][1]["failed"] == {"the pixel data are truncated": 1}


def test_the_order_of_arrival_does_not_matter() -> None:
    other = Survey()
    other.add("d.png", None, failure="the PNG is truncated")
    other.add("c/1.dcm", series("u", "1"), failure="the pixel data are truncated")
    other.add("a/1.dcm", series("t", "2"), [(0.0, None), (5.0, None)])
    other.add("b/1.dcm", series(), [(10.0, "a localizer, not a slice")])
    other.add("b/2.dcm", series(), [(5.0, None)])
    assert other.to_json() == surveyed().to_json()


def test_nobody_and_no_file_is_named_unless_asked() -> None:
    plain = json.dumps(surveyed().to_json())
    assert not any(word in plain for word in ("Doe", "a/1", "d.png"))
    named = json.dumps(surveyed().to_json(identify=True))
    assert all(word in named for word in ("Doe^Jane", "a/1.dcm", "d.png"))


def test_the_numbers_of_pictures_are_no_millimetres() -> None:
    survey = Survey()
    survey.add("a_1.png", series(kind="picture"), [(1.0, None)])
    survey.add("a_2.png", series(kind="picture"), [(2.0, None)])
    ((one,),) = survey.studies()
    assert one.steps.step_mm is None
