"""Where a run writes its results: a folder of this machine, or one beside its ledger that is mirrored into a store."""

from __future__ import annotations

from pathlib import Path

from lits_deploy import private
from lits_deploy.errors import UserError
from lits_deploy.storage import PathOrUrl, store_at
from lits_deploy.storage.mirror import Mirror, Sent

_RESULTS, _NOTE = "results", "uploaded.json"


class ResultsFolder:
    """folder: what a run is to write to.

    Raises UserError for results in a store without a folder for the ledger, OutputError where results of another run
    lie there, StorageError where nothing may be written.
    """

    def __init__(self, out: PathOrUrl, ledger: Path | None, *, overwrite: bool) -> None:
        self._mirror: Mirror | None = None
        if isinstance(out, Path):
            self.folder = out
            return
        if ledger is None:
            raise UserError(
                "A ledger cannot lie in an object store, as --out does.",
                fix="--ledger FOLDER, on a disk of this machine",
            )
        self.folder = ledger / _RESULTS
        self._mirror = Mirror(self.folder, store_at(out), ledger / _NOTE)
        self._mirror.check(overwrite=overwrite)

    def send(self) -> Sent | None:
        """Have the store's results be those of the folder; None where there is no store. Raises StorageError."""
        if self._mirror is None:
            return None
        with private.private():
            return self._mirror.send()
