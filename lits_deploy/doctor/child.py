"""Checks in processes of their own: one that hangs, or dies with its library, costs its row and no more.

A `ChildJob` names a function that returns checks. `run` starts a Python for each, all at once, and collects their
rows; where one says nothing, a row says how it ended. The function is called with the job's arguments in a process that
has our import path, less the current folder.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired
from typing import Any

from lits_deploy.doctor.check import Check, Section, failed
from lits_deploy.machine import import_path

SECONDS = 30.0
"""Longest that one check may take: importing CUDA from a cold disk of an edge box takes ten."""

_MARK = "lits-deploy doctor says: "  # libraries print what they like to standard output
_BOOT = """
import json, sys
function, arguments, sys.path[:] = json.loads(sys.argv[1])
from lits_deploy.doctor.child import answer
answer(function, arguments)
"""
_SIGNALS = {
    "SIGILL": "illegal instruction: the library was built for a newer processor",
    "SIGSEGV": "it crashed",
    "SIGBUS": "it crashed: a file or the memory behind it is gone",
    "SIGABRT": "the library gave up",
    "SIGKILL": "killed from outside, most often for memory",
}


@dataclass(frozen=True)
class ChildJob:
    """One process: `function` is `module:function`, called with `arguments` (plain JSON values).

    section: of its rows. name, fix: of the row that stands for it if it dies or hangs. seconds: how long it may take.
    """

    section: Section
    name: str
    function: str
    fix: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    seconds: float = SECONDS


def run(jobs: Sequence[ChildJob]) -> list[Check]:
    """The checks of all jobs, in their order; returns when the last has ended or its time is up."""
    running: list[Popen[bytes]] = []
    with ThreadPoolExecutor(max(1, len(jobs))) as pool:
        try:
            for job in jobs:
                running.append(_start(job))
            found = zip(jobs, pool.map(_collect, jobs, running), strict=True)
            return [replace(check, section=job.section) for job, checks in found for check in checks]
        finally:  # Ctrl-C: the threads end with their processes
            _end(running)


def answer(function: str, arguments: dict[str, Any]) -> None:
    """In the child: call the function and print its checks, or why there are none."""
    module, _, name = function.partition(":")
    said: list[dict[str, Any]] | str
    try:
        said = [check.to_json() for check in getattr(importlib.import_module(module), name)(**arguments)]
    except Exception as error:  # the row says so
        said = failed(error)
    print(f"\n{_MARK}{json.dumps(said)}", flush=True)


def _start(job: ChildJob) -> Popen[bytes]:
    order = json.dumps((job.function, job.arguments, import_path()))
    # -I: neither PYTHON… variables nor the current folder, where a numpy.py of the user's might lie.
    command = [sys.executable, "-I", "-X", f"utf8={sys.flags.utf8_mode}", "-c", _BOOT, order]
    # A session of its own, so that what it starts can be ended with it.
    return Popen(command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, start_new_session=True, cwd="/")


def _collect(job: ChildJob, process: Popen[bytes]) -> list[Check]:
    try:
        out, err = (text.decode(errors="replace") for text in process.communicate(timeout=job.seconds))
    except TimeoutExpired:
        _end([process])
        with suppress(TimeoutExpired):  # one that hangs in the kernel (a dead network disk) does not end
            process.communicate(timeout=0.5)
        said = f"no answer within {job.seconds:g} s"
    else:
        last = f": {err.strip().splitlines()[-1].strip()[:200]}" if err.strip() else ""
        answers = [line for line in out.splitlines() if line.startswith(_MARK)]
        said = json.loads(answers[-1][len(_MARK) :]) if answers else _ending(process.returncode) + last
    return [Check(job.name, "broken", said, job.fix)] if isinstance(said, str) else [Check(**row) for row in said]


def _ending(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}"
    name = next((one.name for one in signal.Signals if one == -code), f"signal {-code}")
    return f"its process died of {name}" + (f" ({_SIGNALS[name]})" if name in _SIGNALS else "")


def _end(processes: Sequence[Popen[bytes]]) -> None:
    """Kill what still runs, and what it started."""
    for process in processes:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
