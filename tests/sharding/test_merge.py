"""Shards that are merged are one machine's run: the same bytes, and the same folder to go on with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from folder_runs import SALT, SIZE
from lits_deploy.bundle import Bundle
from lits_deploy.errors import UserError
from lits_deploy.ledger.absorb import Absorb, Taken
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.report import choose
from lits_deploy.segmentation.run import segment_folder
from masked import make_unet
from pictures import grey_pixels, save
from s3_server import S3Server
from sharded import assert_same, ct_slice, do_shards, merged, mixed_scans, one_machine, plan
from tiny_bundle import make_tiny_bundle
from tiny_points import POINTS
from worlds import SERIES, Thresholds, picture, volume

CONTRACT = {"size": SIZE, "crop": 56, "window_hu": (-160.0, 240.0), "cam": True, "operating_points": POINTS}


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mixed_scans(tmp_path_factory.mktemp("mixed") / "scans")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Bundle]:
    return {n: make_tiny_bundle(tmp_path_factory.mktemp(f"bundle{n}"), channels=n, **CONTRACT) for n in (1, 3)}


@pytest.mark.parametrize(
    ("channels", "most", "asked"),
    [
        (1, 6, {}),
        (3, 6, {"pseudonymous": True}),
        (3, 1000, {"identify": True}),
        (1, 6, {"operating_point": "sensitivity=0.90"}),
        pytest.param(1, 14, {"pseudonymous": True}, marks=pytest.mark.slow),
    ],
)
def test_merged_shards_are_one_machines_bytes(
    bundles: dict[int, Bundle], scans: Path, tmp_path: Path, channels: int, most: int, asked: dict[str, Any]
) -> None:
    bundle, job, out = bundles[channels], tmp_path / "job", tmp_path / "merged"
    one = one_machine(bundle, scans, tmp_path / "one", **asked)
    shards = plan(bundle, scans, job, most, **asked).shards
    done = do_shards(bundle, job)
    assert [one.state for one in done] == ["published"] * shards
    assert not list((tmp_path / "scratch").iterdir())  # nothing of a shard stays behind
    summary = merged(job, out)
    assert_same(tmp_path / "one", out)
    record = json.loads((out / "run.json").read_text())
    alone = json.loads((tmp_path / "one" / "run.json").read_text())
    for name in ("run_id", "identity", "answered_with", "model"):
        assert record[name] == alone[name], name
    assert {**record["counts"], "slices_now": 0} == {**alone["counts"], "slices_now": 0}
    assert (summary.merged, summary.missing, summary.run.now) == (shards, (), one.now)

    # An ordinary run goes on with it, and finds nothing to do.
    again = one_machine(bundle, scans, out, **asked)
    assert (again.resumed, again.now, again.added, again.removed) == (True, 0, 0, 0)
    assert_same(tmp_path / "one", out)
    assert merged(job, out).merged == (shards if channels > 1 else 0)
    assert_same(tmp_path / "one", out)


def test_a_u_nets_shards_become_its_volumes_and_masks(tmp_path: Path) -> None:
    bundle, network = make_unet(tmp_path / "unet"), Thresholds(shape=(1, 128, 128))
    scans, job, one, out = (tmp_path / name for name in ("scans", "job", "one", "merged"))
    for series in SERIES[:3]:
        series.write(scans)
    for n in range(4):
        save(scans / "pictures" / f"{n}.png", picture(n))
    (scans / "volume.nii").write_bytes(volume("RAS", (64, 64, 5)).to_bytes())
    options = ClassifyOptions(salt=SALT, workers=1)
    alone = segment_folder(bundle, [scans], one, masks=("png", "nifti"), options=options, runtime=network)
    plan(bundle, scans, job, 7)
    do_shards(bundle, job, runtime=network)
    summary = merged(job, out, masks=("png", "nifti"), formats=("csv",))
    assert summary.segmented is not None
    assert (summary.segmented.masks, summary.segmented.slices) == (alone.masks, alone.slices)
    for name in ("slices", "studies", "volumes", "masks"):
        assert (one / f"{name}.csv").read_bytes() == (out / f"{name}.csv").read_bytes(), name
    assert tree(one / "masks") == tree(out / "masks")
    again = segment_folder(bundle, [scans], out, masks=("png", "nifti"), options=options, runtime=network)
    assert again.run.now == 0


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_missing_shards_are_said_and_the_same_merge_goes_on(
    bundles: dict[int, Bundle], scans: Path, tmp_path: Path
) -> None:
    bundle, job, out = bundles[1], tmp_path / "job", tmp_path / "out"
    count = plan(bundle, scans, job, 6).shards
    with pytest.raises(UserError, match=r"No shard of .* is done yet\. Fix: lits-deploy classify BUNDLE --job"):
        merged(job, out)
    assert not out.exists()
    do_shards(bundle, job, range(count - 2))
    summary = merged(job, out)
    assert summary.missing == (count - 2, count - 1)
    assert summary.run.missing > 0
    one_machine(bundle, scans, tmp_path / "one")
    half = (out / "slices.csv").read_bytes()
    assert half != (tmp_path / "one" / "slices.csv").read_bytes()
    do_shards(bundle, job)
    assert merged(job, out).merged == 2
    assert_same(tmp_path / "one", out)


def test_a_merge_that_is_killed_goes_on_where_it_was(
    bundles: dict[int, Bundle], scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, job, out = bundles[3], tmp_path / "job", tmp_path / "out"
    count = plan(bundle, scans, job, 6).shards
    do_shards(bundle, job)
    take, taken = Absorb.take, list[Path]()

    def dies(self: Absorb, path: Path, *, neighbours: bool) -> Taken:
        if len(taken) % 2:
            taken.append(path)
            raise KeyboardInterrupt
        taken.append(path)
        return take(self, path, neighbours=neighbours)

    with monkeypatch.context() as patch:
        patch.setattr(Absorb, "take", dies)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                merged(job, out)
    assert len(taken) == 4
    assert merged(job, out).shards == count
    one_machine(bundle, scans, tmp_path / "one")
    assert_same(tmp_path / "one", out)


@pytest.mark.parametrize("channels", [1, 3])
def test_merged_again_after_another_plan_what_is_done_stays(
    bundles: dict[int, Bundle], tmp_path: Path, channels: int
) -> None:
    """A slice that went changes its neighbours' channels, and so do one that is new, one that is in another's place
    now, and one with other pixels."""
    bundle, scans, job, out = bundles[channels], mixed_scans(tmp_path / "scans"), tmp_path / "job", tmp_path / "out"
    plan(bundle, scans, job, 6)
    do_shards(bundle, job)
    merged(job, out)
    (scans / "p1" / "IM4").unlink()
    (scans / "p2" / "IM1").write_bytes((scans / "p2" / "IM8").read_bytes())
    (scans / "p2 as another" / "IM1").write_bytes(ct_slice(2, 3, 3, more=200))
    save(scans / "study-1" / "slice-0100.png", grey_pixels(SIZE, 100))
    again = plan(bundle, scans, job, 6)
    assert 0 < again.new < again.shards
    assert again.done == again.shards - again.new
    assert len(do_shards(bundle, job)) == again.new
    summary = merged(job, out)
    assert summary.run.removed == 1
    assert 0 < summary.run.now < summary.run.slices
    one_machine(bundle, scans, tmp_path / "one")
    assert_same(tmp_path / "one", out)


def test_a_series_that_turns_out_a_copy_has_its_rank_and_pictures_taken_by_the_next(
    bundles: dict[int, Bundle], scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No shard knows of it: the bundle behind JOB draws the pictures that none has, and without it there is a line."""
    monkeypatch.setattr(choose, "SERIES", 1)
    bundle, job, out = bundles[1], tmp_path / "job", tmp_path / "out"
    one_machine(bundle, scans, tmp_path / "one")
    plan(bundle, scans, job, 1000)
    with monkeypatch.context() as patch:
        patch.setattr(choose, "chosen", lambda rows, volumes: [])  # as if its only picture were of a copy
        do_shards(bundle, job)
    said: list[str] = []
    merged(job, out, say=said.append)
    assert "in no shard. Fix: name the bundle behind JOB" in said[0]
    merged(job, out, bundle=bundle, say=said.append)
    assert len(said) == 1
    assert_same(tmp_path / "one", out)


def test_a_job_in_a_bucket_is_fetched_merged_and_let_go(
    bundles: dict[int, Bundle], scans: Path, tmp_path: Path, server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, job, out = bundles[1], f"s3://{server.bucket('jobs')}/one", tmp_path / "out"
    count = plan(bundle, scans, job, 20).shards
    states = [one.state for one in do_shards(bundle, job, (*range(count), 0), scratch_root=tmp_path / "scratch")]
    assert states == [*["published"] * count, "done"]
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    assert merged(job, out).merged == count
    assert not list((tmp_path / "tmp").iterdir())
    one_machine(bundle, scans, tmp_path / "one")
    assert_same(tmp_path / "one", out)
    server.fault(match="(PUT|POST) .*sqlite.*", status=403, code="AccessDenied")
    other = f"{job}-again"
    plan(bundle, scans, other, 1000)
    with pytest.raises(UserError, match=r"s3://jobs cannot be written: access denied\. Fix: ") as caught:
        do_shards(bundle, other, scratch_root=tmp_path / "scratch")
    assert "\n" not in str(caught.value)
    server.well()
    assert do_shards(bundle, other, scratch_root=tmp_path / "scratch")[0].state == "published"
