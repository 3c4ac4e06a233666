"""Which files a start of a run has to answer: those that discovery sees, against those that the ledger has.

Scans that only seem to be gone stop the run, changes that size and time hide are found, neighbours are looked up: all
before the ledger takes the files on, in one transaction (`Ledger.adopt`), so that a stop on the way changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from lits_deploy.contract import InputContract
from lits_deploy.errors import UserError
from lits_deploy.ledger import NAMES, Counts
from lits_deploy.pipeline import tuning
from lits_deploy.pipeline.altered import find_altered
from lits_deploy.pipeline.loop import Loop
from lits_deploy.pipeline.naming import Naming
from lits_deploy.pipeline.neighbours import Neighbours
from lits_deploy.pipeline.options import ClassifyOptions, Progress
from lits_deploy.pipeline.output import OutputFolder
from lits_deploy.pipeline.removed import check_removed, note_seen
from lits_deploy.pipeline.stop import Stop
from lits_deploy.pipeline.workers import Job
from lits_deploy.scans.discover import Discovery
from lits_deploy.scans.paths import escape

_STAGE = 1000  # files noted in the ledger at once during discovery


@dataclass(frozen=True, kw_only=True)
class Intake:
    """The files of a run. resumed: the folder held this run before; added, removed: files, since then; jobs: what is to
    be decoded, in the order of work."""

    counts: Counts
    resumed: bool
    added: int
    removed: int
    jobs: Iterator[Job]


def discover(discovery: Discovery, output: OutputFolder, naming: Naming, loop: Loop, stop: Stop) -> None:
    """Stage what discovery sees in the ledger. Raises UserError where there is nothing, KeyboardInterrupt when asked to
    stop."""
    ledger, records = output.ledger, iter(discovery)
    while some := list(islice(records, _STAGE)):
        ledger.stage(some, naming.path)
        loop.turn(0)  # a network that cannot be opened is told at once, not after a million files
        if stop.requested:
            raise KeyboardInterrupt
    if not ledger.staged() and discovery.only is None and not ledger.counts().all:  # or `check_removed` says more
        others = f" ({sum(discovery.others.values())} other files)" if discovery.others else ""
        deeper = "" if discovery.recursive else ", or --recursive"
        raise UserError(
            f"No scans {discovery.where}{others}: looked for DICOM, NIfTI, PNG and JPEG, also in zips.",
            fix=f"name another folder{deeper}",
        )


def take_on(
    discovery: Discovery,
    output: OutputFolder,
    naming: Naming,
    identity: dict[str, Any],
    contract: InputContract,
    options: ClassifyOptions,
    stop: Stop,
    on_progress: Callable[[Progress], None] | None,
) -> Intake:
    """Make the staged files those of the run with this identity.

    Raises OutputError where the folder holds another run, or results would leave because their scans seem to be gone;
    LedgerError for a damaged ledger; KeyboardInterrupt when asked to stop.
    """
    ledger, names, only = output.ledger, naming.names, discovery.only
    base = names.base(discovery.base)
    resumed = output.check(identity, base, names.mark)
    if only is None and not options.allow_removed:
        check_removed(ledger, discovery)
    find_altered(ledger, discovery, names, stop)
    neighbours = None
    if contract.channels > 1:
        neighbours = Neighbours(ledger=ledger, discovery=discovery)
        neighbours.find_places(naming, contract, options, stop, on_progress)
    added, before = ledger.new(), ledger.counts().all
    ledger.note(NAMES, names.mark)  # before the identity, or a run that is killed between them is taken for another
    counts = ledger.adopt(
        identity,
        base,
        retry_failed=options.retry_failed,
        scope=None if only is None else {escape(name): names.path(escape(name)) for name in only},
        channels=contract.channels,
        hidden=names.paths,
    )
    if only is None:
        note_seen(ledger, discovery)
    return Intake(
        counts=counts,
        resumed=resumed,
        added=added,
        removed=before + added - counts.all,
        jobs=_jobs(discovery, output) if neighbours is None else neighbours.jobs(),
    )


def _jobs(discovery: Discovery, output: OutputFolder) -> Iterator[Job]:
    for row in output.ledger.pending(tuning.PAGE):
        yield Job.of(row, discovery.real_path)
