"""A run spread over workers: the same OUT as one machine's, gone on with after whatever happened."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from folder_runs import SALT, SIZE, rows
from in_process_crew import InProcess
from lits_deploy.bundle import Bundle
from lits_deploy.errors import OutputError, UserError
from lits_deploy.pipeline.context import RunHooks
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.run import run_folder
from lits_deploy.pipeline.stop import Stop
from lits_deploy.report.after import reporter
from lits_deploy.report.peaks import Peaks
from lits_deploy.sharding.job_folder import JobFolder
from lits_deploy.sharding.messages import Start
from lits_deploy.sharding.output_folder import BUSY, FOLDER, with_salt_there
from lits_deploy.sharding.spread import Spread, SpreadSummary, spread_run, suitable_slices
from pictures import grey_pixels, save
from sharded import page
from tiny_bundle import make_tiny_bundle

PATIENTS, SLICES = 4, 3


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny", size=SIZE, crop=56, cam=True)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    for patient in range(PATIENTS):
        for number in range(SLICES):
            save(folder / f"p{patient}" / f"{number:02}.png", grey_pixels(SIZE, 100 * patient + number))
    (folder / "p0" / "broken.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("no scan")
    return folder


class Recorder:
    """Hires crews in this process, and notes which shards they were given."""

    def __init__(self, **arguments: Any) -> None:
        self.shards: list[int] = []
        self.hired = 0
        self.before: Callable[[int], None] = lambda shard: None
        self.arguments = arguments

    def __call__(self, start: Start) -> InProcess:
        self.hired += 1
        return InProcess(start, before=self._note, **self.arguments)

    def _note(self, shard: int) -> None:
        self.shards.append(shard)
        self.before(shard)


def spread(bundle: Bundle, scans: Path, out: Path, hire: Recorder | None = None, **more: Any) -> SpreadSummary:
    options = {name: more.pop(name) for name in list(more) if name in ClassifyOptions.__dataclass_fields__}
    stop = more.pop("stop", None)
    asked = Spread(
        bundle=bundle,
        scans=[scans],
        out=out,
        options=ClassifyOptions(**{"salt": SALT, "workers": 1, **options}),
        shard_slices=more.pop("shard_slices", 6),
        **more,
    )
    return spread_run(asked, hire or Recorder(), stop=stop)


def plain(bundle: Bundle, scans: Path, out: Path, **options: Any) -> Path:
    """As `classify` would do it."""
    given = ClassifyOptions(**{"salt": SALT, **options})
    finish = reporter(bundle, given)
    run_folder(bundle, [scans], out, options=given, hooks=RunHooks(keep=Peaks, finish=finish))
    return out


def results(out: Path) -> dict[str, bytes]:
    """What a user gets, but for when it was."""
    return {"page": page(out), **{name: (out / name).read_bytes() for name in ("slices.csv", "studies.csv")}}


@pytest.mark.parametrize("shard_slices", [2, None])
def test_out_is_the_same_as_one_machines(bundle: Bundle, scans: Path, tmp_path: Path, shard_slices: int | None) -> None:
    summary = spread(bundle, scans, tmp_path / "out", Recorder(workers=3), shard_slices=shard_slices)
    assert results(tmp_path / "out") == results(plain(bundle, scans, tmp_path / "plain"))
    assert summary.slices == PATIENTS * SLICES
    assert summary.merged.run.failed == 1
    assert (summary.failed, summary.left, summary.merged.missing) == ({}, (), ())


def test_neighbouring_slices_stay_together(
    scans: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    three = make_tiny_bundle(tmp_path_factory.mktemp("three") / "tiny", size=SIZE, crop=56, channels=3)
    spread(three, scans, tmp_path / "out", shard_slices=2, report=False)
    plain(three, scans, tmp_path / "plain")
    for name in ("slices.csv", "studies.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


def test_the_salt_is_outs_own_as_in_an_ordinary_run(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    spread(bundle, scans, out, salt=None)
    assert (out / ".lits-deploy.salt").stat().st_mode & 0o777 == 0o600
    assert (out / FOLDER).stat().st_mode & 0o777 == 0o700
    assert (out / ".lits-deploy.salt").read_text().strip() not in (out / FOLDER / "job.json").read_text()
    before = results(out)
    run_folder(bundle, [scans], out)
    assert (out / "slices.csv").read_bytes() == before["slices.csv"]


def test_the_same_command_again_does_nothing(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    hire = Recorder()
    spread(bundle, scans, tmp_path / "out", hire)
    before = results(tmp_path / "out")
    summary = spread(bundle, scans, tmp_path / "out", hire)
    assert hire.hired == 1
    assert (summary.slices, summary.merged.merged) == (0, 0)
    assert results(tmp_path / "out") == before


def test_the_next_night_does_what_has_changed(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    hire = Recorder()
    spread(bundle, scans, tmp_path / "out", hire)
    first = len(hire.shards)
    save(scans / "p2" / "00.png", grey_pixels(SIZE, 9999))
    save(scans / "new" / "00.png", grey_pixels(SIZE, 7777))
    (scans / "p3" / "01.png").unlink()
    summary = spread(bundle, scans, tmp_path / "out", hire)
    assert 0 < len(hire.shards) - first < first
    assert summary.merged.run.removed == 1
    assert results(tmp_path / "out") == results(plain(bundle, scans, tmp_path / "plain"))


def test_an_ordinary_run_goes_on_with_it(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    spread(bundle, scans, tmp_path / "out")
    before = results(tmp_path / "out")
    summary = run_folder(bundle, [scans], tmp_path / "out", options=ClassifyOptions(salt=SALT))
    assert (summary.now, summary.missing, summary.resumed) == (0, 0, True)
    assert (tmp_path / "out" / "slices.csv").read_bytes() == before["slices.csv"]


def test_it_goes_on_with_an_ordinary_run(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    expected = results(plain(bundle, scans, tmp_path / "out"))
    spread(bundle, scans, tmp_path / "out")
    assert results(tmp_path / "out") == expected


def test_what_was_stopped_goes_on(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    stop, hire = Stop(), Recorder()
    hire.arguments["stop"] = stop
    hire.before = lambda shard: stop.request() if len(hire.shards) == 2 else None
    summary = spread(bundle, scans, tmp_path / "out", hire, stop=stop)
    assert len(summary.left) == len(summary.merged.missing) > 0
    assert 0 < len(rows(tmp_path / "out")) < PATIENTS * SLICES
    again = Recorder()
    spread(bundle, scans, tmp_path / "out", again)
    assert sorted(again.shards) == sorted(summary.left)
    assert results(tmp_path / "out") == results(plain(bundle, scans, tmp_path / "plain"))


def test_stopped_before_any_shard_leaves_a_plan(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    stop, hire = Stop(), Recorder()
    hire.arguments["stop"] = stop
    hire.before = lambda shard: stop.request()
    with pytest.raises(KeyboardInterrupt):
        spread(bundle, scans, tmp_path / "out", hire, stop=stop)
    assert JobFolder(str(tmp_path / "out" / FOLDER)).exists()


def test_a_killed_worker_costs_nothing(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    hire = Recorder(workers=2)

    def die_once(shard: int) -> None:
        if len(hire.shards) == 2:
            raise ChildProcessError("signal 9")

    hire.before = die_once
    summary = spread(bundle, scans, tmp_path / "out", hire)
    assert [note for note in summary.notes if "signal 9" in note]
    assert len(hire.shards) == len(set(hire.shards)) + 1
    assert results(tmp_path / "out") == results(plain(bundle, scans, tmp_path / "plain"))


def test_a_shard_that_kills_every_worker_is_said_and_the_rest_is_there(
    bundle: Bundle, scans: Path, tmp_path: Path
) -> None:
    def die(shard: int) -> None:
        if shard == 1:
            raise ChildProcessError("signal 11")

    hire = Recorder()
    hire.before = die
    summary = spread(bundle, scans, tmp_path / "out", hire)
    assert summary.failed == {1: "signal 11"}
    assert summary.merged.missing == (1,)
    again = spread(bundle, scans, tmp_path / "out")
    assert again.merged.missing == ()
    assert results(tmp_path / "out") == results(plain(bundle, scans, tmp_path / "plain"))


def test_files_that_change_under_way_are_planned_again(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    hire = Recorder()

    def change(shard: int) -> None:
        if len(hire.shards) == 1:
            for patient in range(PATIENTS):
                save(scans / f"p{patient}" / "00.png", grey_pixels(SIZE, 5000 + patient))

    hire.before = change
    summary = spread(bundle, scans, tmp_path / "out", hire)
    assert (summary.failed, summary.left) == ({}, ())
    assert results(tmp_path / "out") == results(plain(bundle, scans, tmp_path / "plain"))


def test_scans_that_seem_to_be_gone_stop_it(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    spread(bundle, scans, tmp_path / "out")
    before, plan = results(tmp_path / "out"), (tmp_path / "out" / FOLDER / "job.json").read_bytes()
    shutil.move(scans / "p1", tmp_path / "elsewhere")
    (scans / "p1").mkdir()
    with pytest.raises(OutputError, match="seem to be gone"):
        spread(bundle, scans, tmp_path / "out")
    assert (tmp_path / "out" / FOLDER / "job.json").read_bytes() == plan
    summary = spread(bundle, scans, tmp_path / "out", allow_removed=True)
    assert summary.merged.run.removed == SLICES
    assert results(tmp_path / "out") != before


def test_failed_files_are_tried_again_when_asked(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    hire = Recorder()
    spread(bundle, scans, tmp_path / "out", hire)
    first = len(hire.shards)
    spread(bundle, scans, tmp_path / "out", hire, retry_failed=True)
    assert len(hire.shards) == first + 1
    assert results(tmp_path / "out") == results(plain(bundle, scans, tmp_path / "plain"))


def test_another_run_in_out_is_reported_before_any_work(
    bundle: Bundle, scans: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = make_tiny_bundle(tmp_path_factory.mktemp("other") / "tiny", size=SIZE, crop=48)
    plain(other, scans, tmp_path / "out")
    hire = Recorder()
    with pytest.raises(OutputError, match=r"out holds another run \(bundle .* Fix: --out elsewhere, or --overwrite"):
        spread(bundle, scans, tmp_path / "out", hire)
    assert hire.shards == []
    spread(bundle, scans, tmp_path / "out", overwrite=True)
    assert results(tmp_path / "out") == results(plain(bundle, scans, tmp_path / "plain"))


def test_what_was_answered_on_other_hardware_is_reported_before_any_work(
    bundle: Bundle, scans: Path, tmp_path: Path
) -> None:
    stop, first = Stop(), Recorder()
    first.arguments["stop"] = stop
    first.before = lambda shard: stop.request() if len(first.shards) == 2 else None
    spread(bundle, scans, tmp_path / "out", first, stop=stop)
    other = Recorder(hardware={"processor": "riscv64"})
    with pytest.raises(OutputError, match=r"What is done in .*out was answered on another class of processor\. Fix: a"):
        spread(bundle, scans, tmp_path / "out", other)
    assert other.shards == []


def test_another_plan_in_out_names_out_and_the_way_out(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    spread(bundle, scans, tmp_path / "out")
    with pytest.raises(OutputError) as refused:
        spread(bundle, scans, tmp_path / "out", abstain=False)
    assert str(refused.value).endswith("Fix: --out elsewhere, or --overwrite")
    assert FOLDER not in str(refused.value)
    spread(bundle, scans, tmp_path / "out", abstain=False, overwrite=True)


def test_where_there_are_no_scans_nothing_is_left_behind(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="No scans"):
        spread(bundle, tmp_path / "empty", tmp_path / "deep" / "out", salt=None)
    assert not (tmp_path / "deep").exists()


def test_two_at_once_do_not_mix(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    hire = Recorder()

    def another(shard: int) -> None:
        with pytest.raises(OutputError, match="Another lits-deploy is writing"):
            spread(bundle, scans, tmp_path / "out")

    hire.before = another
    spread(bundle, scans, tmp_path / "out", hire)
    assert (tmp_path / "out" / BUSY).exists()


def test_a_ledger_elsewhere_takes_the_shards_along(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    spread(bundle, scans, tmp_path / "out", ledger=tmp_path / "local", salt=None)
    assert (tmp_path / "local" / FOLDER / "job.json").exists()
    assert not (tmp_path / "out" / FOLDER).exists()
    spread(bundle, scans, tmp_path / "out", ledger=tmp_path / "local", salt=None)


def test_tuning_is_for_one_device(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="measures one device"):
        spread(bundle, scans, tmp_path / "out", tune=True)


def test_paths_that_workers_are_given_do_not_depend_on_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "local").mkdir()
    options = with_salt_there(ClassifyOptions(engine_cache=Path("engines"), ledger=Path("local")), Path("local"))
    assert (options.engine_cache, options.ledger) == (tmp_path / "engines", tmp_path / "local")
    assert options.salt_file == tmp_path / "local" / ".lits-deploy.salt"
    assert with_salt_there(ClassifyOptions(salt="one"), tmp_path).salt_file is None


@pytest.mark.parametrize(("slices", "expected"), [(0, 1000), (10_000, 1000), (100_000, 3125), (10**8, 20_000)])
def test_how_large_shards_are(slices: int, expected: int) -> None:
    assert suitable_slices(slices) == expected
