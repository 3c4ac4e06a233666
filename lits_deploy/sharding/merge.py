"""Shards that are done → the output folder that one machine would have written.

A merge is a run: its listing is the plan, its ledger takes the files on as any run's does, and then their answers come
out of the shards' ledgers in place of a network. Tables, page, masks and run.json follow as in any run. So the same
folder can be merged into again, or gone on with by an ordinary run, and nothing is done twice.
"""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path
from time import monotonic

from lits_deploy import exits
from lits_deploy.bundle import Bundle
from lits_deploy.errors import UserError
from lits_deploy.events.emit import phase
from lits_deploy.ledger import RAN
from lits_deploy.ledger.absorb import LedgerDamage, Taken
from lits_deploy.pipeline.about import ran_elsewhere
from lits_deploy.pipeline.conclude import conclude
from lits_deploy.pipeline.context import RunHooks
from lits_deploy.pipeline.identity import note_run, provenance_of
from lits_deploy.pipeline.ignored import Ignored
from lits_deploy.pipeline.intake import discover, take_on
from lits_deploy.pipeline.network import decider_of
from lits_deploy.pipeline.options import ClassifyOptions, Progress, RunSummary
from lits_deploy.pipeline.record import RunEffort, StartTimes
from lits_deploy.segmentation.run import MaskBook, SegmentSummary, check_masks
from lits_deploy.sharding.job_folder import JobFolder
from lits_deploy.sharding.merge_run import MergeRun, merge_json, opened, warnings_of
from lits_deploy.sharding.merged_pictures import page_of_shards
from lits_deploy.sharding.plan_listing import PlannedListing
from lits_deploy.sharding.published import PublishedShard, agree, damaged, manifest_of, read_all
from lits_deploy.sharding.shard import check_bundle, settled


