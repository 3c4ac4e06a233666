"""Our pipeline, a plain PyTorch script and a bare ONNX Runtime loop on one folder, side by side.

    python -m benchmarks.folder_throughput BUNDLE --against RUN --scans FOLDER [--out FILE.json]

Each candidate runs in a fresh process, all of them in every round, in an order that moves on by one each round. The
same files, network and number of threads; files are in the page cache for all alike (an untimed pass reads them).

    ours       `run_folder`, files to ledger and CSV, with its own batch size and decode workers
    plain      Dataset + DataLoader + eager, batch 32, files to CSV; the better number of workers of 1 and 2 by trial
    plain_cl   the same in channels_last memory format
    bare       `session.run` over decoded slices in memory, session load and a warm-up call outside the clock

Walls leave out the interpreter's start and the imports, alike for ours and plain, and include loading the network and
starting workers; `process` is the whole command. Steady rates leave out the first batch and everything before it.
A ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import folder
from benchmarks.folder_report import lines
from benchmarks.fresh import run_fresh
from benchmarks.machine import busy_notes, describe_machine, processor_ticks, stolen_share
from benchmarks.scans import Scans, find_scans
from lits_deploy import DISCLAIMER
from lits_deploy.bundle import Bundle
from lits_deploy.errors import BundleError, LitsError
from lits_deploy.files import write_json
from lits_deploy.pipeline.tuning import cores
from lits_deploy.runtime import RUNTIMES

SCHEMA = 1
BARE_BATCHES = (1, 8, 32)
TRIAL = 256
"""Files of the trial that picks the plain script's number of workers."""

Result = dict[str, Any]


class Comparison:
    """The candidates of one comparison and how each is run once."""

    def __init__(
        self,
        bundle: Bundle,
        run: Path,
        scans: Scans,
        threads: int,
        artifact: str | None = None,
        runtime: str = "onnxruntime",
    ) -> None:
        if bundle.manifest.task != "classify":
            raise BundleError(f"{bundle.folder} segments; this compares classifiers.", fix="export a classifier")
        self.bundle, self.run, self.scans, self.threads = bundle, run, scans, threads
        self.artifact = bundle.artifact(artifact).name
        self.runtime = runtime
        self.workers, self.batch = 1, 1
        self.trials: dict[str, float] = {}
        self._temporary = tempfile.TemporaryDirectory(prefix="lits-deploy-throughput-")

    def __enter__(self) -> Comparison:
        return self

    def __exit__(self, *error: object) -> None:
        self._temporary.cleanup()

    def ours(self, roots: list[Path] | None = None) -> Result:
        """The pipeline, on the CPU."""
        with tempfile.TemporaryDirectory(dir=self._temporary.name) as out:
            values = folder.classify_fresh(
                self.bundle, roots or self.scans.roots, Path(out) / "out", threads=self.threads,
                artifact=self.artifact, runtime=self.runtime, device="cpu",
            )  # fmt: skip
            labels = folder.read_labels(Path(out) / "out", roots or self.scans.roots)
        return {**values, "labels": [labels.get(file) for file in self.scans.files]}

    def plain(
        self, *, channels_last: bool = False, workers: int | None = None, files: list[str] | None = None
    ) -> Result:
        """The plain PyTorch script."""
        spec = {
            "run": str(self.run.resolve()), "files": files or self.scans.files, "workers": workers or self.workers,
            "out": f"{self._temporary.name}/plain.csv", "threads": self.threads, "channels_last": channels_last,
        }  # fmt: skip
        return run_fresh("benchmarks.peers.plain_pytorch_script", spec, threads=self.threads)

    def bare(self) -> Result:
        """The bare loop, at our batch size first."""
        batches = list(dict.fromkeys([self.batch, *BARE_BATCHES]))
        spec = {
            "bundle": str(self.bundle.folder.resolve()), "artifact": self.artifact, "files": self.scans.files,
            "batches": batches, "threads": self.threads,
        }  # fmt: skip
        return run_fresh("benchmarks.peers.bare_onnxruntime", spec, threads=self.threads)

    def prepare(self) -> None:
        """Read every file once, learn our batch size, and pick the plain script's workers."""
        for file in self.scans.files:
            Path(file).read_bytes()
        files = self.scans.files[:TRIAL]
        self.batch = self.ours([Path(file) for file in files])["batch"]
        for workers in (1, 2):
            self.trials[str(workers)] = self.plain(workers=workers, files=files)["slices_per_second"]
        self.workers = int(max(self.trials, key=lambda key: self.trials[key]))

    def rounds(self, count: int, say: Callable[[str], None]) -> list[Result]:
        """`count` rounds of all candidates."""
        candidates: list[tuple[str, Callable[[], Result]]] = [
            ("ours", self.ours),
            ("plain", self.plain),
            ("plain_cl", lambda: self.plain(channels_last=True)),
            ("bare", self.bare),
        ]
        done = []
        for turn in range(count):
            results: Result = {}
            first = turn % len(candidates)
            for name, start in candidates[first:] + candidates[:first]:
                say(f"round {turn + 1} of {count}: {name}")
                results[name] = start()
            done.append(results)
        return done


