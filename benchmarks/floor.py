"""The floor of folder-to-CSV on this machine: bytes and FLOPs of each stage, and the rates they can have at most.

    python -m benchmarks.floor BUNDLE --scans FOLDER [FOLDER …] [--limit N]

Writes docs/results/floor-<machine>.json and .md. The floor is no prediction: it adds up what each stage would take at
the best rate that this machine reached for that kind of work, on all cores at once.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import onnx

from benchmarks.ceilings import arithmetic, files_and_memory
from benchmarks.flops import count
from benchmarks.fresh import run_fresh
from benchmarks.peers.lineup import lineup, spec_of
from benchmarks.record_command import conclude, open_classifier, parser_of
from benchmarks.records import Session
from benchmarks.report import machine_line, markdown_table, number
from benchmarks.scans import find_scans
from lits_deploy.machine import cores
from lits_deploy.pipeline.tuning import CPU_BATCH
from lits_deploy.printable import say_error
from lits_deploy.program import run_program

SCHEMA = 1
ROW_BYTES = 150
"""Of a row in slices.csv, about; the ledger writes as much again."""


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = parser_of("floor", __doc__, limit=512)
    given = parser.parse_args(arguments)
    session, bundle = Session(), open_classifier(given.bundle)
    scans, threads = find_scans(given.scans, given.limit), given.threads or cores()
    contract = bundle.manifest.contract
    say_error("files and memory")
    rates = files_and_memory(scans.files, contract, threads)
    say_error("arithmetic")
    products = arithmetic(threads)
    bare: dict[str, float] = {}
    for entry in lineup(bundle, "cpu"):
        if entry.ours or entry.artifact is None or entry.missing() or entry.mode == "throughput":
            continue
        if entry.name.startswith("ultralytics"):
            continue
        say_error(f"bare loop: {entry.name}")
        spec = spec_of(entry, bundle, given.bundle, threads, "cpu")
        spec |= {"job": "model", "files": scans.files[:256], "batches": [CPU_BATCH], "batch": CPU_BATCH}
        done = run_fresh(entry.module, spec, threads=threads)
        bare[entry.name.replace(" latency", "")] = done["slices_per_second"][str(CPU_BATCH)]
    work = {
        artifact.name: dataclasses.asdict(count(onnx.load_from_string(bundle.read(artifact).data)))
        for artifact in bundle.manifest.artifacts
        if artifact.placed_for("onnxruntime", "cpu") or artifact.placed_for("openvino", "cpu")
    }
    document = session.document(
        "floor", SCHEMA, bundle={"name": bundle.folder.resolve().name, "sha256": bundle.sha256},
        model=bundle.manifest.model, scans=scans.line, threads=threads, slice_bytes=_size(contract.shape),
        rates=rates, arithmetic_gflops=products, work=work, bare_slices_s=bare,
    )  # fmt: skip
    document["floors"] = [floor(document, artifact) for artifact in work]
    return conclude(document, lines(document), given)


def _size(shape: tuple[int, int, int]) -> int:
    return shape[0] * shape[1] * shape[2]


def floor(document: dict[str, Any], artifact: str) -> dict[str, Any]:
    """Milliseconds of each stage for one slice on all cores, at the ceilings, and what that makes in slices/s."""
    rates, threads, work = document["rates"], document["threads"], document["work"][artifact]
    kind = "int8" if artifact.startswith("int8") else "fp32"
    usable = {name: value for name, value in document["arithmetic_gflops"].items() if kind in name}
    peak_name = max(usable, key=lambda name: usable[name])
    file_bytes = rates["file_bytes"]
    core_ms = {  # of one core; divided by the cores below
        "read": 1e3 * file_bytes / (rates["read_mb_s"] * 1e6),
        "hash": 1e3 * file_bytes / (rates["hash_mb_s"] * 1e6),
        "decode": 1e3 / rates["decode_slices_s"] - 1e3 * file_bytes / (rates["read_mb_s"] * 1e6),
        "to the slot": 1e3 / rates["slot_copy_slices_s"],
    }
    stages = {name: value / threads for name, value in core_ms.items()}
    stages["network"] = 1e3 * work["flops"] / (usable[peak_name] * 1e9)  # measured on all cores
    total = sum(stages.values())
    return {"artifact": artifact, "peak": peak_name, "stages_ms": stages, "floor_slices_s": 1e3 / total}


def lines(document: dict[str, Any]) -> list[str]:
    """Stages, ceilings, and how near a bare loop comes."""
    rates, threads = document["rates"], document["threads"]
    fp32 = next(iter(document["work"]))
    work = document["work"][fp32]
    stages = [
        ["read (page cache)", f"{rates['file_bytes']:,.0f}", "–", f"{rates['read_mb_s']:,.0f} MB/s a core"],
        ["SHA-256", f"{rates['file_bytes']:,.0f}", "–", f"{rates['hash_mb_s']:,.0f} MB/s a core"],
        ["decode to uint8", f"{document['slice_bytes']:,}", "–", _decode(rates)],
        [
            "copy to the slot", f"{document['slice_bytes']:,}", "–",
            f"{rates['slot_copy_slices_s']:,.0f} slices/s a core",
        ],
        [
            f"network, {fp32}", f"{work['activation_bytes']:,} + weights {work['weight_bytes']:,} a call",
            f"{work['flops'] / 1e9:.2f} G", f"{_peak(document, 'fp32'):,.0f} GFLOP/s on {threads} cores",
        ],
        ["row to ledger and CSV", f"about {2 * ROW_BYTES}", "–", f"copy {rates['copy_gb_s']:.1f} GB/s a core"],
    ]  # fmt: skip
    floors = []
    for found in document["floors"]:
        name = found["artifact"]
        bare = {key: value for key, value in document["bare_slices_s"].items() if key.endswith(f" {name}")}
        best = max(bare, key=lambda key: bare[key], default=None)
        parts = ", ".join(f"{stage} {value:.3f}" for stage, value in found["stages_ms"].items())
        floors.append(
            [
                name, number(found["floor_slices_s"], 0), parts, found["peak"],
                "–" if best is None else f"{best}: {bare[best]:,.1f}",
                "–" if best is None else f"{bare[best] * found['stages_ms']['network'] / 1e3:.2f}",
            ]
        )  # fmt: skip
    header = ["artifact", "floor, slices/s", "ms a slice on all cores", "network at the rate of"]
    header += [f"bare loop, batch {CPU_BATCH}, slices/s", "bare / arithmetic"]
    return [
        f"# The floor of folder to CSV: {document['model'].get('name')}", "", machine_line(document), "",
        f"{document['scans']}; {threads} threads", "", "## Stages", "",
        *markdown_table((["stage", "bytes a slice", "FLOP a slice", "ceiling, measured"], stages), left=1), "",
        "## Arithmetic, measured", "",
        *markdown_table(
            (["what", "GFLOP/s"], [[k, number(v, 0)] for k, v in document["arithmetic_gflops"].items()]), left=1
        ), "", "## Floor", "", *markdown_table((header, floors), left=1), "",
        "- INT8 counts the same multiply-adds as FP32. A convolution may exceed a product's rate: libraries use "
        "algorithms that need fewer multiplications (Winograd's).",
        *(f"- {note}" for note in document["notes"]), "", document["disclaimer"],
    ]  # fmt: skip


def _decode(rates: dict[str, float]) -> str:
    both = rates.get("decode_slices_s_all_cores")
    return f"{rates['decode_slices_s']:,.0f} slices/s a core" + (f", {both:,.0f} on all" if both else "")


def _peak(document: dict[str, Any], kind: str) -> float:
    return max(float(value) for name, value in document["arithmetic_gflops"].items() if kind in name)


if __name__ == "__main__":
    run_program(main)
