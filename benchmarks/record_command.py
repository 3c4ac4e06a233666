"""What the commands for the record have in common: their arguments, and printing and writing what was found."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.records import RESULTS, write_record
from lits_deploy.bundle import Bundle
from lits_deploy.errors import BundleError
from lits_deploy.packed import open_bundle
from lits_deploy.printable import say


def parser_of(name: str, doc: str | None) -> argparse.ArgumentParser:
    """Bundle, scans and where the record goes; name: of the module."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=(doc or "").partition("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--scans", type=Path, required=True, nargs="+", metavar="FOLDER", help="PNG or JPEG slices")
    parser.add_argument("--limit", type=int, metavar="N", help="take N files, evenly spread")
    parser.add_argument("--threads", type=int, default=0, help="0: every core")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("--name", help="of the machine, in the file names")
    return parser


def open_classifier(folder: Path) -> Bundle:
    """A classifier's bundle; BundleError where it segments, or sees neighbouring slices, which no peer reads."""
    bundle = open_bundle(folder)
    if bundle.manifest.task != "classify":
        raise BundleError(f"{folder} segments; this compares classifiers.", fix="export a classifier")
    if bundle.manifest.contract.channels != 1:
        raise BundleError(
            f"{folder} sees {bundle.manifest.contract.channels} slices at once; this compares networks of one.",
            fix="train one with --channels 1",
        )
    return bundle


def conclude(document: dict[str, Any], text: Sequence[str], given: argparse.Namespace) -> int:
    """Print a record's lines and write it; 0."""
    say(*text)
    say(f"wrote {' '.join(map(str, write_record(document, text, given.out, given.name)))}")
    return 0
