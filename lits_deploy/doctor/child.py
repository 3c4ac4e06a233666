"""Checks in processes of their own: one that hangs, or dies with its library, costs its row and no more.

A `Job` names a function that returns checks. `run` starts a Python for each, all at once, and collects what they say;
where one says nothing, a row says how it ended. The function is called with the job's arguments in a process that has
our import path, less the current folder.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from lits_deploy.doctor.check import Check, Section, first_line
from lits_deploy.machine import import_path

_MARK = "lits-deploy doctor says: "  # libraries print what they like to standard output
_BOOT = """
import json, sys
order = json.loads(sys.argv[1])
sys.path[:] = order["import_path"]
from lits_deploy.doctor.child import answer
answer(order)
"""
_SIGNALS = {
    "SIGILL": "illegal instruction: the library was built for a newer processor",
    "SIGSEGV": "it crashed",
    "SIGBUS": "it crashed: a file or the memory behind it is gone",
    "SIGABRT": "the library gave up",
    "SIGKILL": "killed from outside, most often for memory",
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """One process: `function` is `module:function`, called with `arguments` (plain JSON values).

    section, name, fix: of the row that stands for it if it dies or hangs. seconds: how long it may take.
    """

    section: Section
    name: str
    function: str
    arguments: dict[str, Any] = field(default_factory=dict)
    fix: str | None = None
    seconds: float = 30.0


def run(jobs: Sequence[Job]) -> list[Check]:
    """The checks of all jobs, in their order; returns when the last has ended or its time is up."""
    running: list[subprocess.Popen[bytes]] = []
    try:
        for job in jobs:
            running.append(_start(job))
        with ThreadPoolExecutor(max(1, len(jobs))) as pool:
            try:
                return [check for checks in pool.map(_collect, jobs, running) for check in checks]
            except BaseException:  # Ctrl-C: the threads end with their processes
                _end(running)
                raise
    finally:
        _end(running)


def answer(order: dict[str, Any]) -> None:
    """In the child: call the function and print its checks."""
    module, _, function = order["function"].partition(":")
    try:
        checks = getattr(importlib.import_module(module), function)(**order["arguments"])
    except Exception as error:  # the row says so
        found = f"the check itself failed: {type(error).__name__}: {first_line(error)}"
        checks = [Check(section=order["section"], name=order["name"], state="broken", found=found, fix=order["fix"])]
    print(f"\n{_MARK}{json.dumps([check.to_json() for check in checks])}", flush=True)


def _start(job: Job) -> subprocess.Popen[bytes]:
    order = {"import_path": import_path(), **asdict(job)}
    # -I: neither PYTHON… variables nor the current folder, where a numpy.py of the user's might lie.
    command = [sys.executable, "-I", "-X", f"utf8={sys.flags.utf8_mode}", "-c", _BOOT, json.dumps(order)]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # so that what it starts can be ended with it
        cwd="/",
    )


def _collect(job: Job, process: subprocess.Popen[bytes]) -> list[Check]:
    try:
        out, err = process.communicate(timeout=job.seconds)
    except subprocess.TimeoutExpired:
        _end([process])
        return [_stands_for(job, f"no answer within {job.seconds:g} s")]
    for line in reversed(out.decode(errors="replace").splitlines()):
        if line.startswith(_MARK):
            return [Check(**values) for values in json.loads(line[len(_MARK) :])]
    said = err.decode(errors="replace").strip().splitlines()
    last = f": {said[-1].strip()[:200]}" if said else ""
    return [_stands_for(job, f"{_how_it_ended(process.returncode)}{last}")]


def _stands_for(job: Job, found: str) -> Check:
    return Check(section=job.section, name=job.name, state="broken", found=found, fix=job.fix)


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}"
    with suppress(ValueError):
        name = signal.Signals(-code).name
        return f"its process died of {name}" + (f" ({_SIGNALS[name]})" if name in _SIGNALS else "")
    return f"its process died of signal {-code}"


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Kill what still runs, and what it started.

    A process that hangs in the kernel (a dead network disk) cannot be waited for.
    """
    for process in processes:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=1)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
