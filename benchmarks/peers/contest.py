"""All candidates of a comparison, each in fresh processes, in turns: trials, then rounds of both jobs.

An order moves on by one each round, so that whatever the machine does hits all alike; a ratio is the median of the
rounds' ratios. Files are in the page cache for all (an untimed pass reads them).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import folder
from benchmarks.fresh import ChildError, run_fresh
from benchmarks.peers.lineup import Entry, spec_of
from benchmarks.records import middle
from benchmarks.scans import Scans
from lits_deploy.bundle import Bundle

TRIAL = 256
"""Files of a trial, and of a model-only job."""

Result = dict[str, Any]


class Contest:
    """Entries on one bundle, run and set of files. Use as a context manager; `failed` says who dropped out, and why."""

    def __init__(
        self, bundle: Bundle, run: Path, scans: Scans, entries: Sequence[Entry], *, threads: int, device: str
    ) -> None:
        self.bundle, self.run, self.scans, self.threads, self.device = bundle, run, scans, threads, device
        self.failed: dict[str, str] = {}
        self.entries: list[Entry] = []
        for entry in entries:
            if missing := entry.missing():
                self.failed[entry.name] = f"{missing} is not installed"
            else:
                self.entries.append(entry)
        self.settings: dict[str, tuple[int, int]] = {}
        self.trials: dict[str, dict[str, float]] = {}
        self._temporary = tempfile.TemporaryDirectory(prefix="lits-deploy-peers-")

    def __enter__(self) -> Contest:
        return self

    def __exit__(self, *error: object) -> None:
        self._temporary.cleanup()

    def prepare(self, say: Callable[[str], None]) -> None:
        """Read every file once; try each peer's settings on some of the files, and keep the faster.

        Two tries each; the first warms what a library keeps on disk (torch.compile's graphs).
        """
        for file in self.scans.files:
            Path(file).read_bytes()
        some = self.scans.files[:TRIAL]
        for entry in list(self.entries):
            say(f"trial: {entry.name}")
            rates: dict[str, float] = {}
            try:
                if entry.ours:
                    self.folder_job(entry, some)
                    continue
                if entry.mode == "compile":
                    self.folder_job(entry, some, entry.settings[0])
                for setting in entry.settings:
                    done = self.folder_job(entry, some, setting)
                    rates[f"{setting[0]}x{setting[1]}"] = done["steady_slices_per_second"] or done["slices_per_second"]
            except ChildError as error:
                self._drop(entry, error)
                continue
            self.trials[entry.name] = rates
            best = max(rates, key=lambda key: rates[key])
            self.settings[entry.name] = (int(best.split("x")[0]), int(best.split("x")[1]))

    def folder_job(self, entry: Entry, files: Sequence[str], setting: tuple[int, int] | None = None) -> Result:
        """Files to CSV, once."""
        with tempfile.TemporaryDirectory(dir=self._temporary.name) as place:
            if entry.ours:
                whole = list(files) == self.scans.files
                roots = self.scans.roots if whole else [Path(file) for file in files]
                values = folder.classify_fresh(
                    self.bundle,
                    roots,
                    Path(place) / "out",
                    threads=self.threads,
                    artifact=entry.artifact,
                    runtime=entry.runtime,
                    device=self.device,
                )
                labels = folder.read_labels(Path(place) / "out", roots)
                return {**values, "labels": [labels.get(file) for file in files]}
            batch, workers = setting or self.settings[entry.name]
            spec = spec_of(entry, self.bundle, self.run, self.threads, self.device)
            spec |= {"job": "folder", "files": list(files), "out": f"{place}/out.csv", "batch": batch}
            return run_fresh(entry.module, {**spec, "workers": workers}, threads=self.threads)

    def model_job(self, entry: Entry) -> Result:
        """Decoded slices to classes, once at each batch size."""
        spec = spec_of(entry, self.bundle, self.run, self.threads, self.device)
        spec |= {"job": "model", "files": self.scans.files[:TRIAL], "batches": list(entry.batches)}
        return run_fresh(entry.module, {**spec, "batch": max(entry.batches)}, threads=self.threads)

    def rounds(self, count: int, say: Callable[[str], None]) -> list[dict[str, Result]]:
        """`count` rounds: name → {"folder": …, "model": …}; a candidate that fails once is out of all of them."""
        done: list[dict[str, Result]] = []
        for turn in range(count):
            results: dict[str, Result] = {}
            first = turn % max(1, len(self.entries))
            for entry in self.entries[first:] + self.entries[:first]:
                say(f"round {turn + 1} of {count}: {entry.name}")
                try:
                    results[entry.name] = {"folder": self.folder_job(entry, self.scans.files)}
                    if not entry.ours:
                        results[entry.name]["model"] = self.model_job(entry)
                except ChildError as error:
                    self._drop(entry, error)
            done.append(results)
        return [{name: values for name, values in results.items() if name not in self.failed} for results in done]

    def _drop(self, entry: Entry, error: ChildError) -> None:
        self.failed[entry.name] = str(error)
        self.entries.remove(entry)


def summary(contest: Contest, rounds: list[dict[str, Result]]) -> list[Result]:
    """A row for each candidate: medians over rounds, every round's rates, accuracy, classes other than our FP32's."""
    rows = []
    reference = next((e.name for e in contest.entries if e.ours and e.precision == "fp32"), None)
    targets = contest.scans.targets
    for entry in contest.entries:
        folders = [results[entry.name]["folder"] for results in rounds]
        labels = folders[0]["labels"]
        row: Result = {
            "name": entry.name,
            "title": entry.title,
            "ours": entry.ours,
            "library": entry.library,
            "precision": entry.precision,
            "artifact": entry.artifact,
            "batch": folders[0]["batch"],
            "workers": folders[0]["workers"],
            "wall": [done["slices_per_second"] for done in folders],
            "steady": [done["steady_slices_per_second"] for done in folders],
            "process_s": [done["process_s"] for done in folders],
            "load_s": middle([f["load_s"] for f in folders]),
            "peak_mb": middle([f["peak_mb"] for f in folders]),
            "accuracy": _accuracy(labels, targets),
            "other_classes": None
            if reference is None
            else max(_differing(results[reference], results[entry.name]) for results in rounds),
            "model": None,
        }
        if not entry.ours:
            models = [results[entry.name]["model"] for results in rounds]
            row["model"] = {
                batch: {
                    "slices_per_second": [model["slices_per_second"][batch] for model in models],
                    "p50_ms": middle([(model["latency_ms"][batch] or {}).get("p50") for model in models]),
                }
                for batch in models[0]["slices_per_second"]
            }
        rows.append(row)
    return rows


def _differing(one: Result, other: Result) -> int:
    return sum(a != b for a, b in zip(one["folder"]["labels"], other["folder"]["labels"], strict=True))


def _accuracy(labels: list[int | None], targets: list[int | None] | None) -> float | None:
    """Over the files whose class is known; None where there are none."""
    if targets is None:
        return None
    known = [(label, target) for label, target in zip(labels, targets, strict=True) if target is not None]
    return float(np.mean([label == target for label, target in known])) if known else None


def ratio(over: Sequence[float], under: Sequence[float]) -> float | None:
    """Median of the rounds' ratios."""
    return middle([a / b for a, b in zip(over, under, strict=True) if b])


def aims(rows: list[Result]) -> list[Result]:
    """The ratios that the project has aims for: ours by wall over the plain script, and over the best peer alike."""
    ours = [row for row in rows if row["ours"]]
    plain = next((row for row in rows if row["name"] == "plain"), None)
    found: list[Result] = []
    for which, least in (("fp32", 1.8), ("any", 3.0)):
        some = [row for row in ours if which == "any" or row["precision"] == which]
        if plain is not None and some:
            best = max(some, key=lambda row: middle(row["wall"]) or 0.0)
            what = "best precision that passed its gate" if which == "any" else "FP32"
            found.append(_aim(f"folder to CSV, {what} ({best['name']}) over the plain script", best, plain, least))
    for row in ours:
        alike = [
            peer
            for peer in rows
            if not peer["ours"] and (peer["library"], peer["precision"]) == (row["library"], row["precision"])
        ]
        if alike:
            best = max(alike, key=lambda peer: middle(peer["wall"]) or 0.0)
            found.append(_aim(f"folder to CSV, {row['name']} over its best peer ({best['name']})", row, best, 1.0))
    return found


def _aim(what: str, over: Result, under: Result, least: float) -> Result:
    value = ratio(over["wall"], under["wall"])
    return {"what": what, "aim": least, "ratio": value, "reached": value is not None and value >= least}
