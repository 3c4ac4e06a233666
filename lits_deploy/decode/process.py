"""One decode process as an operating-system thing: its start, its pipes, its end.

`subprocess` rather than `multiprocessing`: the child imports numpy, Pillow and one of our modules, not the caller's
`__main__`; it starts in 0.2 s, and a user's script needs no `if __name__ == "__main__"`. It gets the parent's import
path, less the current folder, where a `train.py` of the user's might lie.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from lits_deploy.decode.settings import DecodeSettings
from lits_deploy.machine import import_path

_BOOT = """
import json, sys
settings = json.loads(sys.argv[1])
sys.path[:] = settings["import_path"]
from lits_deploy.decode.worker import main
main(settings)
"""
_STDERR_KEPT = 4096


def _setup(settings: DecodeSettings, fd: int, slots: int) -> str:
    """What a worker gets when it starts, as `decode.worker.main` reads it."""
    return json.dumps(
        {
            "contract": settings.contract.to_json(),
            "memory_fd": fd,
            "slots": slots,
            "limit_bytes": settings.memory_limit_mib << 20,
            "preload": settings.preload,
            "within": settings.within,
            "reading": settings.reading.to_json(),
            "parent": os.getpid(),
            "import_path": import_path(),
        }
    )


class WorkerProcess:
    """A running worker; `out` and `err` are descriptors to wait on. fd, slots: its memory, and how many slices that
    holds; files: what else it inherits."""

    def __init__(self, settings: DecodeSettings, fd: int, slots: int, files: Sequence[int] = ()) -> None:
        one_thread = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
        # -I: neither PYTHON… variables nor the current folder; UTF-8 mode as here, so that file names mean the same.
        command = [sys.executable, "-I", "-X", f"utf8={sys.flags.utf8_mode}", "-c", _BOOT, _setup(settings, fd, slots)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[fd, *files],
            start_new_session=True,  # out of reach of Ctrl-C and Ctrl-Z
            env=os.environ | one_thread,
            cwd="/",
        )
        streams = self._process.stdin, self._process.stdout, self._process.stderr
        self._in, out, err = (stream for stream in streams if stream is not None)
        self._streams = (self._in, out, err)
        self.out, self.err = out.fileno(), err.fileno()
        for fd in (self.out, self.err):
            os.set_blocking(fd, False)
        self._line = b""
        self._said = b""

    def send(self, message: dict[str, Any]) -> None:
        """One message, which goes with the next `flush`; lost if the process is dead, which its pipe will tell."""
        with suppress(BrokenPipeError):
            self._in.write(json.dumps(message).encode() + b"\n")

    def flush(self) -> None:
        """Let the messages go, in one write: each may wake the worker on a core that computes."""
        with suppress(BrokenPipeError):
            self._in.flush()

    def receive(self) -> list[dict[str, Any]] | None:
        """The messages that have come; None at the end of the process. ValueError for anything but messages."""
        try:
            block = os.read(self.out, 1 << 16)
        except BlockingIOError:
            return []
        if not block:
            return None
        *lines, self._line = (self._line + block).split(b"\n")
        return [json.loads(line) for line in lines]

    def read_err(self) -> bool:
        """Keep the end of what the process printed; False when there will be no more."""
        try:
            block = os.read(self.err, 1 << 16)
        except BlockingIOError:
            return True
        self._said = (self._said + block)[-_STDERR_KEPT:]
        return bool(block)

    @property
    def said(self) -> str:
        """The end of what the process printed to standard error."""
        return self._said.decode(errors="replace").strip()

    def kill(self) -> str:
        """End the process now; how it ended, in words. After this it writes to no slot.

        A process that hangs in the kernel (a dead network disk) cannot be waited for; it will run no more of our code.
        """
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=1)
        code = self._process.returncode
        return "no answer" if code is None else f"signal {-code}" if code < 0 else f"exit code {code}"

    def close(self) -> None:
        """Close the pipes of a killed process."""
        for stream in self._streams:
            with suppress(OSError):  # a message that it never took
                stream.close()
