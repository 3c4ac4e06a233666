"""The output folder: one process at a time, one run, nothing of anyone else's overwritten.

    OUT/  ledger.sqlite  slices.csv …  studies.csv …  run.json  report.html  .lits-deploy.lock  .lits-deploy.salt
          volumes.csv …  masks.csv …  masks/                         of a segmentation (`lits_deploy.segmentation`)

With `--ledger`, ledger and lock lie in that folder (a local disk) and only the results in OUT.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from lits_deploy.errors import OutputError
from lits_deploy.ledger import FILE_NAME, Ledger
from lits_deploy.locks import open_lock
from lits_deploy.pseudonyms import SALT_FILE
from lits_deploy.results import ALL, FORMATS, SLICES

LOCK = ".lits-deploy.lock"
RUN_JSON, REPORT = "run.json", "report.html"
MASKS, MASKS_MARK = "masks", ".lits-deploy"
"""The folder of masks, and the file in it that tells it from another folder of that name."""


class OutputFolder:
    """An output folder held for one run. Use as a context manager; `ledger` is open inside.

    out: for results; ledger_folder: for the ledger. overwrite: drop another run's results first.
    A folder that this run made and never used (`keep` stayed False) is taken away again.
    Raises OutputError if another process is at it, it cannot be written, or it holds results without their ledger.
    """

    def __init__(self, out: Path, *, ledger_folder: Path | None = None, overwrite: bool = False) -> None:
        self.out, self.ledger_folder = out, ledger_folder or out
        self._overwrite = overwrite
        self._made = [folder for folder in (self.out, self.ledger_folder) if not folder.exists()]
        self.keep = False
        self._out_lock: int | None = None
        self.ledger: Ledger

    def __enter__(self) -> OutputFolder:
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            self.ledger_folder.mkdir(parents=True, exist_ok=True)
            self._lock = self._locked(self.ledger_folder / LOCK)
            self._had_salt = (self.ledger_folder / SALT_FILE).exists()
        except OSError as error:
            raise OutputError(f"{self.out} cannot be written ({error.strerror}).", fix="--out elsewhere") from error
        try:
            if self.ledger_folder.resolve() != self.out.resolve():
                with suppress(OSError):  # a network share may have no locks; another ledger's run is then not seen
                    self._out_lock = self._locked(self.out / LOCK)
            for left in (path for name in self._results() for path in self.out.glob(f".{name.name}.*.tmp")):
                left.unlink()  # of a process that was killed while it wrote
            for left in self.out.glob(f".{MASKS}.*.tmp"):
                shutil.rmtree(left, ignore_errors=True)
            if self._overwrite:
                self._remove_results()
                self._remove_ledger()
            self.keep = (self.ledger_folder / FILE_NAME).exists()
            if not self.keep and (foreign := [path.name for path in self._results() if path.exists()]):
                raise OutputError(
                    f"{self.out} has {', '.join(foreign)} but no ledger.", fix="--out elsewhere, or --overwrite"
                )
            self.ledger = Ledger(self.ledger_folder)
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.ledger.__exit__(kind, error, trace)
        finally:
            self._leave()

    def check(self, identity: dict[str, Any], base: str, names: str) -> bool:
        """True if the folder holds this very run, to be resumed; False if it is new; OutputError if it is another.

        base, names: pseudonym of the scans' folder, and mark of the run's pseudonyms.
        """
        there = self.ledger.identity
        if there is None:
            return False
        now = {**identity, "scans": base, "names": names}
        there = {**there, "scans": self.ledger.base, "names": self.ledger.noted("names")}
        if differing := [key for key in sorted({*now, *there}) if there.get(key) != now.get(key)]:
            self.ledger.check()  # a damaged one may have lost what it was
            what = "; ".join(f"{key} {_short(there.get(key))} there, {_short(now.get(key))} now" for key in differing)
            raise OutputError(f"{self.out} holds another run ({what}).", fix="--out elsewhere, or --overwrite")
        return True

    def tables_there(self) -> list[str]:
        """Formats of which the folder holds a table: they are written anew, lest they tell of an older state."""
        return [kind for kind in FORMATS if SLICES.path(self.out, kind).exists()]

    def _locked(self, path: Path) -> int:
        while True:
            fd = open_lock(path)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(fd), path.lstat()):
                        return fd
            except BlockingIOError as error:
                os.close(fd)
                raise OutputError(
                    f"Another lits-deploy is writing to {self.out}.", fix="wait for it, or --out elsewhere"
                ) from error
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)  # its last holder took the file away between open and lock

    def _results(self) -> list[Path]:
        tables = [table.path(self.out, kind) for kind in FORMATS for table in ALL]
        return [*tables, self.out / RUN_JSON, self.out / REPORT]

    def _remove_results(self) -> None:
        for path in self._results():
            path.unlink(missing_ok=True)
        if (self.out / MASKS / MASKS_MARK).exists():
            shutil.rmtree(self.out / MASKS, ignore_errors=True)

    def _remove_ledger(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            (self.ledger_folder / f"{FILE_NAME}{suffix}").unlink(missing_ok=True)

    def _leave(self) -> None:
        if self._out_lock is not None:
            (self.out / LOCK).unlink(missing_ok=True)
            os.close(self._out_lock)
        if not self.keep:
            self._remove_ledger()
            # The salt of another run stays when `--overwrite` has dropped its results: whoever knows its pseudonyms
            # finds them again.
            for name in (LOCK, *(() if self._had_salt else (SALT_FILE,))):
                (self.ledger_folder / name).unlink(missing_ok=True)
            for folder in self._made:
                with suppress(OSError):
                    folder.rmdir()
        os.close(self._lock)


def _short(value: Any) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text
