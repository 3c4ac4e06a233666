"""Python code of ours in a fresh process, and what that process took.

Peak memory is VmHWM of /proc/self/status, which starts anew with the program. `ru_maxrss` would not do: Linux hands it
down from the process that starts another, so a child of a 1 GB benchmark would never seem to need less than 1 GB.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from lits_deploy.errors import UserError

ROOT = Path(__file__).resolve().parent.parent

_START = """
import sys
sys.path[0] = sys.argv[1]  # our packages, not what lies in the user's current folder
from benchmarks.fresh import run_child
run_child(sys.argv[2])
"""

_RESULT = "lits-deploy-result "


class ChildError(UserError):
    """A fresh process failed."""


def run_fresh(module: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Call `module.child(spec)` in a new interpreter; returns what that returns.

    The spec's threads are also set as OMP_NUM_THREADS, so that no library starts more. `process_s`, the wall time from
    start to end of the process, is added. Raises ChildError.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(spec["threads"])}
    command = [sys.executable, "-c", _START, str(ROOT), module]
    started = time.perf_counter()
    done = subprocess.run(
        command, input=json.dumps(spec), capture_output=True, text=True, errors="replace", env=environment, check=False
    )
    seconds = time.perf_counter() - started
    for line in reversed(done.stdout.splitlines()):
        if line.startswith(_RESULT):
            result: dict[str, Any] = json.loads(line.removeprefix(_RESULT))
            if "user_error" in result:
                raise ChildError(result["user_error"])
            return {**result, "process_s": seconds}
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    why = f"killed by signal {-done.returncode} (out of memory?)" if done.returncode < 0 else last
    raise ChildError(f"a fresh process failed: {why}")


def run_child(module: str) -> None:
    """The whole of a fresh process; a user's error goes back as one."""
    try:
        result = importlib.import_module(module).child(json.load(sys.stdin))
    except UserError as error:
        result = {"user_error": str(error)}
    print(_RESULT + json.dumps(result), flush=True)
