"""Can results, ledger, cache and temporary files be kept where they would go? Tried in files that are then removed.

Called in a child, one for each folder, as a dead network disk hangs whoever asks it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path

from lits_deploy.doctor.check import Check, first_line
from lits_deploy.user_cache import user_cache

NETWORK = re.compile(
    r"nfs|cifs|smb|9p|ceph|lustre|afs|gpfs|beegfs|ncpfs|davfs|virtiofs|vboxsf|prl_fs"
    r"|fuse\.(sshfs|glusterfs|ceph|s3fs|rclone|gcsfuse|vmhgfs-fuse)"
)
"""File systems whose locks and shared memory are another machine's word: beginnings of names in /proc/mounts."""

LITTLE_FREE = 1 << 30
"""Bytes: a million rows of results and their ledger take about 0.6 GB."""

LOCAL_LEDGER = "classify --ledger FOLDER, on a local disk; results may stay where they are"


def out_folder(folder: str) -> list[Check]:
    """Rows for the folder of output: space, kind of file system, whether it can be written and keep a ledger; and one
    for the ledger of a run that lies there: is it what was written?"""
    try:
        existing = _existing(Path(folder))
        disk = _disk("output", folder, existing)
    except OSError as error:
        fix = "--out elsewhere, or mend the mount"
        return [Check("output", "broken", f"{folder} cannot be read: {_why(error)}", fix)]
    return [disk, *([_ledger(existing)] if disk.state != "broken" else []), *_ledger_there(Path(folder))]


def cache_folder() -> list[Check]:
    """Row for the user's cache folder: a warning where there is none, for all but engines works without."""
    fix, cache = "export XDG_CACHE_HOME=FOLDER that can be written", user_cache()
    if cache is None:
        found = "this user has no home folder: what --tune finds is not remembered, and engines need --engine-cache"
        return [Check("cache", "warning", found, fix)]
    try:
        disk = _disk("cache", str(cache), _existing(cache), fix=fix)
    except OSError as error:
        return [Check("cache", "warning", f"{cache} cannot be read ({_why(error)})", fix)]
    disk = replace(disk, found=f"{disk.found}; the place of settings and TensorRT engines")
    return [replace(disk, state="warning") if disk.state == "broken" else disk]


def temporary_folder() -> list[Check]:
    """Row for the folder of temporary files: a warning where there is none, for no run needs one."""
    fix = "export TMPDIR=FOLDER with room, that can be written"
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError:
        return [Check("temporary files", "warning", "no folder for them can be written", fix)]
    return [_disk("temporary files", folder, Path(folder), fix=fix)]


def file_system(path: Path, mounts: str | None = None) -> str:
    """Type of the file system that holds a path, by the longest mount point above it; `unknown` where none is.

    mounts: in the form of /proc/self/mounts, which is read where it is None.
    """
    try:
        text = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace") if mounts is None else mounts
    except OSError:
        return "unknown"
    real, best, kind = Path(os.path.realpath(path)), -1, "unknown"
    for line in text.splitlines():
        _, point, found, *_ = line.split(" ")
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)  # spaces are \040
        if len(point) >= best and (real == Path(point) or Path(point) in real.parents):
            best, kind = len(point), found  # of two at one point, the later hides the earlier
    return kind


def is_network(kind: str) -> bool:
    """True for file systems that another machine serves."""
    return NETWORK.match(kind) is not None


def _disk(name: str, said: str, path: Path, *, fix: str = "--out elsewhere") -> Check:
    kind, usage = file_system(path), shutil.disk_usage(path)
    found = f"{said}: {usage.free / 1e9:,.1f} of {usage.total / 1e9:,.1f} GB free, {kind}"
    details = {"free_bytes": usage.free, "total_bytes": usage.total, "file_system": kind, "network": is_network(kind)}
    row = Check(name, "ok", found, details=details)
    try:
        with tempfile.TemporaryFile(dir=path, prefix=".lits-deploy-doctor-") as stream:
            stream.write(b"\0" * 4096)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        return replace(row, state="broken", found=f"{found}; cannot be written ({_why(error)})", fix=fix)
    if usage.free < LITTLE_FREE:
        return replace(row, state="warning", found=f"{found}; little room", fix=f"make room, or {fix}")
    return row


def _ledger(path: Path) -> Check:
    """The ledger as `classify` keeps it: a lock, a database in WAL mode, rows, and the same rows when opened again."""
    kind, version = file_system(path), f"SQLite {sqlite3.sqlite_version}"
    try:
        with tempfile.TemporaryDirectory(dir=path, prefix=".lits-deploy-doctor-") as folder:
            problem = _try_ledger(Path(folder))
    except OSError as error:  # NFS keeps a removed file under another name for as long as someone has it open
        problem = f"its files cannot be handled: {_why(error)}"
    details = {"sqlite": sqlite3.sqlite_version, "file_system": kind, "wal": problem is None}
    row = Check("ledger", "ok", f"{version}: lock, WAL and reading back work on {kind}", details=details)
    if problem is not None:
        return replace(row, state="broken", found=f"{version} on {kind}: {problem}", fix=LOCAL_LEDGER)
    if is_network(kind):
        found = f"WAL worked in a trial, but {kind} is a network file system, whose locks can fail under load"
        return replace(row, state="warning", found=f"{version}: {found}", fix=LOCAL_LEDGER)
    return row


def _ledger_there(folder: Path) -> list[Check]:
    """The ledger of a run, looked at from end to end; a run may be at it meanwhile."""
    from lits_deploy.ledger import FILE_NAME
    from lits_deploy.ledger.check import examine

    if not (folder / FILE_NAME).is_file():
        return []
    try:
        found = examine(folder / FILE_NAME)
    except sqlite3.Error as error:
        found = f"cannot be read ({first_line(error)})", "doctor as the user whose runs they are"
    if found is None:
        return [Check("ledger of a run", "ok", "its pages and all its rows are what was written")]
    return [Check("ledger of a run", "broken", *found)]


def _try_ledger(folder: Path) -> str | None:
    from lits_deploy.errors import OutputError
    from lits_deploy.ledger import OK, FileRow, Ledger, SliceRow
    from lits_deploy.scans.discover import ScanRecord

    try:
        with (folder / "lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return f"a file cannot be locked ({_why(error)})"
    names = [f"{number:04d}.png" for number in range(100)]
    try:
        with Ledger(folder) as ledger:
            ledger.stage(ScanRecord(name, 1, 1) for name in names)
            ledger.adopt({"trial": True}, "/")
            for number, *_ in list(ledger.pending(len(names))):
                row = SliceRow(number, 0, OK, None, 0, 1.0, 0.0, 0.0)
                ledger.record([row], [FileRow(number, OK, None, "0" * 64, None)])
        with Ledger(folder) as ledger:
            same = [row.path for row in ledger.rows()] == names
    except OutputError as error:
        inside = re.search(r"\((.+)\)", error.message)  # its path is our temporary folder's: of no use to the reader
        return f"no ledger can be kept ({inside[1] if inside else 'refused'})"
    except sqlite3.Error as error:
        return f"no ledger can be kept ({first_line(error)})"
    return None if same else "rows written were not the rows read back"


def _existing(path: Path) -> Path:
    """The folder itself, or the nearest one above it that is there: where `mkdir` would start."""
    folder = next(one for one in (path, *path.parents) if one.exists())
    if not folder.is_dir():
        raise NotADirectoryError(20, f"{folder.name} is a file")
    return folder


def _why(error: OSError) -> str:
    return first_line(error.strerror or error)