@dataclass(frozen=True, kw_only=True)
class MergeSummary:
    """How a merge ended. run: the whole of the output folder; segmented: its masks, of a job that segments.

    shards: that count; merged: whose answers were taken now; missing: that are not done yet, and `failures`: why, as
    far as somebody tried. odd: shards that were answered otherwise than most (`--allow-mixed`), and in what.
    """

    run: RunSummary
    segmented: SegmentSummary | None
    shards: int
    merged: int
    missing: tuple[int, ...]
    failures: Mapping[int, str]
    odd: Mapping[int, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class MergeOptions:
    """What a merge is asked for beside the options of any run.

    allow_mixed: take shards that were answered on different hardware or runtimes, and mark the results. report: write
    report.html; masks: formats, of a job that segments; both as in an ordinary run. incomplete: the exit code that
    run.json has where shards are missing.
    """

    allow_mixed: bool = False
    report: bool = True
    masks: Sequence[str] = ("png",)
    incomplete: int = exits.of_signal(signal.SIGINT)


def merge(
    job: JobFolder,
    out: Path,
    *,
    options: ClassifyOptions | None = None,
    bundle: Bundle | None = None,
    asked: MergeOptions | None = None,
    hooks: RunHooks | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> MergeSummary:
    """Write the tables, page and masks of a job's shards that are done, and run.json, to `out`.

    options: with the salt; what the job fixes comes from there. bundle: the job's, to draw pictures that no shard has.
    hooks: less what follows the run, which is a merge's own.
    Where shards are missing, the tables hold what is there, and the same call goes on once they are done.
    Raises UserError for everything the user can mend: no shard done, a wrong salt, another bundle, shards that do not
    belong together or are damaged, an output folder of another run.
    """
    session = StartTimes(started=datetime.now(timezone.utc), begun=monotonic())
    asked, hooks = asked or MergeOptions(), hooks or RunHooks()
    record = job.read()
    options = settled(record, options or ClassifyOptions())
    if bundle is not None:
        check_bundle(record, bundle, job.location)
    done = job.published(record)
    if not done:
        raise UserError(
            f"No shard of {job.location} is done yet.",
            fix=f"lits-deploy {record.task} BUNDLE --job {job.location} --shard 0 …",
        )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lits-deploy-")))  # mode 0700
        shards = read_all(job, record, done, folder, hooks.stop)
        agreement = agree(list(shards.values()), job.location, allow_mixed=asked.allow_mixed)
        known = bundle or manifest_of(agreement.first, record, job.location)
        book = None
        if record.task == "segment":
            check_masks(asked.masks, options, out)
            book = MaskBook(known, out, asked.masks, hooks.stop)
            hooks = replace(hooks, finish=book.write)
        elif asked.report:
            hooks = replace(hooks, finish=page_of_shards(job, shards, folder, bundle=bundle, say=say))
        listing = PlannedListing(
            record=record,
            rows=lambda: chain.from_iterable(job.rows(entry) for entry in record.live),
            whole=True,
            hidden=options.pseudonymous,
        )
        run = opened(stack, listing, known, agreement, out, options, hooks)

        # The plan's files, as any run takes them on; which shards have answers for it.
        phase("discover")
        discover(run)
        session.discovered = monotonic()
        intake = take_on(run, agreement.identity, read=False)  # shards were answered after a ctime moved
        ignored = Ignored.of(run.ledger, options)
        provenance = provenance_of(run, agreement.mixed)
        wanted = _wanted(run, shards)
        decider = decider_of(record.task, run.artifact, options)
        before = run.ledger.noted(RAN)
        now = ran_elsewhere(before, [one.ran for one in (wanted if before else shards.values())], record.names, options)
        note_run(run, provenance, now, abstain_below=decider.to_json().get("abstain_below"))
        run.output.keep = True

        # Their answers, in place of a network's.
        session.begun_files = monotonic()
        phase("shards", to_do=len(wanted))
        merged = _absorbed(run, job, wanted)
        session.ended_files = monotonic()

        # Results.
        missing = [entry for entry in record.live if entry.number not in shards]
        failures = job.failures(missing)
        document = merge_json(record, shards, wanted, [entry.number for entry in missing], agreement)
        summary = conclude(
            run,
            intake,
            ignored,
            session,
            provenance=provenance,
            effort=lambda: RunEffort(
                slices=merged.slices,
                seconds=session.ended_files - session.begun_files,
                warnings=list(warnings_of(agreement)),
                more={"merged": document},
            ),
            incomplete=asked.incomplete if missing else None,
        )
    return MergeSummary(
        run=summary,
        segmented=None if book is None else book.summary(summary),
        shards=len(shards) + len(missing),
        merged=len(wanted),
        missing=tuple(entry.number for entry in missing),
        failures=failures,
        odd=agreement.odd,
    )


def _wanted(run: MergeRun, shards: Mapping[int, PublishedShard]) -> list[PublishedShard]:
    """The shards that have answers for files to do; all where answers depend on other files, which may have changed."""
    wanted = {*shards} if run.contract.channels > 1 else run.ledger.absorb.to_do().keys()
    return [one for number, one in shards.items() if number in wanted]


def _absorbed(run: MergeRun, job: JobFolder, shards: Sequence[PublishedShard]) -> Taken:
    """Take their answers, one shard in one transaction; ends early, in good order, when asked to stop."""
    begun, before = monotonic(), run.ledger.counts()
    files = failed = slices = 0
    for one in shards:
        if run.stop.requested:
            break
        try:
            taken = run.ledger.absorb.take(one.path, neighbours=run.contract.channels > 1)
        except LedgerDamage as error:
            raise damaged(job, one.entry, str(error)) from error
        if job.here(one.entry) is None:  # a copy that was fetched
            one.path.unlink(missing_ok=True)
        files, failed, slices = files + taken.files, failed + taken.failed, slices + taken.slices
        if run.hooks.on_progress is not None:
            done = before.ok + before.failed + files
            seconds = monotonic() - begun
            run.hooks.on_progress(
                Progress(files=before.all, done=done, failed=before.failed + failed, slices=slices, seconds=seconds)
            )
    return Taken(files, failed, slices)
