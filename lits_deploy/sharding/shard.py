"""One shard: the ordinary pipeline over its files, into a ledger of its own, which is then published into JOB.

It makes neither tables nor a page, only the pictures that a page may want: a merge draws it. Published is done. Twice,
twice at once, or once more after death is harmless: the ledger is published in one step, and two of them hold the same
answers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from lits_deploy.backends import resolve
from lits_deploy.bundle import MANIFEST as MANIFEST_FILE
from lits_deploy.bundle import Bundle
from lits_deploy.errors import BundleError, LitsError, OutputError, UserError
from lits_deploy.files import canonical_json, sha256_bytes
from lits_deploy.ledger import Ledger
from lits_deploy.machine import processor_class
from lits_deploy.pipeline.context import RunContext, RunHooks
from lits_deploy.pipeline.network import suitable
from lits_deploy.pipeline.options import ClassifyOptions, RunSummary
from lits_deploy.pipeline.run import run_folder
from lits_deploy.report.after import reporter
from lits_deploy.report.peaks import Peaks
from lits_deploy.runtime import Runtime, RuntimeInfo
from lits_deploy.sharding.job_folder import JobFolder, JobRecord, PlannedRow, ShardEntry
from lits_deploy.sharding.job_options import check_salt, names_of, options_of, with_salt
from lits_deploy.sharding.plan_listing import PlannedListing, changed
from lits_deploy.sharding.scratch import scratch
from lits_deploy.sharding.shard_record import MANIFEST, SHARD, ShardRecord, hardware_of, now

INDEX_VARIABLES = ("SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX")
"""Where Slurm and Kubernetes say which task of an array this is."""

_COPY = "published.sqlite"


@dataclass(frozen=True, kw_only=True)
class ShardSummary:
    """How a shard ended. state: `published` now; `done` before; `superseded`: others are done in its place; `stopped`:
    the same call goes on. run: of what was answered, or None."""

    number: int
    state: Literal["published", "done", "superseded", "stopped"]
    run: RunSummary | None = None


@dataclass(frozen=True, kw_only=True)
class ShardWork:
    """What a shard is done with. options: those of who does it (`job_options.options_of` has the job's come first).

    runtime: an open one to use, and leave open. pictures: make those of suspicious slices; segmenter: outlines by this
    U-Net in them. scratch_root: local folder to work in. hooks: less what follows the run, which is a shard's own. say:
    gets what a user should know.
    """

    bundle: Bundle
    options: ClassifyOptions
    runtime: Runtime | None = None
    pictures: bool = True
    segmenter: Bundle | None = None
    scratch_root: Path | None = None
    hooks: RunHooks = field(default_factory=RunHooks)
    say: Callable[[str], None] = lambda _: None


def run_shard(job: JobFolder, number: int, work: ShardWork) -> ShardSummary:
    """Answer a shard and publish it, unless that has been done.

    Raises UserError, in one line, for a shard that is not, another bundle, a wrong salt, files that have changed since
    they were planned, and a disk without room; the job then knows that it failed (`JobFolder.failures`).
    """
    record = job.read()
    entry = record.shard(number)
    check_bundle(record, work.bundle, job.location)
    if entry.superseded:
        return ShardSummary(number=number, state="superseded")
    if job.is_published(entry):
        return ShardSummary(number=number, state="done")
    try:
        return answer(record, entry, lambda: job.rows(entry), lambda ledger: job.publish(entry, ledger), work)
    except LitsError as error:
        with suppress(OSError, LitsError):
            job.note_failure(entry, str(error))
        raise


def shard_number(text: str, environment: Mapping[str, str] = os.environ) -> int:
    """The number of a shard as users give it; `auto`: of the task in an array of Slurm, or of Kubernetes.

    Raises UserError.
    """
    if text != "auto":
        found, fix = text, "--shard 0, 1 …, or auto"
    else:
        given = [environment[name] for name in INDEX_VARIABLES if environment.get(name)]
        fix = f"--shard K, or start it in an array, which sets {' or '.join(INDEX_VARIABLES)}"
        found = given[0] if given else ""
    if not found.isascii() or not found.isdigit():
        nowhere = text == "auto" and not found
        raise UserError("No array says which shard it is." if nowhere else f"`{found}` is not a shard number.", fix=fix)
    return int(found)


def answer(
    record: JobRecord,
    entry: ShardEntry,
    rows: Callable[[], Iterable[PlannedRow]],
    publish: Callable[[Path], None],
    work: ShardWork,
) -> ShardSummary:
    """Answer the rows of a shard, and have its ledger, a file on this machine, published. Raises as `run_shard`."""
    options = settled(record, work.options)
    listing = PlannedListing(record=record, rows=rows, whole=False, hidden=options.pseudonymous)
    differing, count = changed(listing)
    if differing:
        raise UserError(
            f"{differing:,} of {count:,} files of shard {entry.number} have changed or gone since they were planned.",
            fix="lits-deploy plan again: it keeps what is done",
        )
    with scratch(_scratch_name(record, entry, options, work), work.scratch_root) as here:
        out, ledger = here.folder / "out", here.folder / "ledger"
        finish = _Finish(record, entry, work, options)
        run = run_folder(
            work.bundle,
            listing,
            out,
            task=record.task,
            options=replace(options, formats=(), ledger=ledger, overwrite=False, ignore=(), ignore_none=False),
            runtime=work.runtime,
            hooks=replace(work.hooks, keep=Peaks if finish.draws else None, finish=finish),
        )
        if run.missing or work.hooks.stop.requested:
            return ShardSummary(number=entry.number, state="stopped", run=run)
        _publish(ledger, finish.record_of(run), here.folder / _COPY, publish)
        here.done = True
    return ShardSummary(number=entry.number, state="published", run=run)


def settled(record: JobRecord, own: ClassifyOptions) -> ClassifyOptions:
    """The options of a shard or merge, salt included. Raises UserError for a wrong salt."""
    options = with_salt(options_of(record, own))
    check_salt(record, names_of(options))
    return options


def check_bundle(record: JobRecord, bundle: Bundle, where: str) -> None:
    """Raise BundleError where a job is of another bundle."""
    if bundle.sha256 != record.bundle:
        raise BundleError(
            f"{where} was planned for another bundle ({record.bundle[:12]} there, {bundle.sha256[:12]} here).",
            fix="name that bundle, or plan anew with --out elsewhere",
        )


class _Finish:
    """What follows the answers of a shard: pictures, and the ledger's notes of who answered."""

    def __init__(self, record: JobRecord, entry: ShardEntry, work: ShardWork, options: ClassifyOptions) -> None:
        self._record, self._entry, self._bundle = record, entry, work.bundle
        self.draws = work.pictures and record.task == "classify"
        self._draw = reporter(work.bundle, options, segmenter=work.segmenter, say=work.say, page=False)
        self._info: RuntimeInfo | None = None

    def __call__(self, run: RunContext) -> Sequence[Path]:
        self._info = run.info
        run.ledger.note(MANIFEST, b"".join(self._bundle.blocks(MANIFEST_FILE)).decode())
        return self._draw(run) if self.draws else ()

    def record_of(self, run: RunSummary) -> ShardRecord:
        """What the ledger says of who answered."""
        assert self._info is not None
        return ShardRecord(
            job=self._record.id,
            number=self._entry.number,
            digest=self._entry.digest,
            info=self._info,
            hardware=hardware_of(self._info),
            finished=now(),
            slices=run.now,
            seconds=run.seconds,
        )


def _publish(folder: Path, record: ShardRecord, copy: Path, publish: Callable[[Path], None]) -> None:
    """Raises OutputError where there is no room for it, here or there: the same command publishes what is done."""
    copy.unlink(missing_ok=True)
    with Ledger(folder) as ledger:
        ledger.note(SHARD, record.to_text())
        ledger.copy_to(copy)
    try:
        publish(copy)
    except OSError as error:
        raise OutputError(
            f"Shard {record.number} is done but cannot be published ({error.strerror or error}).",
            fix="make room or get rights there; the same command then publishes it, with nothing done again",
        ) from error


def _scratch_name(record: JobRecord, entry: ShardEntry, options: ClassifyOptions, work: ShardWork) -> str:
    """Of the same shard, answered in the same way: another runtime or device would not go on with what is there."""
    if work.runtime is None:
        _, wanted = suitable(work.bundle, record.task, options)
        name, device = resolve(wanted.runtime, wanted.device)
        where = [name, device.kind]
    else:
        info = work.runtime.describe()
        where = [info.name, info.device.partition(":")[0], info.profile or ""]
    key = sha256_bytes(canonical_json([entry.digest, *where, processor_class()]).encode())
    return f"{record.id}-{entry.number:05d}-{key[:12]}"
