"""All candidates of a comparison, each in fresh processes, in turns: trials, then rounds of both jobs.

An order moves on by one each round, so that whatever the machine does hits all alike; a ratio is the median of the
rounds' ratios. Files are in the page cache for all (an untimed pass reads them).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import folder
from benchmarks.candidates import spec_of
from benchmarks.fresh import ChildError, run_fresh
from benchmarks.peers.lineup import LineupEntry, PeerScans, peer_spec
from lits_deploy.bundle import Bundle
from lits_deploy.pipeline.defaults import CPU_BATCH

TRIAL = 256
"""Files of a trial, and of a model-only job, but for bare loops: those see all, since ours is held against them."""

Result = dict[str, Any]
Setting = tuple[int, int]


class Contest:
    """Entries on one bundle, run and set of files; `failed` says who dropped out, and why."""

    def __init__(
        self,
        bundle: Bundle,
        run: Path | None,
        scans: PeerScans,
        entries: Sequence[LineupEntry],
        *,
        threads: int,
        device: str,
    ) -> None:
        self.bundle, self.run, self.scans, self.threads, self.device = bundle, run, scans, threads, device
        self.failed = {entry.name: f"{name} is not installed" for entry in entries if (name := entry.missing())}
        self.entries = [entry for entry in entries if entry.name not in self.failed]
        self.trials: dict[str, dict[Setting, float]] = {}

    def prepare(self, say: Callable[[str], None]) -> None:
        """Read every file once; try each peer's settings on some of the files, and keep the faster.

        Two tries each; the first warms what a library keeps on disk (torch.compile's graphs).
        """
        for file in self.scans.files:
            Path(file).read_bytes()
        some = self.scans.files[:TRIAL]
        for entry in list(self.entries):
            say(f"trial: {entry.name}")
            try:
                if entry.ours:
                    self.folder_job(entry, some)
                    continue
                if entry.mode == "compile":
                    self.folder_job(entry, some, entry.settings[0])
                done = {setting: self.folder_job(entry, some, setting) for setting in entry.settings}
            except ChildError as error:
                self._drop(entry, error)
                continue
            self.trials[entry.name] = {
                setting: found["steady_slices_per_second"] or found["slices_per_second"]
                for setting, found in done.items()
            }

    def folder_job(self, entry: LineupEntry, files: Sequence[str], setting: Setting | None = None) -> Result:
        """Files to CSV, once."""
        with tempfile.TemporaryDirectory(prefix="lits-deploy-peers-") as temporary:
            out = Path(temporary) / "out"
            if entry.ours:
                roots = self.scans.roots if list(files) == self.scans.files else [Path(file) for file in files]
                spec = spec_of(self.bundle, self.threads, entry.artifact, entry.runtime, self.device)
                values = folder.classify_fresh(spec, roots, out)
                labels = folder.read_labels(out, roots)
                return {**values, "labels": [labels.get(file) for file in files]}
            rates = self.trials.get(entry.name, {})
            batch, workers = setting or max(rates, key=lambda one: rates[one])
            return self._run(entry, "folder", files, out=str(out), batch=batch, workers=workers)

    def model_job(self, entry: LineupEntry) -> Result:
        """Decoded slices to classes, once at each batch size."""
        files = self.scans.files if entry.bare else self.scans.files[:TRIAL]
        return self._run(entry, "model", files, batches=list(entry.batches))

    def _run(self, entry: LineupEntry, job: str, files: Sequence[str], **values: Any) -> Result:
        spec = peer_spec(entry, self.bundle, self.run, self.threads, self.device)
        return run_fresh(entry.module, {**spec, "job": job, "files": list(files), **values})

    def rounds(self, count: int, say: Callable[[str], None]) -> list[dict[str, Result]]:
        """`count` rounds: name → {"folder": …, "model": …}; a candidate that fails once is out of all of them."""
        done: list[dict[str, Result]] = []
        for number in range(count):
            results: dict[str, Result] = {}
            first = number % max(1, len(self.entries))
            for entry in self.entries[first:] + self.entries[:first]:
                say(f"round {number + 1} of {count}: {entry.name}")
                try:
                    results[entry.name] = {"folder": self.folder_job(entry, self.scans.files)}
                    if not entry.ours:
                        results[entry.name]["model"] = self.model_job(entry)
                except ChildError as error:
                    self._drop(entry, error)
            done.append(results)
        return [{name: values for name, values in results.items() if name not in self.failed} for results in done]

    def _drop(self, entry: LineupEntry, error: ChildError) -> None:
        self.failed[entry.name] = str(error)
        self.entries.remove(entry)


def summary(contest: Contest, rounds: list[dict[str, Result]]) -> list[Result]:
    """A row for each candidate: medians over rounds, every round's rates, accuracy, classes other than our FP32's.

    Of ours: `overhead` over its bare loop, and where the last round's time went.
    """
    rows = []
    reference = next((e.name for e in contest.entries if e.ours and e.precision == "fp32"), None)
    for entry in contest.entries:
        folders = [results[entry.name]["folder"] for results in rounds]
        others = [_differing(results[reference], results[entry.name]) for results in rounds] if reference else []
        row: Result = {
            **{key: getattr(entry, key) for key in ("name", "title", "ours", "library", "precision", "artifact")},
            **{key: folders[0][key] for key in ("batch", "workers")},
            "wall": [done["slices_per_second"] for done in folders],
            "steady": [done["steady_slices_per_second"] for done in folders],
            "load_s": middle([f["load_s"] for f in folders]),
            "peak_mb": middle([f["peak_mb"] for f in folders]),
            "accuracy": _accuracy(folders[0]["labels"], contest.scans.targets),
            "other_classes": max(others, default=None),
            "model": None,
            "overhead": None,
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
        elif bare := next((e.name for e in contest.entries if e.bare and e.same_file(entry)), None):
            rates = [results[bare]["model"]["slices_per_second"][str(CPU_BATCH)] for results in rounds]
            row["overhead"] = overhead(row, rates) | time_spent(folders[-1])
        rows.append(row)
    return rows


def overhead(row: Result, bare: Sequence[float]) -> Result:
    """1 − ours / bare in every round, the medians: by wall, and steady, without the start. bare: slices per second."""
    wall, steady = (
        [None if ours is None else 1 - ours / rate for ours, rate in zip(row[name], bare, strict=True)]
        for name in ("wall", "steady")
    )
    return {"bare": list(bare), "wall": middle(wall), "steady": middle(steady)}


def time_spent(done: Result) -> Result:
    """Shares of a folder job's wall, and its start-up in seconds from the call."""
    stages, start = done["stages"], done["start_up"]
    seconds = {
        "before the first result": start["first_result_s"],
        "network": stages["infer_s"],
        "network waiting": stages["wait_s"],
        "decoding, of one core": stages["decode_s"],
        "ledger and tables": stages["write_s"],
    }
    return {"share_of_wall": {name: spent / done["wall_s"] for name, spent in seconds.items()}, "start_up": start}


def _differing(one: Result, other: Result) -> int:
    return sum(a != b for a, b in zip(one["folder"]["labels"], other["folder"]["labels"], strict=True))


def _accuracy(labels: list[int | None], targets: list[int | None] | None) -> float | None:
    """Over the files whose class is known; None where there are none."""
    known = [label == target for label, target in zip(labels, targets or (), strict=False) if target is not None]
    return float(np.mean(known)) if known else None


def middle(values: Sequence[float | None]) -> float | None:
    """The median of what is known."""
    known = [value for value in values if value is not None]
    return median(known) if known else None


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
        kind = (row["library"], row["precision"])
        alike = [peer for peer in rows if not peer["ours"] and (peer["library"], peer["precision"]) == kind]
        if alike:
            best = max(alike, key=lambda peer: middle(peer["wall"]) or 0.0)
            found.append(_aim(f"folder to CSV, {row['name']} over its best peer ({best['name']})", row, best, 1.0))
    return found


def _aim(what: str, over: Result, under: Result, least: float) -> Result:
    value = ratio(over["wall"], under["wall"])
    return {"what": what, "aim": least, "ratio": value, "reached": value is not None and value >= least}
