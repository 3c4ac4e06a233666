"""`run_folder`: scans in, ledger and result tables out; the library's entry, which prints nothing.

Discovery, the start of the workers and the loading of the network happen side by side. A run's identity is bundle,
artifact, contract, runtime, kind of device, an engine's profile, whether it abstains and what it names: the same output
folder with the same identity goes on where it was, with another it is refused. A classifier's answers are classes
(`judge`), a U-Net's are masks (`segmentation`); everything else is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from time import monotonic

from lits_deploy.bundle import Bundle
from lits_deploy.contract import Task
from lits_deploy.decode.decoding import Decoding
from lits_deploy.errors import OutputError
from lits_deploy.events.emit import phase
from lits_deploy.ledger import RAN
from lits_deploy.pipeline import autotune, defaults
from lits_deploy.pipeline.about import ran
from lits_deploy.pipeline.conclude import Finish, conclude
from lits_deploy.pipeline.context import Keeper, NetworkRun
from lits_deploy.pipeline.identity import identity_of, note_run, provenance_of
from lits_deploy.pipeline.ignored import Ignored
from lits_deploy.pipeline.inference import InferenceThreads
from lits_deploy.pipeline.intake import discover, jobs_of, take_on
from lits_deploy.pipeline.loop import Loop
from lits_deploy.pipeline.naming import Naming, pseudonyms
from lits_deploy.pipeline.network import judge_of, open_artifact, outputs_of, suitable
from lits_deploy.pipeline.options import ClassifyOptions, Progress, RunSummary
from lits_deploy.pipeline.output import OutputFolder
from lits_deploy.pipeline.record import AnswerTimes, RunEffort, StartTimes, versions
from lits_deploy.pipeline.stop import Stop
from lits_deploy.runtime import Runtime
from lits_deploy.scans import READERS
from lits_deploy.scans.discover import UNFINISHED
from lits_deploy.scans.fetch import is_object
from lits_deploy.scans.listing import Listing
from lits_deploy.scans.roots import list_scans
from lits_deploy.storage import PathOrUrl


def run_folder(
    bundle: Bundle,
    roots: Sequence[PathOrUrl],
    out: Path,
    *,
    task: Task = "classify",
    options: ClassifyOptions | None = None,
    runtime: Runtime | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    stop: Stop | None = None,
    only: Collection[str] | None = None,
    listing: Listing | None = None,
    keep: Callable[[], Keeper] | None = None,
    finish: Finish | None = None,
) -> RunSummary:
    """Classify or segment every scan below `roots`, folders or `s3://` URLs; write the result tables and run.json to
    `out`.

    runtime: an open one to use, and leave open, in place of the one that `options` names.
    on_progress: called in this thread, at most ten times a second. stop: lets another thread or a signal handler end
    the run in good order (`pipeline.stop`); the same call then goes on.
    only: names of the files and folders directly below the one root that are looked at, less what is still being copied
    there; results of the others stay (`lits_deploy.watch`). None: everything, and what is gone leaves the results.
    listing: the scans, in place of a walk of `roots` (`scans.listing`).
    A network of several channels is given the slices beside each (`pipeline.neighbours`): DICOM headers are read first.
    finish: called when all is in the ledger and the tables are written, workers and network still there; gives the
    paths of what else it wrote (reports, masks). keep: makes what sees pixels and answers on their way, for `finish`.
    A file that cannot be used is a row with its reason. Raises UserError for everything the user can mend (bundle,
    device, folders), KeyboardInterrupt if asked to stop before the first file.
    """
    session = StartTimes(started=datetime.now(timezone.utc), begun=monotonic())
    options, stop = options or ClassifyOptions(), stop or Stop()
    if bundle.folder.resolve() in (out.resolve(), *out.resolve().parents):
        raise OutputError(f"{out} lies in the bundle, which is never written to.", fix="--out elsewhere")
    artifact, options = suitable(bundle, task, options)
    contract, setting, why_not = bundle.manifest.contract, None, None
    if runtime is None:
        setting, why_not, options = autotune.find(
            bundle, artifact, options, partial(open_artifact, task=task), stop=stop
        )
    if listing is None:
        listing = _walk(roots, out, options, only)
    settings = options.decoding(
        contract,
        listing.within,
        objects=is_object(listing.base),
        preload=(READERS["picture"],),
        most_batch=options.batch_size or defaults.GPU_BATCH,
        most_lanes=defaults.MOST_LANES,
    )
    with ExitStack() as stack:
        output = stack.enter_context(
            OutputFolder(
                out, ledger_folder=options.ledger, overwrite=options.overwrite, group_readable=options.group_readable
            )
        )
        decoding = stack.enter_context(Decoding(settings, stop))
        open_it = partial(open_artifact, bundle, artifact, options, task) if runtime is None else lambda: runtime
        network = stack.enter_context(
            InferenceThreads(open_it, decoding.wake, outputs=outputs_of(task, artifact), close_network=runtime is None)
        )
        run = NetworkRun(
            bundle=bundle,
            artifact=artifact,
            options=options,
            listing=listing,
            output=output,
            naming=Naming(names=pseudonyms(options, output.ledger_folder)),
            decoding=decoding,
            network=network,
            stop=stop,
            keeper=None if keep is None else keep(),
            on_progress=on_progress,
        )
        ledger = run.ledger

        # Discover, while workers start and the network loads.
        phase("discover")
        discover(run)
        session.discovered = monotonic()
        phase("load")
        _wait_for_network(run)

        # Series: which files are to be answered, in which order, and with which neighbours.
        judge = judge_of(task, artifact, options)
        phase("series")
        intake = take_on(run, identity_of(run, judge))
        jobs, counts = jobs_of(run), ledger.counts()
        ledger.answer_with(versions(run.info))
        ignored = Ignored.of(ledger, options)
        provenance, answers = provenance_of(run), bool(counts.pending)
        now = ran(ledger.noted(RAN), session.started, listing.names, options, answers=answers)
        note_run(run, provenance, now, abstain_below=judge.to_json().get("abstain_below"))
        output.keep = True

        # Decode, infer, record.
        batch = options.batch_size or min(defaults.default_batch(run.info.device), run.opened.most)
        loop = Loop(run, judge, counts=counts, batch=batch)
        session.begun_files = monotonic()
        if answers:
            phase("files", to_do=counts.pending)
            loop.run(jobs)
        session.ended_files = monotonic()

        # Results.
        return conclude(
            run,
            intake,
            ignored,
            session,
            provenance=provenance,
            answered=AnswerTimes(slices=loop.slices, seconds=loop.seconds),
            finish=finish,
            effort=lambda: _effort(run, loop, session, batch, setting),
            warnings=lambda: [*_warnings(run), *([] if why_not is None else [why_not])],
        )


def _walk(roots: Sequence[PathOrUrl], out: Path, options: ClassifyOptions, only: Collection[str] | None) -> Listing:
    return list_scans(
        roots,
        recursive=options.recursive,
        skip=[out, *([options.ledger] if options.ledger else [])],
        only=only,
        unfinished=() if only is None else UNFINISHED,
        follow_links=options.follow_links,
        hidden=options.pseudonymous,
    )


def _wait_for_network(run: NetworkRun) -> None:
    """Wait until it is loaded; KeyboardInterrupt if asked to stop before."""
    while run.network.opened is None:
        if run.stop.requested:
            raise KeyboardInterrupt
        run.decoding.turn(0.5)
        run.check_network()


def _warnings(run: NetworkRun) -> Iterator[str]:
    """What a user should know of network and workers."""
    info, most, replaced = run.info, run.opened.most, run.decoding.figures.replaced
    if info.profile and most < (run.options.batch_size or defaults.default_batch(info.device)):
        yield f"{info.device} has memory for batches of {most}: its engine is for {info.profile} slices."
    if run.network.halved:
        yield f"The device was short of memory: batches of {run.network.most} from then on."
    if replaced:
        yield f"{replaced} decode workers were replaced."


def _effort(
    run: NetworkRun, loop: Loop, session: StartTimes, batch: int, setting: autotune.Setting | None
) -> RunEffort:
    """What run.json says of network and workers."""
    decoded, network = run.decoding.figures, run.network
    return RunEffort(
        options={
            "batch_size": batch,
            "workers": decoded.first,
            "workers_at_the_end": decoded.workers,
            "lanes": run.opened.lanes,
            "tuned": setting and asdict(setting),
            "largest_batch_run": network.most,
        },
        replaced=decoded.replaced,
        stages={"decode_s": decoded.decode_s, "wait_s": network.wait_s, "infer_s": network.infer_s},
        write_s=loop.write_s,
        start_up={
            "workers_ready_s": session.since_call(decoded.ready_at),
            "network_loaded_s": round(run.opened.seconds, 4),
            "first_file_s": session.since_call(session.begun_files),
            "first_result_s": session.since_call(loop.first_result_at),
        },
    )
