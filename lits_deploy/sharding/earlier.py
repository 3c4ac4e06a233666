"""An earlier plan beside what is there now: scans that only seem to be gone, and files that only seem to have changed.

A share that is not mounted would have every shard of it superseded, and done again the next night: planning is stopped
instead, unless it is asked to go on, as a run is (`pipeline.removed`). A file of which only the ctime is another one
(chmod, a backup that was put back) supersedes nothing if its bytes are those that were answered; where nothing has been
answered yet, its header is read again.
"""

from __future__ import annotations

import shutil

from lits_deploy import private
from lits_deploy.errors import LedgerError, OutputError
from lits_deploy.ledger import FILE_NAME, Ledger
from lits_deploy.pipeline.altered import note_altered
from lits_deploy.pipeline.naming import Naming
from lits_deploy.pipeline.stop import Stop
from lits_deploy.scans.listing import Listing
from lits_deploy.sharding.job_folder import JobFolder
from lits_deploy.sharding.record import JobRecord, ShardEntry
from lits_deploy.sharding.scratch import scratch
from lits_deploy.sharding.staging import Staging


def check_gone(before: JobRecord, staging: Staging, listing: Listing) -> None:
    """Raise OutputError where scans that were planned seem to be gone."""
    there, gone = staging.scans_gone()
    if gone and (why := "none of them was found" if gone == there else _why(before, staging, listing)):
        raise OutputError(
            f"{gone:,} of {there:,} scans that were planned seem to be gone: {why}.",
            fix="mount or repair the folder; or --allow-removed, which plans without them",
        )


def _why(before: JobRecord, staging: Staging, listing: Listing) -> str | None:
    for folder, why in listing.unlisted.items():
        if staging.goes_below(folder):
            return f"one of their folders cannot be listed ({why})"
    if any(staging.goes_below(folder) for folder in {*before.mounts} - {*listing.mounts}):
        return "one of their folders was a mount point and is none now"
    if any(staging.goes_below(folder) and not staging.found_below(folder) for folder in listing.tops):
        return "one of their top-level folders no longer holds a scan"
    return None


def settle_doubtful(
    job: JobFolder, before: JobRecord, staging: Staging, listing: Listing, naming: Naming, stop: Stop
) -> list[int]:
    """Have the shards superseded of which a file has other bytes than were answered. The numbers of those that may
    stay, although a ctime is another one. Raises KeyboardInterrupt when asked to stop."""
    stay = []
    for number in staging.doubtful():
        entry = before.shard(number)
        if not job.is_published(entry):
            staging.look_again(number)
            stay.append(number)
        elif _same_bytes(job, before.id, entry, staging, listing, naming, stop):
            stay.append(number)
        else:
            staging.soil(number)
    return stay


def _same_bytes(
    job: JobFolder, job_id: str, entry: ShardEntry, staging: Staging, listing: Listing, naming: Naming, stop: Stop
) -> bool:
    """Whether the files are those that a shard has answered, by their hashes; False for a ledger that is damaged."""
    with scratch(f"{job_id}-compare") as here:
        shutil.rmtree(here.folder, ignore_errors=True)  # of a process that was killed
        private.make_folder(here.folder)
        job.fetch(entry, here.folder / FILE_NAME)
        try:
            with Ledger(here.folder) as ledger:
                ledger.stage((row.found for row in staging.of_shard(entry.number)), naming.path)
                note_altered(ledger, listing, naming, stop)
                same = not ledger.altered.paths()
        except LedgerError:
            same = False
        here.done = True
    return same
