"""A process that does shards on one device of this machine, its network open from shard to shard.

Started by `sharding.child`. It talks in JSON, one line a message.

    in    {"bundle": "…", "job": "…", "options": {…}, "cores": [0, 1], …}    what to work on, once (`Start`)
          {"shard": 7}                                                       do this one (`ShardRequest`)
          {"stop": true}                                                     stop in good order
    out   {"joined": {"name": "openvino", "device": "cpu", …}}               the network is open
          {"progress": {"files": 120, "done": 40, …}}                        of the shard it is at (`Progress`)
          {"published": 120, "failed": 1, "warnings": ["…"]}                 it is done: slices answered now
          {"refused": "…"}                                                   it cannot be done: one line
          {"stopped": true}                                                  it goes on from here another time
          {"note": "…"}                                                      what a log would say
          {"broken": "…", "fix": "…"}                                        it cannot work at all, and ends

It never outlives its parent, takes no Ctrl-C (its parent does) and dumps no core. A bug ends it with a traceback on
standard error, a closed pipe at once.
"""

from __future__ import annotations

import logging
import os
import shutil
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import IO, Any, NoReturn

from lits_deploy import exits, private
from lits_deploy.backends import SEGMENTER_BATCH, open_runtime
from lits_deploy.bundle import Artifact, Bundle
from lits_deploy.errors import BundleError, DeviceError, MachineError
from lits_deploy.files import atomic_path
from lits_deploy.goldens import compare, read_golden
from lits_deploy.pipeline import autotune, defaults
from lits_deploy.pipeline.context import RunHooks
from lits_deploy.pipeline.network import open_artifact, suitable
from lits_deploy.pipeline.options import ClassifyOptions, Progress
from lits_deploy.printable import say_error
from lits_deploy.resource_errors import as_user_error
from lits_deploy.runtime import RuntimeInfo
from lits_deploy.sharding.job_folder import JobFolder
from lits_deploy.sharding.job_options import options_of
from lits_deploy.sharding.messages import ShardRequest, Start
from lits_deploy.sharding.pipes import ParentLink, die_with_parent, live_with
from lits_deploy.sharding.record import ShardEntry
from lits_deploy.sharding.rows import PlannedRow, read_group
from lits_deploy.sharding.shard import ShardSummary, ShardWork, answer, check_bundle, run_shard
from lits_deploy.sharding.shard_record import hardware_of

_REPORT_EVERY_S = 0.25


