"""Reads files that only their ctime says to have changed, and compares them with the hash of what was answered."""

from __future__ import annotations

import hashlib
import os

from lits_deploy.errors import SliceError
from lits_deploy.ledger import Ledger
from lits_deploy.ledger.altered import DoubtfulFile
from lits_deploy.pipeline.naming import Naming
from lits_deploy.pipeline.stop import Stop
from lits_deploy.scans.archive import close_last, last_opened
from lits_deploy.scans.containment import open_scan
from lits_deploy.scans.listing import Listing

_LOT = 1000  # files noted in the ledger at once
_BLOCK = 1 << 20


def note_altered(ledger: Ledger, listing: Listing, naming: Naming, stop: Stop) -> None:
    """Have a ledger know which of its doubtful files (`ledger.altered`) have other bytes than those it answered.

    A file that cannot be read now counts as altered. Raises KeyboardInterrupt when asked to stop: nothing has changed
    then.
    """
    altered: list[str] = []
    for file in ledger.altered.doubtful():
        if stop.requested:
            raise KeyboardInterrupt
        if file.sha256 is None or naming.sha256(_sha256(file, listing)) != file.sha256:
            altered.append(file.path)
        if len(altered) >= _LOT:
            ledger.altered.put(altered)
            altered = []
    ledger.altered.put(altered)
    close_last()


def _sha256(file: DoubtfulFile, listing: Listing) -> str | None:
    path = os.fsencode(listing.real_path(file.container or file.source))
    try:
        if file.member is not None:
            return last_opened(path, listing.within).sha256(file.member)
        fd, _ = open_scan(path, listing.within)
        with os.fdopen(fd, "rb", buffering=0) as stream:
            digest = hashlib.sha256()
            while block := stream.read(_BLOCK):
                digest.update(block)
            return digest.hexdigest()
    except (OSError, SliceError):
        return None
