"""Everything that this project says of GPUs, checked and timed on the one at hand; `scripts/gpu_check.sh` runs it.

    python -m benchmarks.gpu_check [--only PART …] [--wheels DIR] [--data DATA] [--out DIR] [--dry-run]
    python -m benchmarks.gpu_check --list | --table

For a bare machine: Python, PyTorch and torchvision are enough for the parts that come first; the rest takes what is
installed or lies as wheels in DIR. Each part is a process of its own, killed at its time limit (all of them together:
eight minutes), and keeps its record, DIR/<part>.json, after every step, so a run that is cut loses nothing.

Networks have random weights: speeds do not depend on them. Each answer is held against that of the original, PyTorch
in FP32 on the CPU, before anything is timed; one that differs is a row without a speed. Candidates take turns
(`benchmarks.latency`). What accuracy a precision costs is another question (`lits-deploy export`, `benchmark`).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.fresh import ROOT
from benchmarks.gpu_table import read, table
from benchmarks.machine import busy_notes, describe_machine, machine_name
from lits_deploy import DISCLAIMER, nvidia
from lits_deploy.errors import DeviceError, MissingExtra, UserError
from lits_deploy.files import write_json, write_text
from lits_deploy.printable import say
from lits_deploy.program import run_program

RESULTS = Path(__file__).parent / "results"

MINUTES = 8
"""All limits together."""


@dataclass(frozen=True, kw_only=True)
class CheckPart:
    """A function of `gpu_parts`. limit_s: after which it is killed; needs: modules, from wheels or installed."""

    name: str
    limit_s: int
    what: str
    needs: tuple[str, ...] = ("torch", "torchvision")

    @property
    def function(self) -> str:
        """Named as the part is, but for what would stand for something else there."""
        return {"torch": "in_torch", "compile": "compiled"}.get(self.name, self.name)


_ONNX = ("torch", "torchvision", "onnx", "onnxscript")

PARTS = (
    CheckPart(name="slices", limit_s=40, what="phantoms for the other parts (without --data)", needs=()),
    CheckPart(name="machine", limit_s=20, what="the GPU; matrix products and copies"),
    CheckPart(name="torch", limit_s=60, what="PyTorch: eager FP32, FP16 in channels_last"),
    CheckPart(name="training", limit_s=85, what="epochs of ResNet18 and U-Net"),
    CheckPart(name="folder", limit_s=45, what="files to slices.csv through PyTorch"),
    CheckPart(name="compile", limit_s=60, what="torch.compile"),
    CheckPart(name="wheels", limit_s=20, what="unpack --wheels for the parts below", needs=("pip",)),
    CheckPart(name="rtx", limit_s=50, what="TensorRT for RTX", needs=(*_ONNX, "cuda", "tensorrt_rtx_bindings")),
    CheckPart(name="cuda", limit_s=30, what="ONNX Runtime's CUDA provider", needs=(*_ONNX, "onnxruntime")),
    CheckPart(name="tensorrt", limit_s=40, what="TensorRT", needs=(*_ONNX, "cuda", "tensorrt")),
    CheckPart(name="tests", limit_s=30, what="tests marked gpu or tensorrt", needs=("pytest",)),
)
"""In the order in which they run."""

ON_CPU = {"cuda", "tensorrt", "tensorrt_rtx_bindings"}
"""What a dry run does without: ONNX Runtime on the CPU takes its place."""


def main(arguments: list[str] | None = None) -> int:
    """The command line: 1 where a part failed, was cut or gave a wrong answer. Raises DeviceError without a GPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description=__doc__.partition("\n")[0])
    names = [part.name for part in PARTS]
    parser.add_argument("--only", action="append", choices=names, metavar="PART", help="this one; may be repeated")
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="wheels that parts may use")
    parser.add_argument("--data", type=Path, help="slices in the training layout, in place of phantoms")
    parser.add_argument("--out", type=Path, metavar="DIR", help="[$OUT, else benchmarks/results/<gpu>]")
    parser.add_argument("--dry-run", action="store_true", help="walk through it on the CPU, with tiny sizes")
    parser.add_argument("--list", action="store_true", help="the parts and their time limits")
    parser.add_argument("--table", action="store_true", help="only draw the table of the records in --out")
    parser.add_argument("--child", choices=names, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.list:
        say(*(f"{part.name:<9} {part.limit_s:>3} s  {part.what}" for part in PARTS))
        return 0
    if given.child:
        return _child(next(part for part in PARTS if part.name == given.child), given)
    out = (given.out or Path(os.environ.get("OUT") or RESULTS / machine_name(describe_machine()))).absolute()
    if not given.table:
        if not given.dry_run and not nvidia.gpu_here():
            raise DeviceError("gpu_check needs an NVIDIA GPU, and there is none here.", fix="--dry-run, or elsewhere")
        _run_all(_chosen(given), out, given)
    records = read(out)
    lines = table(records)
    say(*lines)
    if not given.table:
        write_text(out / "table.md", "\n".join(lines) + "\n")
        say(f"wrote {out}")
    wrong = [row for record in records.values() for row in record.get("rows", ()) if row["error"]]
    return 1 if wrong or any(record.get("error") for record in records.values()) else 0


def _chosen(given: argparse.Namespace) -> list[CheckPart]:
    """The parts to run, in order. Phantoms and wheels come along with what may need them."""
    wanted = set(given.only or (part.name for part in PARTS)) | {"slices"}
    if given.data is not None:
        wanted.discard("slices")
    (wanted.discard if given.wheels is None else wanted.add)("wheels")
    return [part for part in PARTS if part.name in wanted]


def _run_all(parts: Sequence[CheckPart], out: Path, given: argparse.Namespace) -> None:
    out.mkdir(parents=True, exist_ok=True)
    about = describe_machine()
    slower = 5 if given.dry_run else 1  # a CPU that others use, too
    deadline = perf_counter() + 60 * MINUTES * slower
    with tempfile.TemporaryDirectory(prefix="lits-gpu-check-", ignore_cleanup_errors=True) as work:
        for part in parts:
            (out / f"{part.name}.json").unlink(missing_ok=True)  # of an earlier run
            _run(part, out, Path(work), given, min(part.limit_s * slower, deadline - perf_counter()), about)


def _run(
    part: CheckPart, out: Path, work: Path, given: argparse.Namespace, limit: float, about: dict[str, Any]
) -> None:
    """One part in a process of its own; whatever becomes of it, its record says so."""
    say(f"== {part.name}: {part.what} (at most {max(0.0, limit):.0f} s)")
    options = ["--child", part.name, "--out", str(out), "--work", str(work)]
    options += ["--dry-run"] if given.dry_run else []
    for name in ("wheels", "data"):
        if (path := getattr(given, name)) is not None:
            options += [f"--{name}", str(path.absolute())]
    path = [str(work / "wheels"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    started, problem = perf_counter(), None
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.gpu_check", *options],
        cwd=ROOT,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
    )
    try:
        code = process.wait(max(0.0, limit))
        problem = None if code == 0 else f"ended with exit code {code}"
    except subprocess.TimeoutExpired:
        problem = f"cut after {max(0.0, limit):.0f} s"
    finally:
        with suppress(ProcessLookupError):  # what it started must not disturb the next one
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    record = read(out).get(part.name, {})
    head = {"schema": 2, "part": part.name, "order": PARTS.index(part), "disclaimer": DISCLAIMER, "machine": about}
    head |= {"notes": busy_notes(about), "dry_run": given.dry_run, "weights": "random"}
    end = {"error": record.get("error") or problem, "seconds": perf_counter() - started, "limit_s": limit}
    write_json(out / f"{part.name}.json", {**head, **record, **end})


def _child(part: CheckPart, given: argparse.Namespace) -> int:
    """The part itself. What is missing is `skipped`; what fails is an error, and a traceback where it is a bug."""
    record: dict[str, Any] = {}

    def keep(values: dict[str, Any]) -> None:
        record.update(values)
        write_json(given.out / f"{part.name}.json", record)

    def skip(why: str) -> int:
        keep({"skipped": why})
        say(f"{part.name}: {why}")
        return 0

    lacking = "missing: install it, or put its wheel into --wheels DIR"
    missing = [name for name in part.needs if not (given.dry_run and name in ON_CPU) and not _there(name)]
    if missing:
        return skip(f"{', '.join(missing)} {lacking}")
    try:
        from benchmarks import gpu_parts

        have = gpu_parts.Given(
            sizes=gpu_parts.DRY if given.dry_run else gpu_parts.FULL,
            work=given.work,
            data=given.data or given.work / "phantoms",
            wheels=given.wheels,
            keep=keep,
        )
        getattr(gpu_parts, part.function)(have)
    except MissingExtra as error:
        return skip(str(error))
    except UserError as error:
        keep({"error": str(error)})
        raise
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("lits_deploy", "train", "export", "benchmarks"):
            raise
        return skip(f"{error.name} {lacking}")
    except Exception as error:
        keep({"error": f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:300]}"})
        raise
    return 0


def _there(module: str) -> bool:
    with suppress(ImportError, ValueError):
        return importlib.util.find_spec(module) is not None
    return False


if __name__ == "__main__":
    run_program(main)
