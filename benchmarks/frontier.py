"""Every classifier of the registry on this machine: latency, rate, memory and size; accuracy of those that are trained.

    python -m benchmarks.frontier [--bundles BUNDLE … --data DATA] [--networks resnet18,…] [--out FOLDER]

A network without a bundle gets random weights: its speed does not depend on them, and it has no accuracy. It is
exported as FP32 and, for the CPU, INT8 (ranges from phantoms). Each network is measured as `lits-deploy benchmark`
does, its candidates in turns; one network after the other. Writes docs/results/frontier-<machine>.json, .md and .html.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.latency import Effort
from benchmarks.page import page
from benchmarks.percentiles import needed_samples
from benchmarks.plan import Plan
from benchmarks.records import RESULTS, Session, write_record
from benchmarks.report import DASH, machine_line, markdown_table, number
from benchmarks.run import benchmark
from lits_deploy.bundle import Bundle
from lits_deploy.errors import MissingExtra, UserError
from lits_deploy.files import write_text
from lits_deploy.metrics import per_class_rates
from lits_deploy.packed import open_bundle
from lits_deploy.printable import say, say_error
from lits_deploy.program import run_program
from train.models.registry import NETWORKS, network

SCHEMA = 1
EFFORT = Effort(samples=needed_samples(95), cap_s=5.0, floor=needed_samples(50), warmup_s=0.5, warmup_cap_s=4.0)
QUICK = Effort(samples=needed_samples(50), cap_s=1.0, floor=3, warmup_calls=2, warmup_s=0.1, warmup_cap_s=0.5)

CLASSIFIERS = tuple(name for name, info in NETWORKS.items() if info.task == "classify")

Document = dict[str, Any]
Row = dict[str, Any]


def measure(
    networks: Sequence[str], bundles: Sequence[Bundle], plan: Plan, *, data: Path | None, say: Callable[[str], None]
) -> list[Document]:
    """A benchmark's document for each network: of its bundle where there is one, else of random weights."""
    trained = {str(bundle.manifest.model.get("name")): bundle for bundle in bundles}
    found = []
    for name in [*networks, *(name for name in trained if name not in networks)]:
        say(f"== {name}{'' if name in trained else ', random weights'}")
        if name in trained:
            found.append({**benchmark(trained[name], plan, data=data, say=say), "trained": True})
            continue
        with tempfile.TemporaryDirectory(prefix="lits-deploy-frontier-") as folder:
            document = benchmark(_untrained(name, Path(folder)), plan, say=say)
        for row in document["rows"]:
            row |= {"accuracy": None, "figures": None, "speedup": None}  # of a network that has learnt nothing
            row["notes"] = [note for note in row["notes"] if "accuracy" not in note]
        document["notes"] = [*document["notes"], "random weights: speed only, no accuracy"]
        found.append({**document, "trained": False})
    return found


def _untrained(name: str, folder: Path) -> Bundle:
    try:
        from benchmarks.peers.random_networks import CHECKED, make_bundle, random_original
        from export.parity import original_probabilities, phantom_slices
        from export.precision.make import INT8_CPU
    except ImportError as error:
        if (error.name or "").split(".")[0] in ("lits_deploy", "train", "export", "benchmarks"):
            raise
        raise MissingExtra(str(error.name), "export") from error
    original = random_original(name)
    pictures = np.stack([picture for _, picture in phantom_slices(original, CHECKED["classify"])])
    expected = original_probabilities(original, pictures)
    return make_bundle(original, folder / name, pictures, expected, recipes=(INT8_CPU,))


def table_rows(documents: Sequence[Document]) -> list[Row]:
    """One row for each network, artifact and runtime: single-stream latency, best rate, size, memory, accuracy."""
    found: list[Row] = []
    for document in documents:
        groups: dict[tuple[str, str, str], list[Row]] = {}
        for row in document["rows"]:
            groups.setdefault((row["artifact"], row["runtime"], row["device"]), []).append(row)
        for rows in groups.values():
            fine = [row for row in rows if row["error"] is None]
            single = next((row for row in fine if row["batch"] == 1), None)
            best = max(fine, key=lambda row: row["slices_per_second"], default=None)
            confusion = (rows[0]["figures"] or {}).get("confusion")
            rates = None if confusion is None else per_class_rates(np.array(confusion))["sensitivity"]
            found.append(
                {
                    "network": document["bundle"]["model"].get("name"), "trained": document["trained"],
                    "parameters": document["bundle"]["model"].get("parameters"), "artifact": rows[0]["artifact"],
                    "precision": rows[0]["precision"], "runtime": rows[0]["runtime"], "device": rows[0]["device"],
                    "p50_ms": None if single is None else single["latency_ms"].get("p50"),
                    "p90_ms": None if single is None else single["latency_ms"].get("p90"),
                    "slices_per_second": None if best is None else best["slices_per_second"],
                    "batch": None if best is None else best["batch"], "size_mb": rows[0]["size_mb"],
                    "peak_mb": max((row["cold"] or {}).get("peak_mb", 0.0) for row in rows),
                    "accuracy": rows[0]["accuracy"],
                    "lesion_sensitivity": None if rates is None or np.isnan(rates[2]) else float(rates[2]),
                    "error": None if fine else rows[0]["error"],
                }
            )  # fmt: skip
    return found


