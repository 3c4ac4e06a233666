"""`run_folder`: scans in, ledger and result tables out; the library's entry, which prints nothing.

Discovery, the start of the workers and the loading of the network happen side by side. A run's identity is bundle,
artifact, contract, runtime, kind of device, an engine's profile, whether it abstains and what it names: the same output
folder with the same identity goes on where it was, with another it is refused. A classifier's answers are classes
(`judge`), a U-Net's are masks (`segmentation`); everything else is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt

from lits_deploy.backends import choose, open_runtime
from lits_deploy.bundle import Artifact, Bundle
from lits_deploy.contract import InputContract, Task
from lits_deploy.errors import BundleError, ContractError, OutputError
from lits_deploy.files import canonical_json
from lits_deploy.ledger import ABOUT, RAN, RUN, Counts
from lits_deploy.pipeline import tuned, tuning
from lits_deploy.pipeline.about import about, ran
from lits_deploy.pipeline.ignored import Ignored
from lits_deploy.pipeline.inference import InferenceThreads
from lits_deploy.pipeline.intake import Intake, discover, take_on
from lits_deploy.pipeline.judge import Judge, MaskJudge
from lits_deploy.pipeline.kept import Kept
from lits_deploy.pipeline.loop import Loop
from lits_deploy.pipeline.naming import Naming, pseudonyms
from lits_deploy.pipeline.options import ClassifyOptions, Progress, RunSummary
from lits_deploy.pipeline.output import RUN_JSON, OutputFolder
from lits_deploy.pipeline.record import Session, versions, write_run_json
from lits_deploy.pipeline.slots import Slots
from lits_deploy.pipeline.stop import Stop
from lits_deploy.pipeline.workers import Tag, start_pool
from lits_deploy.results import write_tables
from lits_deploy.runtime import Runtime, RuntimeInfo
from lits_deploy.scans import READERS, Reading
from lits_deploy.scans.discover import UNFINISHED, Discovery

_OUTPUT: dict[Task, str] = {"classify": "logits", "segment": "labels"}


@dataclass(frozen=True)
class Finished:
    """A run whose slices are all in the ledger, for what follows: the output folder with its open ledger, the loop with
    workers and network, where the scans are, and how they are named."""

    output: OutputFolder
    loop: Loop
    discovery: Discovery
    naming: Naming
    artifact: Artifact
    stop: Stop


def run_folder(
    bundle: Bundle,
    roots: Sequence[Path],
    out: Path,
    *,
    task: Task = "classify",
    options: ClassifyOptions | None = None,
    runtime: Runtime | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    stop: Stop | None = None,
    only: Collection[str] | None = None,
    finish: Callable[[Finished], Sequence[Path]] | None = None,
) -> RunSummary:
    """Classify or segment every scan below `roots`; write the result tables and run.json to `out`.

    runtime: an open one to use, and leave open, in place of the one that `options` names.
    on_progress: called in this thread, at most ten times a second. stop: lets another thread or a signal handler end
    the run in good order (`pipeline.stop`); the same call then goes on.
    only: names of the files and folders directly below the one root that are looked at, less what is still being copied
    there; results of the others stay (`lits_deploy.watch`). None: everything, and what is gone leaves the results.
    A network of several channels is given the slices beside each (`pipeline.neighbours`): DICOM headers are read first.
    finish: called when all is in the ledger and the tables are written, workers and network still there; gives the
    paths of what else it wrote (reports, masks).
    A file that cannot be used is a row with its reason. Raises UserError for everything the user can mend (bundle,
    device, folders), KeyboardInterrupt if asked to stop before the first file.
    """
    session = Session(started=datetime.now(timezone.utc), begun=monotonic())
    options, stop = options or ClassifyOptions(), stop or Stop()
    artifact, options = _suitable(bundle, out, task, options)
    if runtime is None:
        setting, why_not, options = tuned.find(bundle, artifact, options, partial(_open, task=task), stop=stop)
    else:
        setting, why_not = None, None
    skip = [out, *([options.ledger] if options.ledger else [])]
    unfinished = () if only is None else UNFINISHED
    discovery = Discovery(
        roots,
        recursive=options.recursive,
        skip=skip,
        only=only,
        unfinished=unfinished,
        follow_links=options.follow_links,
        hidden=options.pseudonymous,
    )
    workers = options.workers or tuning.default_workers()
    with ExitStack() as stack:
        output = stack.enter_context(
            OutputFolder(
                out, ledger_folder=options.ledger, overwrite=options.overwrite, group_readable=options.group_readable
            )
        )
        loop = Loop(output.ledger, stop, on_progress)
        loop.most_workers = 0 if options.workers else tuning.most_workers()
        loop.kept = Kept() if finish is not None and task == "classify" else None
        stack.callback(loop.close)
        most = max(workers, loop.most_workers)
        memory = _start_workers(stack, loop, bundle.manifest.contract, most, options, discovery)
        _start_network(
            stack, loop, lambda: runtime or _open(bundle, artifact, options, task), _OUTPUT[task], close=runtime is None
        )
        naming = Naming(names=pseudonyms(options, output.ledger_folder))
        discover(discovery, output, naming, loop, stop)
        session.discovered = monotonic()
        opened = loop.wait_for_network()
        info, contract = opened.info, bundle.manifest.contract
        judge = _judge(task, artifact, options)
        identity = _identity(bundle, artifact, info, judge, options.reading)
        intake = take_on(discovery, output, naming, identity, contract, options, stop, on_progress)
        output.ledger.answer_with(versions(info))
        ignored = Ignored.of(output.ledger, options)
        provenance = _provenance(bundle, artifact, info, output.ledger.run_id)
        answers = bool(intake.counts.pending)
        notes: dict[str, dict[str, Any]] = {
            RUN: {"classes": contract.classes, "provenance": provenance},
            ABOUT: about(bundle, artifact, info, abstain_below=judge.to_json().get("abstain_below")),
            RAN: ran(output.ledger.noted(RAN), session.started, roots, options, answers=answers),
        }
        for key, value in notes.items():
            output.ledger.note(key, canonical_json(value))
        output.keep = True

        batch = options.batch_size or min(tuning.default_batch(info.device), opened.most)
        slots: Slots[Tag] = Slots(memory, buffers=tuning.buffers_for(most, batch, opened.lanes), batch=batch)
        session.begun_files = monotonic()
        if answers:
            loop.run(slots, intake.jobs, intake.counts, judge, naming)
        session.ended_files = monotonic()
        ignored, idle = ignored.settled(output.ledger, options)
        kinds = tuple(dict.fromkeys([*options.formats, *output.tables_there()]))
        tables = write_tables(out, kinds, output.ledger, classes=contract.classes, provenance=provenance)
        session.tables_written = monotonic()
        if finish is not None:
            tables += tuple(finish(Finished(output, loop, discovery, naming, artifact, stop)))
        loop.pool.close()
        session.finished = monotonic()
        warnings = _warnings(artifact, output, loop, discovery, options, why_not, idle)
        summary = _summary(output, loop, discovery, intake, info, contract.classes, tables, stop, tuple(warnings))
        write_run_json(
            summary.run_json,
            summary=summary,
            session=session,
            ignored=ignored,
            loop=loop,
            identity=identity,
            provenance=provenance,
            answered_with=output.ledger.answered_with(),
            options=options,
            effective={
                "batch_size": batch,
                "workers": workers,
                "workers_at_the_end": loop.pool.count,
                "lanes": opened.lanes,
                "tuned": setting and asdict(setting),
            },
        )
    return summary


def _start_workers(
    stack: ExitStack, loop: Loop, contract: InputContract, most: int, options: ClassifyOptions, discovery: Discovery
) -> npt.NDArray[np.uint8]:
    """Start the decode workers; the memory that up to `most` write to, with room for any batch size that may come.

    Batch size and lanes depend on the device, which is not known yet. Memory that is not used is never touched.
    """
    largest = options.batch_size or tuning.GPU_BATCH
    loop.pool, memory = start_pool(
        stack,
        loop.selector,
        contract,
        options,
        room=max(tuning.buffers_for(most, batch, tuning.MOST_LANES) * batch for batch in range(1, largest + 1)),
        within=discovery.within,
        preload=(READERS["picture"],),
        lot=tuning.LOT if contract.channels > 1 else 1,
        on_decoded=loop.decoded,
        on_held=loop.held_back,
        on_failed=loop.failed_file,
        on_again=loop.start_again,
    )
    return memory


def _start_network(
    stack: ExitStack, loop: Loop, open_network: Callable[[], Runtime], wanted: str, *, close: bool
) -> None:
    loop.inference = InferenceThreads(open_network, loop.wakeup.wake, output=wanted, close_network=close)
    # A second Ctrl-C does not wait for the network; anything else does, for it may be loading.
    stack.push(lambda kind, *_: loop.inference.close(wait=kind is not KeyboardInterrupt))
    loop.inference.start()


def _suitable(bundle: Bundle, out: Path, task: Task, options: ClassifyOptions) -> tuple[Artifact, ClassifyOptions]:
    """The artifact to use, and the options with the runtime and device that a precision settles."""
    manifest = bundle.manifest
    if bundle.folder.resolve() in (out.resolve(), *out.resolve().parents):
        raise OutputError(f"{out} lies in the bundle, which is never written to.", fix="--out elsewhere")
    if manifest.task != task:
        needed, does = ("classifier", "segments") if task == "classify" else ("U-Net", "classifies")
        raise BundleError(
            f"{bundle.folder} {does} ({manifest.model.get('name', 'unnamed')}); `{task}` needs a {needed}.",
            fix=f"export a {needed} (see `lits-deploy models`)",
        )
    if len(manifest.contract.classes) != 3:
        raise ContractError(f"`{task}` tells three classes.", fix="another bundle")
    if options.precision is None:
        return bundle.artifact(options.artifact), options
    chosen = choose(bundle, options.precision, runtime=options.runtime, device=options.device)
    return chosen.artifact, replace(options, runtime=chosen.runtime, device=chosen.device)


def _judge(task: Task, artifact: Artifact, options: ClassifyOptions) -> Judge | MaskJudge:
    if task == "segment":
        return MaskJudge()
    return Judge(temperature=artifact.temperature, abstain_below=artifact.abstain_below if options.abstain else None)


def _open(bundle: Bundle, artifact: Artifact, options: ClassifyOptions, task: Task) -> Runtime:
    return open_runtime(
        bundle,
        runtime=options.runtime,
        device=options.device,
        artifact=artifact,
        max_batch=options.batch_size or tuning.GPU_BATCH,
        insist=options.batch_size is not None and not options.tune,
        threads=options.threads,
        # A U-Net's activations take hundreds of MB a batch: one at a time.
        lanes=tuning.default_lanes(options.threads) if task == "classify" else 1,
        wanted=(_OUTPUT[task],),
        engine_cache=options.engine_cache,
        memory_limit_mib=options.memory_limit_mib,
    )


def open_network(bundle: Bundle, out: Path, *, options: ClassifyOptions) -> Runtime:
    """The classifier that `run_folder` would open for these, for several runs; the caller closes it."""
    artifact, options = _suitable(bundle, out, "classify", options)
    return _open(bundle, artifact, options, "classify")


def _identity(
    bundle: Bundle, artifact: Artifact, info: RuntimeInfo, judge: Judge | MaskJudge, reading: Reading
) -> dict[str, Any]:
    """All that changes results; versions do not count, so that a run survives an update."""
    return {
        "bundle": bundle.sha256,
        "artifact": artifact.name,
        "precision": info.precision,
        "contract": bundle.manifest.contract.sha256,
        "runtime": info.name,
        "device": info.device.partition(":")[0],
        **({"profile": info.profile} if info.profile else {}),  # another engine, other roundings
        **judge.to_json(),
        **reading.to_json(),
    }


def _provenance(bundle: Bundle, artifact: Artifact, info: RuntimeInfo, run_id: str) -> dict[str, str]:
    """The columns that are the same in every row (`results.PROVENANCE`)."""
    return {
        "run_id": run_id,
        "bundle": bundle.sha256[:12],
        "model": str(bundle.manifest.model.get("name", "")),
        "artifact": artifact.name,
        "precision": info.precision,
        "runtime": info.name,
        "contract": bundle.manifest.contract.sha256[:12],
    }


def _warnings(
    artifact: Artifact,
    output: OutputFolder,
    loop: Loop,
    discovery: Discovery,
    options: ClassifyOptions,
    why_not: str | None,
    idle: Sequence[int],
) -> Iterator[str]:
    """What a user should know of a run. why_not: nothing was remembered of tuning; idle: patterns without a match."""
    if artifact.warning:
        yield artifact.warning
    if output.open_to_others():
        yield "The output folder was there before, and other users may list it; its files are private. Fix: chmod 700"
    assert loop.opened is not None
    info, most = loop.opened.info, loop.opened.most
    if info.profile and most < (options.batch_size or tuning.default_batch(info.device)):
        yield f"{info.device} has memory for batches of {most}: its engine is for {info.profile} slices."
    if loop.inference.halved:
        yield f"The device was short of memory: batches of {loop.inference.most} from then on."
    if loop.pool.restarts:
        yield f"{loop.pool.restarts} decode workers were replaced."
    if discovery.own:
        yield f"Folders among the scans that hold results of lits-deploy: {discovery.own}. Their masks are passed over."
    if why_not is not None:
        yield why_not
    if output.salt_left_behind and options.salt is None and options.salt_file is None:
        yield "Pseudonyms are new: the salt of the earlier results is in the --ledger folder that they were made with."
    if discovery.only is None and not output.ledger.counts().pending:  # no pattern here: it may be a patient's id
        yield from (f"Number {n} of the patterns to ignore matches no failed file." for n in idle)


def _summary(
    output: OutputFolder,
    loop: Loop,
    discovery: Discovery,
    intake: Intake,
    info: RuntimeInfo,
    classes: Sequence[str],
    tables: tuple[Path, ...],
    stop: Stop,
    warnings: tuple[str, ...],
) -> RunSummary:
    ledger = output.ledger
    counts: Counts = ledger.counts()
    labels, unsure = ledger.labels(), ledger.unsure()
    return RunSummary(
        files=counts.all - counts.pending,
        failed=ledger.failed(),
        acknowledged=ledger.acknowledged(),
        slices=sum(labels.values()) + unsure,
        unsure=unsure,
        withheld=ledger.withheld(),
        now=loop.slices,
        missing=counts.pending,
        added=intake.added,
        removed=intake.removed,
        stopped=bool(counts.pending) and stop.requested,
        resumed=intake.resumed,
        classes={name: labels.get(label, 0) for label, name in enumerate(classes)},
        reasons=ledger.reasons(),
        withheld_reasons=ledger.withheld_reasons(),
        others=dict(discovery.others.most_common()),
        seconds=loop.seconds,
        slices_per_s=loop.slices / loop.seconds if loop.seconds else 0.0,
        run_id=ledger.run_id,
        device=info.device,
        tables=tables,
        run_json=output.out / RUN_JSON,
        warnings=warnings,
    )
