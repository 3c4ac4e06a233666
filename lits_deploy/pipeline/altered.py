"""Reads files that only their ctime says to have changed, and compares them with the hash of what was answered."""

from __future__ import annotations

import hashlib
import os

from lits_deploy.errors import SliceError
from lits_deploy.ledger import Ledger
from lits_deploy.ledger.altered import DoubtfulFile
from lits_deploy.pipeline.stop import Stop
from lits_deploy.pseudonyms import Pseudonyms
from lits_deploy.scans.archive import close_last, last_opened
from lits_deploy.scans.discover import Discovery
from lits_deploy.scans.within import open_scan

_LOT = 1000  # files noted in the ledger at once
_BLOCK = 1 << 20


def find_altered(ledger: Ledger, discovery: Discovery, names: Pseudonyms, stop: Stop) -> None:
    """Have the ledger know which of its doubtful files (`ledger.altered`) have other bytes than those it answered.

    names: how the run writes hashes. A file that cannot be read now counts as altered. Raises KeyboardInterrupt when
    asked to stop: nothing has changed then.
    """
    altered: list[str] = []
    for file in ledger.altered.doubtful():
        if stop.requested:
            raise KeyboardInterrupt
        if file.sha256 is None or names.sha256(_sha256(file, discovery)) != file.sha256:
            altered.append(file.path)
        if len(altered) >= _LOT:
            ledger.altered.put(altered)
            altered = []
    ledger.altered.put(altered)
    close_last()


def _sha256(file: DoubtfulFile, discovery: Discovery) -> str | None:
    path = os.fsencode(discovery.real_path(file.container or file.place))
    try:
        if file.member is not None:
            return last_opened(path, discovery.within).sha256(file.member)
        fd, _ = open_scan(path, discovery.within)
        with os.fdopen(fd, "rb", buffering=0) as stream:
            digest = hashlib.sha256()
            while block := stream.read(_BLOCK):
                digest.update(block)
            return digest.hexdigest()
    except (OSError, SliceError):
        return None
