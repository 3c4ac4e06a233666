"""A run spread over several workers in one command: planned, handed out shard by shard, and merged into OUT.

The plan and the shards that are done lie in a job folder of OUT's own (`own_folder`). The same command goes on after
whatever ended it, and the next night does what has changed, as `run.run_folder` does: plan and shards stay. Who the
workers are (`crew`) is the caller's choice, and changes no result.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lits_deploy import exits
from lits_deploy.bundle import Bundle
from lits_deploy.contract import Task
from lits_deploy.errors import MachineError, OutputError, UserError
from lits_deploy.events.emit import phase
from lits_deploy.ledger import FILE_NAME
from lits_deploy.ledger.absorb import LedgerDamage, notes_of
from lits_deploy.pipeline.context import RunHooks
from lits_deploy.pipeline.network import check_task
from lits_deploy.pipeline.options import ClassifyOptions, Progress
from lits_deploy.pipeline.stop import Stop
from lits_deploy.segmentation.run import check_masks
from lits_deploy.sharding.crew import Crew, Joined
from lits_deploy.sharding.job_folder import JobFolder
from lits_deploy.sharding.merge import MergeOptions, MergeSummary, merge
from lits_deploy.sharding.messages import Start
from lits_deploy.sharding.output_folder import FOLDER, held, with_salt_there
from lits_deploy.sharding.plan import PlanSummary, plan_scans
from lits_deploy.sharding.plan_record import SHARD_SLICES, PlanRequest
from lits_deploy.sharding.published import IDENTITY, differs, hardware_there, has_failed
from lits_deploy.sharding.scheduler import Outcome, work_off
from lits_deploy.storage import PathOrUrl
from lits_deploy.storage.s3 import named_endpoint

SHARDS, LEAST_SLICES = 32, 1000
"""Shards that a run is cut into, unless they would have fewer slices than that: one costs about half a second beside
its slices, and the last ones to be done keep some workers waiting."""

Hire = Callable[[Start], AbstractContextManager[Crew]]
"""Makes the crew that works on what a Start says."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """What is to be done. scans: folders and files of this machine.

    task, options, masks, report, segmenter: as in an ordinary run; segmenter: the path of a bundle. shard_slices: most
    slices in a shard, None for what suits their number.
    """

    bundle: Bundle
    scans: Sequence[PathOrUrl]
    out: Path
    task: Task = "classify"
    options: ClassifyOptions = field(default_factory=ClassifyOptions)
    report: bool = True
    segmenter: Path | None = None
    masks: Sequence[str] = ("png",)
    shard_slices: int | None = None


@dataclass(frozen=True, kw_only=True)
class SpreadSummary(Outcome):
    """How it ended. merged: OUT as it is now; notes: what the user should know, of plan and merge, too."""

    merged: MergeSummary
    plan: PlanSummary


def spread_run(
    spread: Spread,
    hire: Hire,
    *,
    on_plan: Callable[[str, int], None] = lambda what, files: None,
    on_progress: Callable[[Progress], None] | None = None,
    on_merge: Callable[[Progress], None] | None = None,
    stop: Stop | None = None,
) -> SpreadSummary:
    """Do it all. hire: makes the crew. on_plan: as in `plan.plan_scans`; on_progress: of all workers together.

    When asked to stop, workers finish what they are at, and what is done is merged. Raises UserError for everything the
    user can mend, KeyboardInterrupt if asked to stop before any shard was done.
    """
    out, stop = spread.out, stop or Stop()
    if spread.options.tune:
        raise UserError("--tune measures one device.", fix="run it once without --devices and --on")
    check_task(spread.bundle, spread.task)
    if spread.task == "segment":
        check_masks(spread.masks, spread.options, out)
    if spread.bundle.folder.resolve() in (out.resolve(), *out.resolve().parents):
        raise OutputError(f"{out} lies in the bundle, which is never written to.", fix="--out elsewhere")
    folder = spread.options.ledger or out
    with held(folder, out, overwrite=spread.options.overwrite):
        options = with_salt_there(spread.options, folder)
        job = JobFolder(str((folder / FOLDER).absolute()))
        work = _SpreadWork(replace(spread, options=options), hire, job, stop)
        return work.run(on_plan, on_progress, on_merge)


class _SpreadWork:
    def __init__(self, spread: Spread, hire: Hire, job: JobFolder, stop: Stop) -> None:
        self._spread, self._hire, self._job, self._stop = spread, hire, job, stop
        self._hardware: Mapping[str, str | None] | None = None  # of those who work

    def run(
        self,
        on_plan: Callable[[str, int], None],
        on_progress: Callable[[Progress], None] | None,
        on_merge: Callable[[Progress], None] | None,
    ) -> SpreadSummary:
        plan = self._plan(on_plan)
        if self._spread.options.retry_failed:
            self._withdraw_failed()
        phase("workers")
        outcomes = [self._work(on_progress)]
        if outcomes[0].failed and not self._stop.requested:  # files may have changed since they were listed
            again = self._plan(on_plan)
            if again.new or again.superseded:
                phase("workers")
                outcomes.append(self._work(on_progress))
        last = outcomes[-1]
        if not self._job.published(self._job.read()):
            raise self._nothing_done(last)
        notes = dict.fromkeys((*plan.warnings, *(note for one in outcomes for note in one.notes)))
        # A second signal ends the program at once; the first one has been obeyed.
        merged = merge(
            self._job,
            self._spread.out,
            options=self._spread.options,
            bundle=self._spread.bundle,
            asked=MergeOptions(
                report=self._spread.report,
                masks=self._spread.masks,
                incomplete=self._stop.exit_code if self._stop.requested else exits.USER_ERROR,
            ),
            hooks=RunHooks(on_progress=on_merge),
            say=lambda line: notes.update({line: None}),
        )
        whole: dict[str, Any] = {name: sum(getattr(one, name) for one in outcomes) for name in ("slices", "seconds")}
        whole |= {"workers": max(one.workers for one in outcomes), "notes": tuple(notes)}
        return SpreadSummary(**{**vars(last), **whole}, merged=merged, plan=plan)

    def _plan(self, on_plan: Callable[[str, int], None]) -> PlanSummary:
        spread, options = self._spread, self._spread.options
        asked = PlanRequest(
            bundle=spread.bundle,
            listing=options.listing(spread.scans, spread.out),
            roots=spread.scans,
            options=options,
            shard_slices=spread.shard_slices or suitable_slices,
        )
        try:
            return plan_scans(asked, self._job, on_progress=on_plan, stop=self._stop)
        except OutputError as error:  # of the folder that the user has not named
            message = error.message.replace(self._job.location, str(spread.out))
            raise OutputError(
                message, fix=error.fix and error.fix.replace("as it was planned", "--overwrite")
            ) from error

    def _work(self, on_progress: Callable[[Progress], None] | None) -> Outcome:
        spread, record = self._spread, self._job.read()
        missing = self._job.missing(record)
        files = sum(entry.files for entry in record.live)
        before = files - sum(entry.files for entry in missing)
        if not missing or self._stop.requested:
            left = tuple(entry.number for entry in missing)
            return Outcome(done=(), failed={}, left=left, slices=0, seconds=0.0, workers=0, notes=())
        start = Start(
            bundle=str(spread.bundle.folder.absolute()),
            job=self._job.location,
            endpoint=named_endpoint(),
            options=spread.options,
            pictures=spread.report,
            segmenter=None if spread.segmenter is None else str(spread.segmenter.absolute()),
        )
        with self._hire(start) as crew:
            return work_off(
                crew,
                missing,
                files=files,
                before=before,
                stop=self._stop,
                on_progress=on_progress,
                on_joined=self._may_work,
            )

    def _may_work(self, joined: Joined) -> str | None:
        """Why a worker's answers would not belong to the others'; None where they do.

        Raises OutputError where OUT, or what is done already, holds other ones: before hours of work that could not be
        merged into it.
        """
        info, hardware = joined.info, joined.info["hardware"]
        self._check_out(info)
        if self._hardware is None:
            done = next(iter(self._job.published(self._job.read())), None)
            there = None if done is None else hardware_there(self._job, done)
            if there is not None and there != hardware:
                raise OutputError(
                    f"What is done in {self._spread.out} was answered on another {differs(there, hardware)}.",
                    fix="a machine like it, --out elsewhere, or --overwrite",
                )
            self._hardware = hardware
        if self._hardware != hardware:
            return f"{joined.worker} does no shards: its {differs(self._hardware, hardware)} differs from the others'"
        return None

    def _check_out(self, info: Mapping[str, Any]) -> None:
        spread = self._spread
        ledger = (spread.options.ledger or spread.out) / FILE_NAME
        if spread.options.overwrite or not ledger.exists():
            return
        try:
            there: dict[str, Any] = json.loads(notes_of(ledger, [IDENTITY])[IDENTITY])
        except (LedgerDamage, KeyError, ValueError):
            return  # the merge says more
        here = {"runtime": info["name"], "precision": info["precision"]}
        here |= {"device": str(info["device"]).partition(":")[0], "bundle": spread.bundle.sha256}
        if differing := [key for key in sorted(here) if there.get(key) != here[key]]:
            what = "; ".join(f"{key} {str(there.get(key))[:12]} there, {here[key][:12]} now" for key in differing)
            raise OutputError(f"{spread.out} holds another run ({what}).", fix="--out elsewhere, or --overwrite")

    def _withdraw_failed(self) -> None:
        """Have shards with failed files done again, from the start."""
        for entry in self._job.published(self._job.read()):
            path = self._job.here(entry)
            if path is not None and has_failed(path):
                path.unlink()

    def _nothing_done(self, outcome: Outcome) -> BaseException:
        if self._stop.requested:
            return KeyboardInterrupt()
        if outcome.failed:
            return UserError(next(iter(outcome.failed.values())))
        why = f" ({outcome.notes[-1]})" if outcome.notes else ""
        return MachineError(f"No worker could work{why}.", fix="run the command again, or without --devices and --on")


def suitable_slices(slices: int) -> int:
    """Most slices in a shard, for so many in all: it does not depend on how many will work on them."""
    return min(SHARD_SLICES, max(LEAST_SLICES, slices // SHARDS))
