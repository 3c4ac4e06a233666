"""run.json fits the JSON Schema in the package, whichever command wrote it, and says how the run ended."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import jsonschema
import pytest

from folder_runs import SIZE, classify
from lits_deploy import exits
from lits_deploy.bundle import Bundle
from lits_deploy.pipeline.stop import Stop
from lits_deploy.run_json import SCHEMA as NUMBER
from lits_deploy.run_json import read_run_json
from masked import make_unet, segment
from pictures import encoded, folder_of_slices, grey_pixels
from run_records import SCHEMA, checked_record, unnamed
from sharded import do_shards, merged, plan
from tiny_bundle import make_tiny_bundle
from worlds import Series


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"), size=SIZE, crop=56)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    return folder_of_slices(tmp_path / "scans", 12, size=SIZE)


def test_the_schema_is_one_and_has_todays_number() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["schema"] == {"const": NUMBER, "description": "Number of this schema."}
    assert f"schema {NUMBER}" in SCHEMA["title"]


def test_a_run_says_when_and_how_it_ended_and_what_joined_and_left(
    bundle: Bundle, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    summary = classify(bundle, scans, out)
    record = checked_record(out)
    started, ended = (datetime.fromisoformat(record[name]) for name in ("started", "ended"))
    assert started <= ended
    assert ended.utcoffset() == started.utcoffset()
    assert (record["exit_code"], record["added"], record["removed"], record["resumed"]) == (exits.DONE, 12, 0, False)
    assert (read_run_json(out / "run.json"), summary.exit_code) == (record, exits.DONE)

    next(scans.rglob("*.png")).unlink()
    (scans / "new.png").write_bytes(encoded(grey_pixels(SIZE, 40)))
    (scans / "broken.png").write_bytes(b"")
    (scans / "notes.txt").write_text("")
    classify(bundle, scans, out, ignore=("no such file",))
    found = checked_record(out)
    assert (found["exit_code"], found["added"], found["removed"], found["resumed"]) == (exits.SOME_FAILED, 2, 1, True)
    monkeypatch.setenv(exits.UNATTENDED, "1")
    classify(bundle, scans, out)
    assert checked_record(out)["exit_code"] == exits.SOME_FAILED_UNATTENDED
    classify(bundle, scans, out, ignore=("broken.png",))
    assert checked_record(out)["exit_code"] == exits.DONE


def test_a_stopped_run_has_the_code_of_its_signal(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    stop = Stop()
    stop.exit_code = 143

    def ask(progress: object) -> None:
        stop.request()

    summary = classify(bundle, scans, tmp_path / "out", stop=stop, on_progress=ask, batch_size=1)
    record = checked_record(tmp_path / "out")
    assert (record["exit_code"], summary.exit_code) == (143, 143)


def test_a_segmentation_fits(tmp_path: Path) -> None:
    Series(name="ct", count=4, step=2.0).write(tmp_path / "scans")
    segment(make_unet(tmp_path / "unet"), tmp_path / "scans", tmp_path / "out")
    record = checked_record(tmp_path / "out")
    assert record["exit_code"] == exits.DONE
    assert "decided" not in record


def test_a_merge_fits_and_says_whether_it_is_whole(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    job, out = tmp_path / "job", tmp_path / "out"
    shards = plan(bundle, scans, job, 6).shards
    assert shards > 1
    do_shards(bundle, job, [0], pictures=False)
    merged(job, out)
    assert checked_record(out)["exit_code"] == 130
    merged(job, out, incomplete=exits.USER_ERROR)
    assert checked_record(out)["exit_code"] == exits.USER_ERROR
    do_shards(bundle, job, list(range(1, shards)), pictures=False)
    merged(job, out)
    record = checked_record(out)
    assert (record["exit_code"], record["merged"]["missing"]) == (exits.DONE, [])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": 2}, "3 was expected"),
        ({"exit_code": "0"}, "is not of type"),
        ({"added": -1}, "less than the minimum"),
        ({"ended": "yesterday"}, "does not match"),
    ],
)
def test_what_does_not_fit_is_noticed(
    bundle: Bundle, scans: Path, tmp_path: Path, change: dict[str, object], says: str
) -> None:
    summary = classify(bundle, scans, tmp_path / "out")
    record = json.loads(summary.run_json.read_text())
    summary.run_json.write_text(json.dumps({**record, **change}))
    with pytest.raises(jsonschema.ValidationError, match=says):
        checked_record(tmp_path / "out")
    assert unnamed({**record, "counts": {**record["counts"], "more": 1}, "new": 1}, SCHEMA) == ["new", "counts.more"]