class Worker:
    """One device, whose network stays open. Use as a context manager, which opens it."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._job = None if start.job is None else JobFolder(start.job, endpoint=start.endpoint)
        record = start.record if self._job is None else self._job.read()
        assert record is not None
        self._record = record
        self._bundle = Bundle.open(Path(start.bundle))
        self._segmenter = None if start.segmenter is None else Bundle.open(Path(start.segmenter))

    def __enter__(self) -> Worker:
        bundle, task = self._bundle, self._record.task
        check_bundle(self._record, bundle, self._start.job or "The job")
        artifact, options = suitable(bundle, task, options_of(self._record, self._start.options))
        found = autotune.find(bundle, artifact, options, partial(open_artifact, task=task))
        if self._start.goldens:
            _prove(bundle, artifact, found.options)
        self._network = open_artifact(bundle, artifact, found.options, task)
        self._own = replace(self._start.options, batch_size=found.options.batch_size)
        return self

    def __exit__(self, *_: object) -> None:
        self._network.close()

    def describe(self) -> RuntimeInfo:
        """The network."""
        return self._network.describe()

    def do(self, asked: ShardRequest, hooks: RunHooks, say: Callable[[str], None]) -> ShardSummary:
        """Do a shard, and publish it. Raises as `shard.run_shard`."""
        work = ShardWork(
            bundle=self._bundle,
            options=self._own,
            runtime=self._network,
            pictures=self._start.pictures,
            segmenter=self._segmenter,
            hooks=hooks,
            say=say,
        )
        if self._job is not None:
            return run_shard(self._job, asked.shard, work)
        assert asked.entry is not None
        assert asked.rows is not None
        assert asked.ledger is not None
        rows, target = Path(asked.rows), Path(asked.ledger)
        return answer(
            self._record, ShardEntry(**asked.entry), lambda: _rows(rows), lambda ledger: _copy(ledger, target), work
        )


class _Notes(logging.Handler):
    """Sends what would go to a log."""

    def __init__(self, link: ParentLink) -> None:
        super().__init__(logging.WARNING)
        self._link = link

    def emit(self, record: logging.LogRecord) -> None:
        self._link.send(note=record.getMessage())


def main(document: Mapping[str, Any], stream: IO[bytes]) -> NoReturn:
    """Serve until the parent closes the pipe. document: a Start; stream: of the messages that follow."""
    start = Start.from_json(document)
    die_with_parent()
    live_with(start.parent)
    os.umask(0o077)
    if start.endpoint is not None:
        os.environ["AWS_ENDPOINT_URL_S3"] = start.endpoint
    if start.cores:
        os.sched_setaffinity(0, start.cores)
    link = ParentLink(stream)
    logging.getLogger().addHandler(_Notes(link))
    try:
        with private.private():
            _serve(link, start)
    except BaseException as error:
        if (known := as_user_error(error)) is None:
            say_error(*traceback.format_exc().rstrip().split("\n"))
            os._exit(exits.BUG)
        link.send(broken=known.message, fix=known.fix)
        os._exit(exits.USER_ERROR)


def _serve(link: ParentLink, start: Start) -> NoReturn:
    with Worker(start) as worker:
        info = worker.describe()
        link.send(joined={**asdict(info), "hardware": hardware_of(info)})
        while True:
            _do(link, worker, ShardRequest(**link.receive()))


def _do(link: ParentLink, worker: Worker, asked: ShardRequest) -> None:
    sent, said = 0.0, list[str]()

    def report(progress: Progress) -> None:
        nonlocal sent
        if monotonic() - sent >= _REPORT_EVERY_S:
            sent = monotonic()
            link.send(progress=asdict(progress))

    try:
        done = worker.do(asked, RunHooks(stop=link.stop, on_progress=report), said.append)
    except KeyboardInterrupt:  # asked to stop before its first file
        link.send(stopped=True)
        return
    except Exception as error:
        if (known := as_user_error(error)) is None:
            raise
        link.send(refused=str(known))
        if isinstance(known, DeviceError | MachineError):  # a device that failed once may need a new process
            os._exit(exits.USER_ERROR)
        return
    if done.state == "stopped":
        link.send(stopped=True)
    elif done.run is None:
        link.send(published=0, failed=0, warnings=said)
    else:
        link.send(published=done.run.now, failed=done.run.failed, warnings=[*done.run.warnings, *said])


def _prove(bundle: Bundle, artifact: Artifact, options: ClassifyOptions) -> None:
    """Raise BundleError where a network does not answer here as the bundle's goldens say."""
    for part, own in bundle.networks(artifact):
        most = options.batch_size or defaults.GPU_BATCH
        with open_runtime(
            part,
            runtime=options.runtime,
            device=options.device,
            artifact=own,
            max_batch=min(most, SEGMENTER_BATCH["cuda"]) if part.prefix else most,
            wanted=("probabilities",),
            options=options.runtime_options(),
        ) as network:
            parity, info = compare(network, *read_golden(part), own.tolerance), network.describe()
        if not parity.passed:
            raise BundleError(
                f"{part.prefix}{own.name} does not answer its goldens on {info.name} {info.version}, {info.device} "
                f"(max |Δp| {parity.max_delta:.2e}, {own.tolerance:.0e} allowed).",
                fix="lits-deploy verify there; another --runtime or --artifact",
            )


def _rows(path: Path) -> Iterator[PlannedRow]:
    with path.open("rb") as stream:
        yield from read_group(stream, 0)


def _copy(ledger: Path, target: Path) -> None:
    with private.private(), atomic_path(target) as part:
        shutil.copyfile(ledger, part)
