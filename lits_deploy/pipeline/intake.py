"""Which files a start of a run has to answer: those that its listing has, against those that the ledger has.

Scans that only seem to be gone stop the run, and changes that size and time hide are found, before the ledger takes the
files on, in one transaction (`Ledger.adopt`). For networks of several channels headers are read then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from lits_deploy.decode.job import DecodeJob
from lits_deploy.ledger import NAMES
from lits_deploy.pipeline import defaults
from lits_deploy.pipeline.altered import note_altered
from lits_deploy.pipeline.context import RunContext
from lits_deploy.pipeline.neighbours import Neighbours
from lits_deploy.pipeline.removed import check_removed, note_seen
from lits_deploy.scans.listing import no_scans
from lits_deploy.scans.paths import escape

_STAGE = 1000  # files noted in the ledger at once during discovery


@dataclass(frozen=True, kw_only=True)
class Intake:
    """The files of a run. identity: its own; resumed: the folder held this run before; added, removed: files, since
    then."""

    identity: dict[str, Any]
    resumed: bool
    added: int
    removed: int


def discover(run: RunContext) -> None:
    """Stage what the listing has in the ledger. Raises UserError where there is nothing, KeyboardInterrupt when asked
    to stop."""
    ledger, listing, records = run.ledger, run.listing, iter(run.listing)
    while some := list(islice(records, _STAGE)):
        ledger.stage(some, run.naming.path)
        run.check_network()  # one that cannot be opened is reported at once, not after a million files
        if run.stop.requested:
            raise KeyboardInterrupt
    if not ledger.staged() and listing.only is None and not ledger.counts().all:  # or `check_removed` says more
        raise no_scans(listing)


def take_on(run: RunContext, identity: dict[str, Any], *, read: bool = True) -> Intake:
    """Make the staged files those of the run with this identity.

    read: files of which only the ctime has moved are compared by their bytes; else they count as altered.
    Raises OutputError where the folder holds another run, or results would leave because their scans seem to be gone;
    LedgerError for a damaged ledger; KeyboardInterrupt when asked to stop.
    """
    ledger, listing, names, only = run.ledger, run.listing, run.naming.names, run.listing.only
    base = names.base(listing.base)
    resumed = run.output.check(identity, base, names.mark)
    if only is None and not run.options.allow_removed:
        check_removed(ledger, listing)
    if read:
        note_altered(ledger, listing, run.naming, run.stop)
    else:
        ledger.altered.put(file.path for file in ledger.altered.doubtful())
    added, before = ledger.new(), ledger.counts().all
    ledger.note(NAMES, names.mark)  # before the identity, or a run that is killed between them is taken for another
    counts = ledger.adopt(
        identity,
        base,
        retry_failed=run.options.retry_failed,
        scope=None if only is None else {escape(name): names.path(escape(name)) for name in only},
        hidden=names.paths,
    )
    if only is None:
        note_seen(ledger, listing)
    return Intake(identity=identity, resumed=resumed, added=added, removed=before + added - counts.all)


def jobs_of(run: RunContext) -> Iterator[DecodeJob]:
    """What is to be decoded of the files that were taken on, in the order of work, with who is beside whom.

    Files whose neighbours have changed are to be done again from now on. Raises KeyboardInterrupt when asked to stop.
    """
    if run.contract.channels > 1:
        neighbours = Neighbours(run)
        neighbours.plan()
        return neighbours.jobs()
    return (DecodeJob.of(row, run.listing.real_path) for row in run.ledger.pending(defaults.PAGE))
