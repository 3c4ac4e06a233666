"""The output folder: one process at a time, one run, nothing of anyone else's overwritten.

    OUT/  ledger.sqlite  slices.csv …  studies.csv …  run.json  report.html  .lits-deploy.lock  .lits-deploy.salt
          drift.html                                                 of `lits-deploy drift`
          volumes.csv …  masks.csv …  masks/                         of a segmentation (`lits_deploy.segmentation`)

With `--ledger`, ledger and lock lie in that folder (a local disk) and only the results in OUT.
All of it is for its owner alone (`private`); `group_readable` opens it to the files' group, all but salt and locks, and
the ledger remembers that. A folder that was there keeps the mode that its user gave it, unless told otherwise.
"""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from lits_deploy import private
from lits_deploy.errors import OutputError
from lits_deploy.ledger import FILE_NAME, Ledger
from lits_deploy.locks import take_lock
from lits_deploy.pseudonyms import SALT_FILE
from lits_deploy.results import ALL, FORMATS, SLICES
from lits_deploy.run_json import read_run_json

LOCK = ".lits-deploy.lock"
RUN_JSON, REPORT, DRIFT = "run.json", "report.html", "drift.html"
_GROUP_READABLE = "group_readable"
"""What the ledger notes of `--group-readable`."""
MASKS, MASKS_MARK = "masks", ".lits-deploy"
"""The folder of masks, and the file in it that tells it from another folder of that name."""


class OutputFolder:
    """An output folder held for one run. Use as a context manager; `ledger` is open inside.

    out: for results; ledger_folder: for the ledger. overwrite: drop another run's results first.
    group_readable: whether the files' group may read; None: as it was.
    A folder that this run made and never used (`keep` stayed False) is taken away again.
    Raises OutputError if another process is at it, it cannot be written, or it holds results without their ledger.
    """

    def __init__(
        self,
        out: Path,
        *,
        ledger_folder: Path | None = None,
        overwrite: bool = False,
        group_readable: bool | None = None,
    ) -> None:
        self.out, self.ledger_folder = out, ledger_folder or out
        self._group_readable = group_readable
        self._private = ExitStack()
        self._overwrite = overwrite
        self._made = [folder for folder in (self.out, self.ledger_folder) if not folder.exists()]
        self.keep = False
        self.salt_left_behind = False  # with the ledger of a run that was overwritten, in a folder that nobody named
        self._out_lock: int | None = None
        self.ledger: Ledger

    def __enter__(self) -> OutputFolder:
        try:
            private.make_folder(self.out)
            private.make_folder(self.ledger_folder)
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
                self.salt_left_behind = not self._had_salt and self._ledger_elsewhere()
                self._remove_results()
                self._remove_ledger()
            self.keep = (self.ledger_folder / FILE_NAME).exists()
            if not self.keep and (foreign := [path.name for path in self._results() if path.exists()]):
                raise OutputError(
                    f"{self.out} has {', '.join(foreign)} but no ledger.",
                    fix="the --ledger that it was made with: its salt lies there, too"
                    if self._ledger_elsewhere()
                    else "--out elsewhere, or --overwrite",
                )
            self.ledger = Ledger(self.ledger_folder)
            try:
                self._private.enter_context(private.private(self._access()))
            except BaseException:
                self.ledger.close()
                raise
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, *ended: Any) -> None:
        self._private.close()
        try:
            self.ledger.__exit__(*ended)
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
            what = "; ".join(
                "other SCANS: an OUT takes the same ones each time"
                if key == "scans"
                else f"{key} {short(there.get(key))} there, {short(now.get(key))} now"
                for key in differing
            )
            raise OutputError(f"{self.out} holds another run ({what}).", fix="--out elsewhere, or --overwrite")
        return True

    def tables_there(self) -> list[str]:
        """Formats of which the folder holds a table: they are written anew, lest they tell of an older state."""
        return [kind for kind in FORMATS if SLICES.path(self.out, kind).exists()]

    def open_to_others(self) -> bool:
        """Whether users beyond the owner's group may look into the folders, which their user made so."""
        return any(private.open_to_others(folder) for folder in {self.out, self.ledger_folder})

    def _access(self) -> private.Access:
        """Who may read: as asked for, else as the ledger remembers; set on what is there."""
        asked = self._group_readable
        group = self.ledger.noted(_GROUP_READABLE) == "yes" if asked is None else asked
        if group != (self.ledger.noted(_GROUP_READABLE) == "yes"):
            self.ledger.note(_GROUP_READABLE, "yes" if group else "no")
        access = private.Access(group=group)
        self.ledger.set_mode(access.file)
        for lock in (self._lock, self._out_lock):
            if lock is not None:
                private.set_mode(lock, 0o600)
        for folder in (self.out, self.ledger_folder):
            if asked is not None or folder in self._made:
                private.set_mode(folder, access.folder)
        for path in self._results():
            private.set_mode(path, access.file)
        if (self.out / MASKS / MASKS_MARK).exists() and (self.out / MASKS).stat().st_mode & 0o777 != access.folder:
            for path in (*(self.out / MASKS).rglob("*"), self.out / MASKS):  # the folder last: a kill costs none
                private.set_mode(path, access.folder if path.is_dir() else access.file)
        return access

    def _locked(self, path: Path) -> int:
        if (descriptor := take_lock(path)) is None:
            raise OutputError(f"Another lits-deploy is writing to {self.out}.", fix="wait for it, or --out elsewhere")
        return descriptor

    def _results(self) -> list[Path]:
        tables = [table.path(self.out, kind) for kind in FORMATS for table in ALL]
        return [*tables, *(self.out / name for name in (RUN_JSON, REPORT, DRIFT))]

    def _ledger_elsewhere(self) -> bool:
        """Whether the results that lie here are of a run whose ledger does not, as far as its run.json tells."""
        if (self.ledger_folder / FILE_NAME).exists():
            return False
        try:
            options = read_run_json(self.out / RUN_JSON).get("options")
        except OutputError:
            return False
        return isinstance(options, dict) and options.get("ledger") is not None

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


def short(value: Any) -> str:
    """A value for a message; a SHA-256 by its first 12 digits."""
    text = "default" if value is None else str(value)
    return text[:12] if len(text) == 64 else text