def lines(document: Document) -> list[str]:
    """The table, the fastest first."""
    header = ["network", "artifact", "runtime", "parameters", "MB", "p50 ms", "p90 ms", "slices/s", "batch", "peak MB"]
    header += ["accuracy", "lesion sensitivity"]
    cells = [
        [
            str(row["network"]), row["artifact"], row["runtime"] if row["device"] == "cpu" else
            f"{row['runtime']} {row['device']}", f"{row['parameters'] or 0:,}", number(row["size_mb"], 1),
            number(row["p50_ms"], 1), number(row["p90_ms"], 1), number(row["slices_per_second"], 1),
            DASH if row["batch"] is None else str(row["batch"]), number(row["peak_mb"], 0),
            number(row["accuracy"], 3), number(row["lesion_sensitivity"], 3),
        ]
        for row in sorted(document["rows"], key=lambda row: -(row["slices_per_second"] or 0.0))
    ]  # fmt: skip
    trained = list(dict.fromkeys(row["network"] for row in document["rows"] if row["trained"]))
    errors = [
        f"- {r['network']} {r['artifact']} on {r['runtime']}: {r['error']}" for r in document["rows"] if r["error"]
    ]
    data = f"; accuracy of {', '.join(trained)} on {document['data']}" if trained else "; random weights, no accuracy"
    return [
        "# Speed of every classifier of the registry", "", machine_line(document), "",
        f"{document['settings']['threads']} threads, batch sizes {', '.join(map(str, document['settings']['batches']))}"
        f"{data}.", "", *markdown_table((header, cells), left=3), "",
        "- p50 and p90 of one slice at a time; slices/s at the fastest batch size; peak MB of a process with that "
        "network alone. A dash: not known, or too few calls for that percentile.",
        "- a network without an accuracy has random weights: its speed does not depend on them.",
        *errors, *(f"- {note}" for note in document["notes"]), "", document["disclaimer"],
    ]  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.frontier", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--networks", default=",".join(CLASSIFIERS))
    parser.add_argument("--bundles", type=Path, nargs="*", default=[], metavar="BUNDLE", help="trained networks")
    parser.add_argument("--data", type=Path, help="data set whose test split the trained ones are scored on")
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--threads", type=int, default=0, help="0: every core")
    parser.add_argument("--quick", action="store_true", help="a second a row")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("--name", help="of the machine, in the file names")
    given = parser.parse_args(arguments)
    session = Session()
    names = [name for name in given.networks.split(",") if name]
    if others := [name for name in names if network(name).task != "classify"]:
        raise UserError(f"{others[0]} segments; the frontier is about classifiers.", fix="leave it out")
    plan = Plan(
        batches=tuple(int(part) for part in given.batches.split(",")), threads=given.threads,
        mode="quick" if given.quick else "full", scenarios=("single-stream", "batch"),
        effort=QUICK if given.quick else EFFORT,
    )  # fmt: skip
    documents = measure(names, [open_bundle(path) for path in given.bundles], plan, data=given.data, say=say_error)
    data = next((document["data"]["line"] for document in documents if document["trained"]), None)
    document = session.document(
        "frontier", SCHEMA, settings=documents[0]["settings"], data=data, rows=table_rows(documents),
    )  # fmt: skip
    text = lines(document)
    say(*text)
    paths = write_record(document, text, given.out, given.name)
    write_text(paths[0].with_suffix(".html"), page(documents))
    say(f"wrote {' '.join(map(str, (*paths, paths[0].with_suffix('.html'))))}")
    return 0


if __name__ == "__main__":
    run_program(main)