def ratios(results: Result, batch: int) -> dict[str, float | None]:
    """The ratios of one round's rates, ours over each peer's; see the module for what the rates contain."""
    ours, plain, fast, bare = (results[name] for name in ("ours", "plain", "plain_cl", "bare"))
    bare_same, bare_best = bare["slices_per_second"][str(batch)], max(bare["slices_per_second"].values())
    wall, steady = ours["slices_per_second"], ours["steady_slices_per_second"]
    pairs = {
        "ours_wall/plain_wall": (wall, plain["slices_per_second"]),
        "ours_process/plain_process": (ours["slices"] / ours["process_s"], plain["slices"] / plain["process_s"]),
        "ours_steady/plain_steady": (steady, plain["steady_slices_per_second"]),
        "ours_wall/plain_cl_wall": (wall, fast["slices_per_second"]),
        "ours_steady/plain_cl_steady": (steady, fast["steady_slices_per_second"]),
        "ours_wall/bare_same_batch": (wall, bare_same),
        "ours_steady/bare_same_batch": (steady, bare_same),
        "ours_wall/bare_best_batch": (wall, bare_best),
        "ours_steady/bare_best_batch": (steady, bare_best),
    }
    return {name: a / b if a is not None and b else None for name, (a, b) in pairs.items()}


def document(comparison: Comparison, rounds: list[Result], machine: Result) -> Result:
    """Everything measured; rates by round, medians, ratios, agreement of classes and accuracy."""
    each = [ratios(results, comparison.batch) for results in rounds]
    medians = {name: _median([ratio[name] for ratio in each]) for name in each[0]}
    targets = comparison.scans.targets
    labels = [{name: result.pop("labels") for name, result in results.items()} for results in rounds]
    accuracy = {
        name: None if targets is None else float((np.array(found) == np.array(targets)).mean())
        for name, found in labels[0].items()
    }
    differing = {
        name: max(sum(a != b for a, b in zip(found["ours"], found[name], strict=True)) for found in labels)
        for name in labels[0]
        if name != "ours"
    }
    return {
        "schema": SCHEMA,
        "disclaimer": DISCLAIMER,
        "machine": machine,
        "bundle": {"name": comparison.bundle.folder.resolve().name, "sha256": comparison.bundle.sha256},
        "model": comparison.bundle.manifest.model,
        "artifact": comparison.artifact,
        "run": comparison.run.resolve().name,
        "scans": comparison.scans.line,
        "settings": {
            "threads": comparison.threads, "rounds": len(rounds), "our_runtime": comparison.runtime,
            "our_batch": comparison.batch,
            "our_workers": rounds[0]["ours"]["workers"], "plain_batch": 32, "plain_workers": comparison.workers,
            "plain_trials_slices_per_second": comparison.trials,
        },
        "rounds": rounds,
        "ratios_by_round": each,
        "ratios": medians,
        "accuracy": accuracy,
        "classes_other_than_ours": differing,
        "notes": busy_notes(machine, machine["stolen_share"]),
    }  # fmt: skip


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def main(arguments: list[str] | None = None) -> int:
    """The command line; exits 2 with one line for a user's error."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.folder_throughput", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--against", type=Path, required=True, metavar="RUN", help="training run of the same network")
    parser.add_argument("--scans", type=Path, required=True, metavar="FOLDER", help="folder of PNG or JPEG slices")
    parser.add_argument("--artifact", help="of the bundle; its first by default")
    parser.add_argument("--runtime", default="onnxruntime", choices=RUNTIMES, help="of our pipeline")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, metavar="N", help="take N files, evenly spread")
    parser.add_argument("--threads", type=int, default=0, help="0: every core")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    given = parser.parse_args(arguments)
    try:
        machine, ticks = describe_machine(), processor_ticks()
        bundle, scans = Bundle.open(given.bundle), find_scans(given.scans, given.limit)
        threads = given.threads or cores()
        with Comparison(bundle, given.against, scans, threads, given.artifact, given.runtime) as comparison:
            print(f"trial: {min(TRIAL, len(scans.files))} files", file=sys.stderr)
            comparison.prepare()
            rounds = comparison.rounds(max(1, given.rounds), lambda line: print(line, file=sys.stderr))
        machine["stolen_share"] = stolen_share(ticks, processor_ticks())
        values = document(comparison, rounds, machine)
    except LitsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(lines(values)))
    if given.out is not None:
        write_json(given.out, values)
        print(f"wrote {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
