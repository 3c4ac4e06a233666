"""The whole job once, on synthetic patients: the commands a user would type, one after another, each printed.

Every step is the real `lits-deploy` command in a process of its own, so the demo can show nothing that a user cannot
do. The figures at the end come from the rows that `classify` wrote about patients the network never saw.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.report_files import check_out
from lits_deploy.errors import UserError
from lits_deploy.files import write_json
from lits_deploy.spreadsheet import read_rows
from train.metrics import classification_summary

RECORD = "demo.json"
AIMS = {"liver_accuracy": 0.95, "lesion_auroc": 0.85}
"""What a network trained for a few minutes must reach on unseen phantoms, else the demo says it did not."""


def steps(out: Path, patients: int, epochs: int, seed: int) -> list[tuple[str, list[str]]]:
    """What each step is for, and its command line after `lits-deploy`."""
    data, run, bundle = out / "data", out / "run", out / "bundle"
    fixed = ["--schedule", "cosine", "--augment", "crop", "--class-weights", "balanced"]
    train = ["train", "--data", data, "--model", "resnet18", "--epochs", epochs, "--lr", 1e-3, *fixed]
    lines: list[tuple[str, Sequence[object]]] = [
        ("synthetic CT", ["data", "phantom", data, "--patients", patients, "--seed", seed]),
        ("train", [*train, "--seed", seed, "--out", run]),
        ("export and prove parity with PyTorch", ["export", run, "--out", bundle]),
        ("verify on this machine", ["verify", bundle]),
        ("classify patients never seen", ["classify", bundle, data / "test" / "images", "--out", out / "results"]),
        (
            "benchmark beside the original",
            ["benchmark", bundle, "--against", run, "--data", data, "--quick", "--out", out / "benchmark"],
        ),
    ]
    return [(what, [str(word) for word in arguments]) for what, arguments in lines]


def run_demo(
    out: Path, say: Callable[[str], None], *, patients: int = 24, epochs: int = 5, seed: int = 0
) -> dict[str, Any]:
    """Run all steps; returns figures, aims and seconds, which are also in OUT/demo.json. By default patients and epochs
    are so few that 2 CPU cores finish within 10 minutes.

    Raises OutputError where OUT holds something else than an earlier demo, UserError where a step failed.
    """
    check_out(out, RECORD, "an earlier demo")
    if (out / RECORD).is_file():
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = {}
    write_json(out / RECORD, {"finished": False})
    for index, (what, arguments) in enumerate(steps(out, patients, epochs, seed), start=1):
        for line in ("", f"[{index}/6] {what}", f"$ lits-deploy {' '.join(arguments)}"):
            say(line)
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "lits_deploy", *arguments], check=False)
        seconds[arguments[0]] = time.perf_counter() - began
        if done.returncode:
            raise UserError(f"`lits-deploy {arguments[0]}` ended with {done.returncode}.", fix="see its message above")
    figures = score(out / "results" / "slices.csv", out / "data" / "test" / "masks")
    result = {"finished": True, "figures": figures, "aims": AIMS, "seconds": seconds}
    write_json(out / RECORD, result)
    return result


def score(table: Path, masks: Path) -> dict[str, Any]:
    """classification_summary of the rows of a slices.csv against the masks of the same stems."""
    targets, probabilities = [], []
    with table.open(newline="", encoding="utf-8") as stream:
        for row in read_rows(stream):
            if row["status"] == "failed":  # an abstention has probabilities, and is scored by them
                continue
            with Image.open(masks / f"{Path(row['path']).stem}.png") as mask:
                targets.append(int(np.asarray(mask).max()))
            probabilities.append([float(row[name]) for name in ("p0", "p1", "p2")])
    return classification_summary(targets, np.asarray(probabilities))
