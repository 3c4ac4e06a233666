"""Everything that this project says of GPUs, checked and timed on the GPU at hand; `scripts/gpu_check.sh` runs it.

    python -m benchmarks.gpu_check [--out FILE.json] [--networks resnet18,resnet50,unet] [--batches 1,8,32,128]

Networks have random weights: speeds do not depend on them, and no data need be there. Each answer is held against the
original's on the CPU before anything is timed; one that differs is a row without a speed. What accuracy a precision
costs is another question (`lits-deploy export`, `lits-deploy benchmark`). Candidates take turns (`benchmarks.latency`).
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.gpu_rows import EFFORT, Row, check_network
from benchmarks.machine import busy_notes, describe_machine, processor_ticks, stolen_share
from lits_deploy import DISCLAIMER, nvidia
from lits_deploy.backends import places
from lits_deploy.errors import DeviceError, MissingExtra
from lits_deploy.files import write_json
from lits_deploy.printable import say, say_error
from lits_deploy.program import run_program
from lits_deploy.trt import bindings
from lits_deploy.trt.cache import ENVIRONMENT
from lits_deploy.trt.flavour import installed

NETWORKS, BATCHES = ("resnet18", "resnet50", "unet"), (1, 8, 32, 128)

RESULTS = Path(__file__).parent / "results"


def lines(document: dict[str, Any]) -> list[str]:
    """The rows as a Markdown table."""
    gpu = document["gpu"]
    text = [
        f"{gpu['name']}, compute capability {gpu['compute_capability']}, driver {gpu['driver']}, CUDA {gpu['cuda']}",
        "",
        "| network | batch | runtime | precision | p50 ms | p95 ms | slices/s | max \\|Δp\\| |",
        "|:--|--:|:--|:--|--:|--:|--:|--:|",
    ]  # fmt: skip
    for row in document["rows"]:
        start = f"| {row['network']} | {row['batch']} | {row['runtime']} | {row['precision']} |"
        if row["error"] is not None:
            text.append(f"{start} {row['error'].replace('|', '/')[:160]} | | | |")
            continue
        p50, p95 = (row["latency_ms"].get(name) for name in ("p50", "p95"))
        shown = [f"{value:.3f}" if value is not None else "–" for value in (p50, p95)]
        text.append(f"{start} {shown[0]} | {shown[1]} | {row['slices_per_second']:,.0f} | {row['max_delta']:.1e} |")
    return [*text, "", *(f"note: {note}" for note in document["notes"]), DISCLAIMER]


def main(arguments: list[str] | None = None) -> int:
    """The command line: 1 where an answer was wrong or something failed. Raises DeviceError without a GPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description=__doc__.partition("\n")[0])
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--batches", type=_numbers, default=BATCHES, metavar="N,N")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="[benchmarks/results/<gpu>.json]")
    parser.add_argument("--probe", action="store_true", help="only say whether there is a GPU")
    given = parser.parse_args(arguments)
    if not nvidia.gpu_here():
        raise DeviceError("gpu_check needs an NVIDIA GPU, and there is none here.", fix="run it where there is one")
    gpu = bindings.open_cuda().describe(0)
    if given.probe:
        say(f"{gpu.name}, compute capability {gpu.compute_capability}, driver {gpu.driver}")
        return 0
    try:
        from benchmarks.peers.random_networks import make_subject
    except ImportError as error:
        if (error.name or "").split(".")[0] in ("lits_deploy", "train", "export", "benchmarks"):
            raise
        raise MissingExtra(str(error.name), "export") from error
    machine, ticks = describe_machine(), processor_ticks()
    on_gpu = [(runtime, device) for runtime, device in _places() if device != "cpu"]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="lits-gpu-check-") as folder:
        os.environ.setdefault(ENVIRONMENT, f"{folder}/engines")  # nobody needs these engines again
        for name in given.networks.split(","):
            subject = make_subject(name, Path(folder), on_gpu, device="cuda:0", slices=max(given.batches))
            rows += check_network(subject, given.batches, say=say_error)
    machine["stolen_share"] = stolen_share(ticks, processor_ticks())
    document = {
        "schema": 1, "disclaimer": DISCLAIMER, "gpu": asdict(gpu), "machine": machine, "rows": rows,
        "settings": {"effort": asdict(EFFORT), "weights": "random", "interleaved": True},
        "notes": busy_notes(machine, machine["stolen_share"]),
    }  # fmt: skip
    out = given.out or RESULTS / f"gpu-{re.sub(r'[^a-z0-9]+', '-', gpu.name.lower()).strip('-')}.json"
    write_json(out, document)
    say(*lines(document))
    say(f"wrote {out}")
    return 1 if any(row["error"] for row in rows) else 0


def _numbers(text: str) -> tuple[int, ...]:
    """`1,8` → (1, 8); argparse turns the ValueError into its own line."""
    numbers = tuple(int(part) for part in text.split(","))
    if min(numbers) < 1:
        raise ValueError
    return numbers


def _places() -> list[tuple[str, str]]:
    """Those of daily use, and TensorRT wherever it is installed: whether it runs here is what is to be found out."""
    found: list[tuple[str, str]] = []
    with suppress(MissingExtra):
        found = places()
    tensorrt = ("tensorrt", "cuda:0")
    return found if tensorrt in found or not installed() else [*found, tensorrt]


if __name__ == "__main__":
    run_program(main)
