"""How many slices a second one core reads, format by format: bytes in memory to what the network takes.

    python -m benchmarks.decode_rates [--dicom ZIP_OR_FOLDER] [--slices 24] [--rounds 5] [--out FILE.json]

The same slices in every format: those of a DICOM series (`--dicom`), else synthetic ones. Every format is read once
before anything is timed; then all of them in every round, in an order that moves on by one each round. A rate is slices
over the median round. What is timed is a reader's `read` with all its checks, from bytes to uint8 [1, 256, 256]: no
disk, no hashing, no process in between. `headers` is the same with headers only, in files a second.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, cast

from benchmarks.decode_formats import phantom_slices, real_slices, written
from benchmarks.machine import busy_notes, describe_machine, processor_ticks, stolen_share
from lits_deploy import DISCLAIMER
from lits_deploy.contract import InputContract
from lits_deploy.files import write_json
from lits_deploy.printable import say
from lits_deploy.program import run_program
from lits_deploy.scans import Reader

SCHEMA = 1
WINDOW_HU = (-160.0, 240.0)
CONTRACT = InputContract(window_hu=WINDOW_HU)


class Format:
    """One format's files and its times."""

    def __init__(self, name: str, module: str, files: list[bytes], slices: int) -> None:
        self.name, self.slices = name, slices
        self._reader = cast(Reader, importlib.import_module(module))
        self._files = files
        self.seconds: list[float] = []
        self.header_seconds: list[float] = []

    def check(self) -> None:
        """Read once, untimed. Raises RuntimeError where a slice is not judged: its rate would be false."""
        read = judged = 0
        for data in self._files:
            for frame in self._reader.read(data, CONTRACT).frames:
                read += 1
                judged += frame.pixels is not None
        if (read, judged) != (self.slices, self.slices):
            raise RuntimeError(f"{self.name}: {judged} of {self.slices} slices are judged")

    def time(self) -> None:
        """One round."""
        for times, headers_only in ((self.seconds, False), (self.header_seconds, True)):
            started = perf_counter()
            for data in self._files:
                for _ in self._reader.read(data, CONTRACT, headers_only=headers_only).frames:
                    pass
            times.append(perf_counter() - started)

    def to_json(self) -> dict[str, Any]:
        """Figures of all rounds."""
        seconds = median(self.seconds)
        return {
            "format": self.name,
            "files": len(self._files),
            "slices": self.slices,
            "bytes_per_slice": round(sum(map(len, self._files)) / self.slices),
            "slices_per_second": round(self.slices / seconds, 1),
            "ms_per_slice": round(1000 * seconds / self.slices, 3),
            "headers_per_second": round(len(self._files) / median(self.header_seconds), 1),
            "seconds_of_rounds": [round(value, 4) for value in self.seconds],
        }


def measure(dicom: Path | None, slices: int, rounds: int) -> dict[str, Any]:
    """The record of a measurement."""
    machine, ticks = describe_machine(), processor_ticks()
    hu = phantom_slices(slices) if dicom is None else real_slices(dicom, slices)
    formats = [Format(*one, slices=len(hu)) for one in written(hu, WINDOW_HU)]
    for one in formats:
        one.check()
    for number in range(rounds):
        turn = number % len(formats)
        for one in formats[turn:] + formats[:turn]:
            one.time()
    machine["stolen_share"] = stolen_share(ticks, processor_ticks())
    return {
        "schema": SCHEMA,
        "what": "slices a second on one core, from bytes in memory to uint8 [1, 256, 256]",
        "machine": machine,
        "source": "synthetic slices with 12 HU of noise" if dicom is None else "a DICOM series",
        "matrix": list(hu.shape[1:]),
        "rounds": rounds,
        "formats": [one.to_json() for one in formats],
        "notes": busy_notes(machine, machine["stolen_share"]),
        "disclaimer": DISCLAIMER,
    }


def lines(record: dict[str, Any]) -> list[str]:
    """The record as a table."""
    rows = [f"{'format':<20} {'kB/slice':>9} {'ms/slice':>9} {'slices/s':>9} {'headers/s':>10}"]
    rows += [
        f"{one['format']:<20} {one['bytes_per_slice'] / 1000:>9.1f} {one['ms_per_slice']:>9.2f}"
        f" {one['slices_per_second']:>9.0f} {one['headers_per_second']:>10.0f}"
        for one in record["formats"]
    ]
    size = "×".join(map(str, record["matrix"]))
    return [*rows, f"{record['source']}, {size}, {record['rounds']} rounds, one core", *record["notes"]]


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decode_rates", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--dicom", type=Path, metavar="ZIP_OR_FOLDER", help="slices of this series; else synthetic ones"
    )
    parser.add_argument("--slices", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    given = parser.parse_args(arguments)
    record = measure(given.dicom, max(1, given.slices), max(1, given.rounds))
    say(*lines(record))
    if given.out is not None:
        write_json(given.out, record)
        say(f"wrote {given.out}")
    return 0


if __name__ == "__main__":
    run_program(main)
