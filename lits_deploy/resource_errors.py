"""What a machine runs out of, told apart: disk, open files, memory (a GPU's too), threads, and a ledger gone wrong.

Libraries raise these from any line, so they are turned into our errors in one place: `cli` does it for a command,
`watch` for a run. What is not known here is a bug.
"""

from __future__ import annotations

import errno
import os
import re
import resource
import sys
from types import TracebackType

from lits_deploy.errors import DeviceError, DeviceOutOfMemory, MachineError, OutputError, UserError
from lits_deploy.printable import printable

_NO_THREAD = ("can't start new thread", "Resource temporarily unavailable")
_DEVICE_FULL = ("CUDA out of memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
"""In PyTorch's messages; the last is cuBLAS's and cuDNN's."""
_ASKED = r"(?:requested|tried to allocate)\D{0,40}(\d[\d.]*) ?([KMG]iB)?"
_FREE = r"(?:available(?: memory of)?|of which) (\d[\d.]*) ?([KMG]iB)?"
"""What ONNX Runtime, PyTorch, TensorRT and `trt.bindings` say of memory that they did not get."""
_BUGS_OF_SQL = ("syntax error", "no such column", "has no column", "values for")
"""In messages of SQLite that come of our code, not of the file."""


def as_user_error(error: BaseException) -> UserError | None:
    """The error that says what to do about it, or None for a bug."""
    if isinstance(error, UserError):
        return _of_import(error.__cause__) or error  # a library that only seems to be missing
    if isinstance(error, OSError):
        return _of_system(error)
    if isinstance(error, MemoryError):
        return _memory()
    if isinstance(error, RuntimeError) and any(text in str(error) for text in _NO_THREAD):
        return _processes()
    if isinstance(error, DeviceOutOfMemory) or device_is_full(error):
        return no_room("this command", error)
    return _of_ledger(error) or _of_import(error)


def device_is_full(error: BaseException) -> bool:
    """True for PyTorch's ways to say that the GPU has no memory left."""
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _DEVICE_FULL)


def no_room(what: str, error: BaseException, *, free: int | None = None, fix: str = "") -> DeviceError:
    """The end where a device has no memory for `what`: how much was asked for and is missing, as far as that is known.

    error: the library's, or a DeviceOutOfMemory with its words; free: bytes that the device has now.
    """
    text = " ".join(str(error).split())
    asked, left = _bytes(_ASKED, text), _bytes(_FREE, text)
    left = free if left is None else left
    if asked is None:
        why = text[:200] if left is None else f"{_size(left)} free; {text[:200]}"
    elif left is None or left >= asked:  # in pieces, or others have given theirs back since
        why = f"{_size(asked)} more did not fit"
    else:
        why = f"{_size(asked)} more did not fit into {_size(left)}: {_size(asked - left)} missing"
    ways = "other programs off the device, a smaller --batch-size, another --artifact, or --device cpu"
    return DeviceError(f"The device has no memory left for {what} ({why}).", fix=fix or ways)


def _bytes(pattern: str, text: str) -> int | None:
    found = re.search(pattern, text, re.IGNORECASE)
    return int(float(found[1].rstrip(".")) * 1024 ** " KMG".index((found[2] or " ")[0].upper())) if found else None


def _size(number: int) -> str:
    return f"{number / 2**20:,.0f} MiB" if number >= 1 << 20 else f"{number:,} bytes"


def _of_system(error: OSError) -> UserError | None:
    """Without the path, which may be a scan's."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return _files()
    if error.errno == errno.ENOMEM:
        return _memory()
    if error.errno == errno.EAGAIN and _raised_in(error.__traceback__, "subprocess.py"):
        return _processes()
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError("The disk is full.", fix="make room, and run the same command again")
    if error.errno == errno.EROFS:
        return OutputError("The disk is read-only.", fix="mount it writable, or --out elsewhere")
    if error.errno == errno.EIO:
        return OutputError("The disk does not answer (I/O error).", fix="check the disk or its network")
    return None


def _of_ledger(error: BaseException) -> UserError | None:
    sqlite3 = sys.modules.get("sqlite3")  # loaded, if it raised this
    if sqlite3 is None or not isinstance(error, sqlite3.DatabaseError):
        return None
    text = printable(str(error))
    if "unable to open" in text and _no_descriptor_left():
        return _files()
    if "locked" in text:
        return OutputError(f"The ledger is locked ({text}).", fix="end the other program that has it open")
    if "readonly" in text:
        return OutputError(f"The ledger is read-only ({text}).", fix="give this user the folder, or --out elsewhere")
    if "full" in text:
        return OutputError(f"No room for the ledger ({text}).", fix="make room, and run the same command again")
    if "malformed" in text or "not a database" in text or "no such table" in text:
        return OutputError(f"The ledger is damaged ({text}).", fix="--overwrite, or --out elsewhere: it is made anew")
    ours = isinstance(error, sqlite3.ProgrammingError | sqlite3.IntegrityError | sqlite3.NotSupportedError)
    if ours or any(part in text for part in _BUGS_OF_SQL):
        return None
    return OutputError(f"The ledger cannot be used ({text}).", fix="--ledger FOLDER on a local disk")


def _of_import(error: BaseException | None) -> UserError | None:
    """A library that would load, were there another descriptor or more memory."""
    if not isinstance(error, ImportError):
        return None
    text = str(error)
    if os.strerror(errno.EMFILE) in text or _no_descriptor_left():
        return _files()
    lacks = any(part in text for part in (os.strerror(errno.ENOMEM), "failed to map segment", "bad_alloc"))
    return _memory() if lacks else None


def _files() -> MachineError:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MachineError(
        f"Too many files are open: {limit:,} are allowed.",
        fix="`ulimit -n 1024` (in a unit LimitNOFILE=), or fewer --workers",
    )


def _memory() -> MachineError:
    return MachineError("There is no memory left.", fix="a smaller --batch-size, fewer --workers or other programs")


def _processes() -> MachineError:
    return MachineError(
        "No further thread or process can be started.",
        fix="`ulimit -u` (in a unit TasksMax=, in a container --pids-limit) higher, or fewer --workers and --threads",
    )


def _no_descriptor_left() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)
    return False


def _raised_in(traceback: TracebackType | None, file: str) -> bool:
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback is not None and traceback.tb_frame.f_code.co_filename.endswith(f"/{file}")
