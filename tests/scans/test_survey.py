"""Surveys: what `lits_deploy.series` arranges is counted and shown, no patient named."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from lits_deploy.scans import SeriesHeader
from lits_deploy.scans.survey import SeriesSurvey, Survey, SurveyedSlice
from lits_deploy.series import Geometry, SliceHeader


def series(key: str = "s", study: str = "1", kind: str = "dicom", patient: str = "P") -> SeriesHeader:
    geometry = Geometry(rows=512, columns=512, spacing_mm=(0.8, 0.8))
    return SeriesHeader(
        study=study,
        series=key,
        patient=patient,
        kind=kind,
        modality="CT",
        geometry=geometry,
        identifiers={"patient_name": "Doe^Jane"},
    )


def at(*positions: float, reason: str | None = None, **where: Any) -> list[SurveyedSlice]:
    return [SurveyedSlice(index, SliceHeader(position=one, **where), reason) for index, one in enumerate(positions)]


FILES: list[tuple[Any, ...]] = [
    ("b/2.dcm", series(), at(5.0)),
    ("b/1.dcm", series(), at(10.0, reason="a localizer, not a slice")),
    ("a/1.dcm", series("t", "2"), at(0.0, 5.0)),
    ("c/1.dcm", series("u", "1"), (), "the pixel data are truncated"),
    ("d.png", None, (), "the PNG is truncated"),
]


def surveyed(files: list[tuple[Any, ...]] = FILES) -> Survey:
    survey = Survey()
    for file in files:
        survey.add(*file)
    return survey


def only(survey: Survey) -> SeriesSurvey:
    ((one,),) = survey.studies()
    return one


def test_studies_and_series_have_numbers_in_the_order_of_their_paths() -> None:
    survey = surveyed()
    assert [[one.path for one in study] for study in survey.studies()] == [["a/1.dcm"], ["b/1.dcm", "c/1.dcm"]]
    document = survey.to_json()
    assert [[one["series"] for one in study["series"]] for study in document["studies"]] == [["1.1"], ["2.1", "2.2"]]
    assert (document["files"], document["slices"], document["copies"]) == (5, 4, 0)
    assert document["excluded"] == {"a localizer, not a slice": 1}
    assert document["failed"] == {"the PNG is truncated": 1, "the pixel data are truncated": 1}
    assert document["studies"][1]["series"][1]["failed"] == {"the pixel data are truncated": 1}


def test_the_order_of_arrival_does_not_matter() -> None:
    assert surveyed(FILES[::-1]).to_json() == surveyed().to_json()


def test_nobody_and_no_file_is_named_unless_asked() -> None:
    plain = json.dumps(surveyed().to_json())
    assert not any(word in plain for word in ("Doe", "a/1", "d.png"))
    named = json.dumps(surveyed().to_json(identify=True))
    assert all(word in named for word in ("Doe^Jane", "a/1.dcm", "d.png"))


def test_what_is_asked_before_the_last_file_does_not_stay() -> None:
    survey = surveyed(FILES[:1])
    assert survey.slices == 1
    survey.add(*FILES[1])
    assert survey.slices == 2


def test_the_numbers_of_pictures_are_no_millimetres() -> None:
    picture = replace(series(kind="picture"), geometry=Geometry())
    one = only(surveyed([(f"a_{n}.png", picture, [SurveyedSlice(0, SliceHeader(number=n))]) for n in (1, 2)]))
    assert (one.volume.steps.step_mm, one.order) == (None, "name")


def test_a_file_of_two_volumes_is_a_file_of_both() -> None:
    frames = [
        SurveyedSlice(2 * n + phase, SliceHeader(position=5.0 * n, labels={"dimension": str(phase)}))
        for n in range(4)
        for phase in (0, 1)
    ]
    survey = surveyed([("f.dcm", series(), frames)])
    ((first, second),) = survey.studies()
    assert (first.volume.name, second.volume.name) == ("part 1 of 2: dimension 1", "part 2 of 2: dimension 2")
    assert (first.files, second.files, survey.files, survey.slices) == (1, 1, 1, 8)


def test_copies_count_once_and_so_do_their_reasons() -> None:
    files = [
        (f"{folder}/{n}.dcm", series(), at(5.0 * n, reason="why" if n == 1 else None), None, f"bytes {n}")
        for folder in ("a", "b and more")
        for n in range(3)
    ]
    survey = surveyed(files)
    one = only(survey)
    assert (one.files, survey.files, survey.slices, survey.copies) == (6, 6, 3, 3)
    assert survey.excluded == {"why": 1}
    assert one.to_json()["copies"] == 3


def test_two_patients_of_one_study_uid_are_two_studies_and_an_id_left_out_is_nobody_new() -> None:
    files = [
        ("a/1.dcm", series("s", patient="P"), at(0.0)),
        ("a/2.dcm", series("t", patient="Q"), at(0.0)),
        ("b/1.dcm", series("u", "2", patient="P"), at(0.0)),
        ("b/2.dcm", series("v", "2", patient=""), at(0.0)),
    ]
    assert [[one.path for one in study] for study in surveyed(files).studies()] == [
        ["a/1.dcm"],
        ["a/2.dcm"],
        ["b/1.dcm", "b/2.dcm"],
    ]
