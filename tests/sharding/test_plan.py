"""A plan: whole series, whatever the order of the listing; planned again, what has not changed stays."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listings import File, answers_of, live_rows, plan
from lits_deploy.bundle import Bundle
from lits_deploy.decode.job import DecodeJob
from lits_deploy.errors import BundleError, OutputError, UserError
from lits_deploy.pipeline.stop import Stop
from lits_deploy.sharding.job_folder import JobFolder
from lits_deploy.sharding.rows import PlannedRow
from tiny_bundle import make_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


def _series(name: str, count: int, **changes: Any) -> list[File]:
    return [File(f"{name}/{i}.dcm", series=name, at=5.0 * i, **changes) for i in range(count)]


_FILES = st.lists(
    st.builds(
        File,
        path=st.builds("{}/{}".format, st.sampled_from("abc"), st.integers(0, 12)),
        series=st.sampled_from([None, "1", "2", "3", "4", "5"]),
        at=st.integers(0, 5).map(float),
        frames=st.sampled_from([1, 1, 1, 7]),
        mtime=st.sampled_from([17, 18]),
        kind=st.sampled_from(["dicom", "dicom", "nifti", "picture"]),
        reason=st.sampled_from([None, None, None, "a link"]),
    ),
    min_size=1,
    max_size=24,
    unique_by=lambda file: file.path,
)


def _key(row: PlannedRow) -> str:
    return row.series or row.path


def _check_whole(shards: dict[int, list[PlannedRow]], files: Sequence[File], most: int) -> None:
    rows = [row for shard in shards.values() for row in shard]
    assert sorted(row.found.path for row in rows) == sorted(file.path for file in files)
    assert {row.path: row.found for row in rows} == {file.path: file.found for file in files}
    homes = defaultdict(set)
    for number, shard in shards.items():
        assert {row.shard for row in shard} == {number}
        assert sum(max(1, row.slices) for row in shard) <= most or len({_key(row) for row in shard}) == 1
        for row in shard:
            homes[_key(row)].add(number)
    assert all(len(home) == 1 for home in homes.values())


@settings(max_examples=25, deadline=None)
@given(files=_FILES, most=st.sampled_from([1, 3, 10, 1000]), seed=st.integers(0, 99))
def test_a_plan_does_not_depend_on_the_order_of_listing_or_answers(
    bundle: Bundle, tmp_path_factory: pytest.TempPathFactory, files: list[File], most: int, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("jobs")
    plan(bundle, files, folder / "one", most=most)
    shuffled = random.Random(seed).sample(files, len(files))

    def in_another_order(jobs: list[DecodeJob]) -> list[DecodeJob]:
        return random.Random(seed).sample(jobs, len(jobs))

    plan(bundle, shuffled, folder / "other", most=most, open_reader=answers_of(files, in_another_order)[0])
    assert live_rows(folder / "one") == live_rows(folder / "other")
    assert JobFolder(str(folder / "one")).read().shards == JobFolder(str(folder / "other")).read().shards
    _check_whole(live_rows(folder / "one"), files, most)


@settings(max_examples=40, deadline=None)
@given(before=_FILES, after=_FILES, kept=st.integers(0, 24), most=st.sampled_from([1, 3, 10, 1000]))
def test_planned_again_just_the_shards_that_changed_are_superseded(
    bundle: Bundle,
    tmp_path_factory: pytest.TempPathFactory,
    before: list[File],
    after: list[File],
    kept: int,
    most: int,
) -> None:
    there = {file.path: file for file in before[:kept]}
    after = [*there.values(), *(file for file in after if file.path not in there)]
    # What a file is does not change behind size and time.
    was = {file.path: file for file in before}
    after = [was.get(file.path, file) if was.get(file.path, file).mtime == file.mtime else file for file in after]
    job = tmp_path_factory.mktemp("jobs") / "job"
    plan(bundle, before, job, most=most)
    first = live_rows(job)
    summary = plan(bundle, after, job, allow_removed=True)
    shards = live_rows(job)
    _check_whole(shards, after, most)

    plan(bundle, after, job.with_name("fresh"), most=most)
    fresh = {row.path: row._replace(shard=0) for rows in live_rows(job.with_name("fresh")).values() for row in rows}
    assert {row.path: row._replace(shard=0) for rows in shards.values() for row in rows} == fresh

    changed = set()
    for number, rows in first.items():
        keys = {row.series for row in rows} - {None}
        own = {row.path for row in rows}
        same = all(fresh.get(row.path) == row._replace(shard=0) for row in rows)
        joined = any(row.series in keys and row.path not in own for row in fresh.values())
        if not same or joined:
            changed.add(number)
    assert summary.superseded == tuple(sorted(changed))
    assert {number for number in shards if number < len(first)} == set(first) - changed
    assert plan(bundle, after, job).new == 0
    assert live_rows(job) == shards


def test_nothing_is_read_again_that_has_not_changed(bundle: Bundle, tmp_path: Path) -> None:
    files = [*_series("a", 4), *_series("b", 4), *_series("c", 4)]
    plan(bundle, files, tmp_path / "job", most=8)
    files[5] = replace(files[5], mtime=99)
    reader, read = answers_of(files)
    summary = plan(bundle, files, tmp_path / "job", open_reader=reader)
    assert sorted(read) == [f"b/{i}.dcm" for i in range(4)]  # the series that changed, and none beside it
    assert (summary.superseded, summary.new, summary.shards) == ((0,), 1, 2)
    assert summary.changes == (0, 1, 0)


def test_more_scans_add_shards_and_leave_what_is_done(bundle: Bundle, tmp_path: Path) -> None:
    job = JobFolder(str(tmp_path / "job"))
    plan(bundle, _series("a", 4), job, most=4)
    before = job.read()
    (tmp_path / "ledger").write_bytes(b"answers")
    job.publish(before.shard(0), tmp_path / "ledger")
    summary = plan(bundle, [*_series("b", 6), *_series("a", 4), *_series("c", 3)], job)
    after = job.read()
    assert after.shards[0] == before.shards[0]
    assert (after.id, after.generation) == (before.id, 2)
    assert [(entry.files, entry.superseded) for entry in after.shards] == [(4, False), (6, False), (3, False)]
    assert (summary.done, summary.new, summary.superseded, summary.shards) == (1, 2, (), 3)
    assert summary.changes == (9, 0, 0)


def test_a_file_that_goes_supersedes_its_shard(bundle: Bundle, tmp_path: Path) -> None:
    job = JobFolder(str(tmp_path / "job"))
    files = [*_series("a", 4), *_series("b", 4)]
    plan(bundle, files, job, most=4)
    summary = plan(bundle, files[:-1], job)
    assert (summary.superseded, summary.changes) == ((1,), (0, 0, 1))
    assert [entry.superseded for entry in job.read().shards] == [False, True, False]
    # The same scans as at first are new shards all the same: numbers are never used again.
    assert plan(bundle, files, job).superseded == (2,)
    assert [entry.number for entry in job.read().live] == [0, 3]


def test_a_header_that_can_be_read_later_joins_its_series(bundle: Bundle, tmp_path: Path) -> None:
    files = [*_series("a", 4), *_series("b", 4)]
    broken = [*files[:3], replace(files[3], series=None), *files[4:]]
    summary = plan(bundle, broken, tmp_path / "job", most=4)
    assert (summary.unread, summary.series) == (1, 2)
    assert plan(bundle, broken, tmp_path / "job").new == 0
    again = plan(bundle, files, tmp_path / "job")
    assert again.unread == 0
    assert None not in {row.series for rows in live_rows(tmp_path / "job").values() for row in rows}
    _check_whole(live_rows(tmp_path / "job"), files, 4)


def test_order_is_along_the_series(bundle: Bundle, tmp_path: Path) -> None:
    files = [File("z.dcm", at=0.0), File("y.dcm", at=5.0), File("x.dcm", at=10.0)]
    plan(bundle, files, tmp_path / "job")
    assert [(row.path, row.order) for row in live_rows(tmp_path / "job")[0]] == [
        ("z.dcm", 0),
        ("y.dcm", 1),
        ("x.dcm", 2),
    ]


def test_the_path_that_comes_first_counts(bundle: Bundle, tmp_path: Path) -> None:
    files = [File("a", mtime=3), File("b"), File("a", mtime=4)]
    plan(bundle, files, tmp_path / "job")
    assert [(row.path, row.mtime_ns) for row in live_rows(tmp_path / "job")[0]] == [("a", 3), ("b", 17)]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"abstain": False}, "abstain True there, False now"),
        ({"identify": True}, "planned with another salt"),
        ({"salt": "another"}, "planned with another salt"),
        ({"base": "/elsewhere"}, r"a plan of other scans\. Fix: name the same folders"),
        ({"time_limit_s": 3.0}, r"time_limit_s 30\.0 there, 3\.0 now"),
    ],
)
def test_another_plan_in_its_place_is_one_line(
    bundle: Bundle, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    plan(bundle, _series("a", 2), tmp_path / "job")
    before = (tmp_path / "job" / "job.json").read_bytes()
    with pytest.raises(UserError, match=says):
        plan(bundle, _series("a", 3), tmp_path / "job", **change)
    assert (tmp_path / "job" / "job.json").read_bytes() == before


def test_another_bundle_is_one_line(bundle: Bundle, tmp_path: Path) -> None:
    plan(bundle, _series("a", 2), tmp_path / "job")
    other = make_tiny_bundle(tmp_path / "other", size=64, crop=56)
    with pytest.raises(OutputError, match=r"holds another plan \(bundle [0-9a-f]{12} there"):
        plan(other, _series("a", 2), tmp_path / "job")


def test_no_scans_and_wrong_sizes_are_one_line(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No scans in /scans"):
        plan(bundle, [], tmp_path / "job")
    assert not (tmp_path / "job").exists()
    for most in (0, 10**7):
        with pytest.raises(UserError, match="Shards of"):
            plan(bundle, _series("a", 2), tmp_path / "job", most=most)
    with pytest.raises(BundleError, match="no precision `int8`"):
        plan(bundle, _series("a", 2), tmp_path / "job", precision="int8")


def test_asked_to_stop_the_earlier_plan_holds(bundle: Bundle, tmp_path: Path) -> None:
    plan(bundle, _series("a", 2), tmp_path / "job")
    before = (tmp_path / "job" / "job.json").read_bytes()
    for when in ("listed", "headers"):
        stop = Stop()

        def say(what: str, files: int, stop: Stop = stop, when: str = when) -> None:
            if what == when:
                stop.request()

        with pytest.raises(KeyboardInterrupt):
            plan(bundle, _series("a", 3), tmp_path / "job", stop=stop, on_progress=say)
    assert (tmp_path / "job" / "job.json").read_bytes() == before


def test_who_plans_meanwhile_on_a_store_without_locks_is_seen(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = JobFolder(str(tmp_path / "job"))
    monkeypatch.setattr(JobFolder, "held", lambda self: _Nothing())
    plan(bundle, _series("a", 2), job)

    class Meanwhile(list[File]):
        def __iter__(self) -> Iterator[File]:
            yield from super().__iter__()
            before = job.read()
            job.write(replace(before, generation=before.generation + 1))

    with pytest.raises(OutputError, match=r"has planned in .* meanwhile"):
        plan(bundle, Meanwhile(_series("a", 3)), job, open_reader=answers_of(_series("a", 3))[0])


class _Nothing:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def test_job_json_holds_no_salt_and_a_summary_is_json(bundle: Bundle, tmp_path: Path) -> None:
    summary = plan(bundle, _series("a", 2), tmp_path / "job", salt="Sesame-4711")
    assert b"Sesame" not in b"".join(p.read_bytes() for p in (tmp_path / "job").rglob("*") if p.is_file())
    assert json.loads(json.dumps(summary.to_json()))["changes"] == {"added": 2, "changed": 0, "gone": 0}


def test_a_planner_that_is_ended_leaves_what_headers_said_to_the_next(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lits_deploy.sharding.headers.PIECE", 3)
    monkeypatch.setattr("lits_deploy.sharding.headers._LOT", 1)
    files = [*_series("a", 4), *_series("b", 4), File("c", series=None)]
    plan(bundle, files, tmp_path / "undisturbed", most=4)

    def stopped(reader: Any, **more: Any) -> None:
        stop = Stop()

        def say(what: str, count: int) -> None:
            if what == "headers" and count == 5:
                stop.request()

        with pytest.raises(KeyboardInterrupt):
            plan(bundle, files, tmp_path / "job", most=4, stop=stop, on_progress=say, open_reader=reader, **more)

    stopped(answers_of(files)[0])
    pieces = sorted((tmp_path / "job" / "headers").iterdir())
    assert len(pieces) == 2
    assert {path.stat().st_mode & 0o777 for path in pieces} == {0o600}
    assert not any(b"1.2.3" in path.read_bytes() for path in pieces)
    (tmp_path / "job" / "headers" / pieces[0].name.replace("-", "-x")).write_bytes(b"damaged")
    other, read_by_other = answers_of(files)
    stopped(other, salt="another")
    changed = [replace(files[0], mtime=99), *files[1:]]
    reader, read = answers_of(changed)
    plan(bundle, changed, tmp_path / "job", most=4, open_reader=reader)
    assert sorted(read) == ["a/0.dcm", *sorted(file.path for file in files[5:])]
    assert read_by_other == [file.path for file in files[:5]]  # its names are others
    assert list((tmp_path / "job" / "headers").iterdir()) == []
    plan(bundle, files, tmp_path / "job")
    rows = [row for shard in live_rows(tmp_path / "job").values() for row in shard]
    undisturbed = [row for shard in live_rows(tmp_path / "undisturbed").values() for row in shard]
    assert {row._replace(shard=0) for row in rows} == {row._replace(shard=0) for row in undisturbed}


def test_plans_that_nobody_names_are_taken_away(bundle: Bundle, tmp_path: Path) -> None:
    plan(bundle, _series("a", 2), tmp_path / "job")
    (tmp_path / "job" / "plan" / "orphan.parquet").write_bytes(b"of a planner that was killed")
    plan(bundle, _series("a", 2), tmp_path / "job")
    assert [path.name for path in (tmp_path / "job" / "plan").iterdir()] == [
        JobFolder(str(tmp_path / "job")).read().shard(0).plan.removeprefix("plan/")
    ]
