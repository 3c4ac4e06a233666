"""A process of ours (`sharding.worker`, `ray_driver`) as an operating-system thing: its start, its pipes, its end."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from lits_deploy.machine import import_path

_BOOT = """
import json, os, sys
stream = os.fdopen(os.dup(0), "rb")
document = json.loads(stream.readline())
sys.path[:] = document["import_path"]
from {} import main
main(document, stream)
"""
_STDERR_KEPT = 4096
_END_S, _LEAVE_S = 5.0, 1.0


def command(module: str = "lits_deploy.sharding.worker") -> list[str]:
    """Starts a module's `main`: without PYTHON… variables and current folder, its file names in our encoding."""
    return [sys.executable, "-I", "-X", f"utf8={sys.flags.utf8_mode}", "-c", _BOOT.format(module)]


class Child:
    """A running worker; `out` and `err` are descriptors to wait on, None once they have ended."""

    def __init__(self, start: Mapping[str, Any], command: Sequence[str]) -> None:
        """start: a `messages.Start` as JSON. What is in it (a salt) is seen by nobody who lists processes."""
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # out of reach of Ctrl-C and Ctrl-Z
            cwd="/",
        )
        streams = self._process.stdin, self._process.stdout, self._process.stderr
        self._in, self._out, self._err = (stream for stream in streams if stream is not None)
        self.out: int | None = self._out.fileno()
        self.err: int | None = self._err.fileno()
        for descriptor in (self.out, self.err):
            os.set_blocking(descriptor, False)
        self._line = self._said = b""
        self.send({**start, "import_path": import_path(), "parent": os.getpid()})

    def send(self, message: Mapping[str, Any]) -> None:
        """One message; lost if the process is dead, which its pipe will tell."""
        with suppress(BrokenPipeError):
            self._in.write(json.dumps(message).encode() + b"\n")
            self._in.flush()

    def receive(self) -> list[dict[str, Any]]:
        """The messages that have come; `out` is None after the last."""
        assert self.out is not None
        try:
            block = os.read(self.out, 1 << 16)
        except BlockingIOError:
            return []
        if not block:
            self.out = None
        *lines, self._line = (self._line + block).split(b"\n")
        return [json.loads(line) for line in lines]

    def read_err(self) -> None:
        """Keep the end of what the process printed; `err` is None after the last."""
        assert self.err is not None
        with suppress(BlockingIOError):
            block = os.read(self.err, 1 << 16)
            self._said = (self._said + block)[-_STDERR_KEPT:]
            self.err = self.err if block else None

    def ended(self) -> str:
        """Wait for a process whose pipe has ended; how it ended, in words, with the last line that it printed."""
        try:
            code: int | None = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = None
        while self.err is not None and self._readable():
            self.read_err()
        how = "no answer" if code is None else f"signal {-code}" if code < 0 else f"exit code {code}"
        last = self._said.decode(errors="replace").strip().rpartition("\n")[2]
        return f"{how}: {last}" if last else how

    def close(self, *, kill: bool, leave_s: float = _LEAVE_S) -> None:
        """End it, and close its pipes: at once, or when it has seen that its own ended, for which it has so long."""
        with suppress(OSError):  # a message that it never took
            self._in.close()
        if kill:
            self._process.kill()
        try:
            self._process.wait(leave_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            with suppress(subprocess.TimeoutExpired):  # it hangs in the kernel, and will run no more of our code
                self._process.wait(_END_S)
        for stream in (self._out, self._err):
            stream.close()

    def _readable(self) -> bool:
        assert self.err is not None
        return bool(select.select([self.err], [], [], 0)[0])
