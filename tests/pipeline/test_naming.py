"""What is written of series and slices: folders and patterns stand in for UIDs, and nothing is in clear."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lits_deploy.decode.job import DecodeJob
from lits_deploy.pipeline.naming import Naming, series_of, slice_header_of
from lits_deploy.pseudonyms import Pseudonyms
from lits_deploy.scans import SeriesHeader
from lits_deploy.series import Geometry, SliceHeader

NAMES = Naming(names=Pseudonyms(salt=b"salt"))
SERIES = SeriesHeader(
    study="1.2",
    series="1.2.3",
    patient="ID-1",
    kind="dicom",
    modality="CT",
    geometry=Geometry(rows=512, columns=512, spacing_mm=(0.8, 0.8), directions=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0)),
    identifiers={"patient_name": "Doe^Jane"},
)


def test_a_series_and_a_number_come_through_a_pipe_as_they_were() -> None:
    assert SeriesHeader.from_json(json.loads(json.dumps(SERIES.to_json()))) == SERIES
    assert SeriesHeader.from_json(json.loads(json.dumps(SeriesHeader(kind="nifti").to_json()))) == SeriesHeader(
        kind="nifti"
    )
    at = SliceHeader(position=0.0, number=0, labels={"acquisition": 0})
    assert SliceHeader(**json.loads(json.dumps(at.to_json()))) == at


def job(name: str, kind: str = "dicom", series: SeriesHeader | None = None) -> tuple[DecodeJob, SeriesHeader | None]:
    return DecodeJob(1, f"/data/{name}", "reader", name, kind), series


def test_without_uids_the_folder_is_the_series_and_the_series_is_the_study() -> None:
    nameless = replace(SERIES, study="", series="")
    a, also_a, b = (series_of(*job(name, series=nameless)) for name in ("a/1.dcm", "a/2.dcm", "b/1.dcm"))
    assert a is not None
    assert b is not None
    assert a == also_a
    assert a.series == a.study
    assert a.series != b.series
    no_study = series_of(*job("b/1.dcm", series=replace(SERIES, study="")))
    assert no_study is not None
    assert (no_study.study, no_study.series) == ("1.2.3", "1.2.3")
    assert series_of(*job("a/1.dcm", series=SERIES)) == SERIES
    assert series_of(*job("a/1.dcm")) is None


def test_what_is_written_of_a_series_names_nobody() -> None:
    header, again = NAMES.header(*job("a/1.dcm", series=SERIES)), NAMES.header(*job("b/9.dcm", series=SERIES))
    assert header is not None
    assert header == again
    assert json.loads(header.info) == {
        "kind": "dicom",
        "modality": "CT",
        "orientation": "unknown",
        "geometry": {
            "rows": 512,
            "columns": 512,
            "spacing_mm": [0.8, 0.8],
            "directions": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            "turn": "",
        },
    }
    other = NAMES.header(*job("a/1.dcm", series=replace(SERIES, patient="ID-2")))
    assert other is not None
    assert (other.token, other.study) == (header.token, header.study)
    assert other.patient != header.patient
    nobody = NAMES.header(*job("a/1.dcm", series=replace(SERIES, patient="")))
    assert nobody is not None
    assert nobody.patient == ""
    assert not any(clear in repr(header) for clear in ("1.2", "ID-1", "Doe"))
    named = Naming(names=Pseudonyms(salt=b"salt", identify=True)).header(*job("a/1.dcm", series=SERIES))
    assert named is not None
    assert json.loads(named.info)["identifiers"] == {"patient_name": "Doe^Jane"}


def test_what_is_written_of_a_slice_compares_as_before_and_says_no_uid_text_or_time() -> None:
    at = SliceHeader(
        position=12.5,
        number=3,
        instance="1.2.3.4",
        clock=36930.25,
        labels={"kernel": "DOE", "acquisition": 2, "trigger time": 0.5},
    )
    fields = json.loads(NAMES.facts(job("a/1.dcm")[0], at))
    assert (fields["position"], fields["number"], fields["labels"]["acquisition"]) == (12.5, 3, 2)
    assert fields["labels"]["trigger time"] == 0.5
    other = json.loads(NAMES.facts(job("a/1.dcm")[0], SliceHeader(instance="1.2.3.5")))
    assert len({"1.2.3.4", "1.2.3.5", fields["instance"], other["instance"]}) == 4
    assert fields["labels"]["kernel"] != "DOE"
    later = json.loads(NAMES.facts(job("a/2.dcm")[0], replace(at, clock=36935.75)))
    assert 0 <= fields["clock"] < 86400
    assert (later["clock"] - fields["clock"]) % 86400 == pytest.approx(5.5)
    assert fields["clock"] != at.clock
    assert later["instance"] == fields["instance"]
    elsewhere = Naming(names=Pseudonyms(salt=b"other")).facts(job("a/1.dcm")[0], at)
    assert json.loads(elsewhere)["clock"] != fields["clock"]
    assert SliceHeader(**fields).labels.keys() == at.labels.keys()
    dated = NAMES.facts(job("a/1.dcm")[0], SliceHeader(labels={"acquisition": 20240229}))
    assert "20240229" not in dated


def test_pictures_go_by_their_names(tmp_path: Path) -> None:
    def read(name: str, **more: Any) -> tuple[str, int | None]:
        one = DecodeJob(1, str(tmp_path / name), "reader", name, "picture", **more)
        series = series_of(one, None)
        assert series is not None
        return series.series, slice_header_of(one, SliceHeader()).number

    for name in ("volume-9_0002.jpg", "volume-9_0002 (1).jpg", "p12 (3).jpg"):
        (tmp_path / name).touch()
    assert read("volume-9_0002.jpg") == ("/volume-9_#", 2)
    assert read("volume-9_0002 (1).jpg") == ("/volume-9_#", 2)
    assert read("volume-9_0002 (1) (2).jpg") == ("/volume-9_#", 2)
    assert read("volume-9_0002 (1).jpg", member=4) == ("/volume-9_0002 (#)", 1), "in a zip it is not looked for"
    assert read("volume-9_0004 (1).jpg") == ("/volume-9_0004 (#)", 1), "no original lies beside it"
    assert read("p12 (3).jpg") == ("/p12 (#)", 3), "the third slice of patient 12"
    assert read("scan (3).png") == ("/scan (#)", 3)
    assert read("a.png") == ("/*", None)


def test_where_paths_are_hashed_the_checksum_of_pixels_is_keyed_too() -> None:
    hidden, other = (Naming(names=Pseudonyms(salt=salt, paths=True)) for salt in (b"salt", b"pepper"))
    assert NAMES.pixels(-7) == -7
    assert hidden.pixels(None) is None
    assert hidden.pixels(-7) == hidden.pixels(-7) != hidden.pixels(-8)
    assert len({NAMES.pixels(-7), hidden.pixels(-7), other.pixels(-7)}) == 3
