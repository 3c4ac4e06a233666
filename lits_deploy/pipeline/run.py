"""`run_folder`: scans in, ledger and result tables out; the library's entry, which prints nothing.

Discovery, the start of the workers and the loading of the network happen side by side. A run's identity is bundle,
artifact, contract, runtime, kind of device, an engine's profile, whether it abstains and what it names: the same output
folder with the same identity goes on where it was, with another it is refused. A classifier's answers are classes
(`decide`), a U-Net's are masks (`segmentation`); everything else is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from lits_deploy.pipeline.conclude import conclude
from lits_deploy.pipeline.context import NetworkRun, RunHooks
from lits_deploy.pipeline.identity import identity_of, note_run, provenance_of
from lits_deploy.pipeline.ignored import Ignored
from lits_deploy.pipeline.inference import InferenceThreads
from lits_deploy.pipeline.intake import discover, jobs_of, take_on
from lits_deploy.pipeline.loop import Loop
from lits_deploy.pipeline.naming import Naming, pseudonyms
from lits_deploy.pipeline.network import decider_of, open_artifact, outputs_of, suitable
from lits_deploy.pipeline.options import ClassifyOptions, RunSummary
from lits_deploy.pipeline.output import OutputFolder
from lits_deploy.pipeline.record import RunEffort, StartTimes, versions
from lits_deploy.runtime import Runtime
from lits_deploy.scans import READERS
from lits_deploy.scans.fetch import is_object
from lits_deploy.scans.listing import Listing
from lits_deploy.storage import PathOrUrl


def run_folder(
    bundle: Bundle,
    scans: Sequence[PathOrUrl] | Listing,
    out: Path,
    *,
    task: Task = "classify",
    options: ClassifyOptions | None = None,
    runtime: Runtime | None = None,
    hooks: RunHooks | None = None,
) -> RunSummary:
    """Classify or segment scans, below folders or `s3://` URLs or listed; write the result tables and run.json to
    `out`.

    scans: what is gone from them leaves the results, unless the listing has `only` some names: results of the others
    stay then (`lits_deploy.watch`). runtime: an open one to use, and leave open, in place of the one that `options`
    names.
    A network of several channels is given the slices beside each (`pipeline.neighbours`): DICOM headers are read first.
    A file that cannot be used is a row with its reason. Raises UserError for everything the user can mend (bundle,
    device, folders), KeyboardInterrupt if asked to stop before the first file.
    """
    session = StartTimes(started=datetime.now(timezone.utc), begun=monotonic())
    options, hooks = options or ClassifyOptions(), hooks or RunHooks()
    if bundle.folder.resolve() in (out.resolve(), *out.resolve().parents):
        raise OutputError(f"{out} lies in the bundle, which is never written to.", fix="--out elsewhere")
    artifact, options = suitable(bundle, task, options)
    tuned = autotune.TunedSetting(None, None, options)
    if runtime is None:
        tuned = autotune.find(bundle, artifact, options, partial(open_artifact, task=task), stop=hooks.stop)
        options = tuned.options
    listing = options.listing(scans, out) if isinstance(scans, Sequence) else scans
    settings = options.decoding(
        bundle.manifest.contract,
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
        decoding = stack.enter_context(Decoding(settings, hooks.stop))
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
            hooks=hooks,
            keeper=None if hooks.keep is None else hooks.keep(),
        )
        ledger = run.ledger

        # Discover, while workers start and the network loads.
        phase("discover")
        discover(run)
        session.discovered = monotonic()
        phase("load")
        _wait_for_network(run)

        # Series: which files are to be answered, in which order, and with which neighbours.
        decider = decider_of(task, artifact, options)
        phase("series")
        intake = take_on(run, identity_of(run, decider))
        jobs, counts = jobs_of(run), ledger.counts()
        ledger.answer_with(versions(run.info))
        ignored = Ignored.of(ledger, options)
        provenance, answers = provenance_of(run), bool(counts.pending)
        now = ran(ledger.noted(RAN), session.started, listing.names, options, answers=answers)
        note_run(run, provenance, now, abstain_below=decider.to_json().get("abstain_below"))
        output.keep = True

        # Decode, infer, record.
        batch = options.batch_size or min(defaults.default_batch(run.info.device), run.opened.most)
        loop = Loop(run, decider, counts=counts, batch=batch)
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
            effort=lambda: _effort(run, loop, session, batch, tuned),
        )


def _wait_for_network(run: NetworkRun) -> None:
    """Wait until it is loaded; KeyboardInterrupt if asked to stop before."""
    while run.network.opened is None:
        if run.stop.requested:
            raise KeyboardInterrupt
        run.decoding.wait(0.5)
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


def _effort(run: NetworkRun, loop: Loop, session: StartTimes, batch: int, tuned: autotune.TunedSetting) -> RunEffort:
    """How it went with network and workers."""
    decoded, network = run.decoding.figures, run.network
    return RunEffort(
        slices=loop.slices,
        seconds=loop.seconds,
        warnings=[*_warnings(run), *([] if tuned.why_not is None else [tuned.why_not])],
        options={
            "batch_size": batch,
            "workers": decoded.first,
            "workers_at_the_end": decoded.workers,
            "lanes": run.opened.lanes,
            "tuned": tuned.setting and asdict(tuned.setting),
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
