"""Ledgers made up on the spot: series of slices with lesions in the middle, pictures, and some of every trouble."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from lits_deploy.files import canonical_json
from lits_deploy.ledger import (
    ABOUT,
    ABSTAINED,
    EXCLUDED,
    FAILED,
    NAMES,
    OK,
    PICTURES,
    RAN,
    RUN,
    FileRow,
    HeaderRow,
    Ledger,
    PictureRow,
    SliceRow,
)
from lits_deploy.report import choose
from lits_deploy.report.pictures import to_json
from lits_deploy.results import PROVENANCE
from lits_deploy.scans.discover import ScanRecord

CLASSES = ("no liver", "liver", "liver with lesion")
BASE = "/secret/base/of Mrs Smith"
OVERLAY = {"kind": "cam", "network": "tiny fp32", "why": None}


def make_ledger(
    folder: Path,
    *,
    series: int = 4,
    slices: int = 20,
    path: Callable[[int, int], str] = lambda n, k: f"study-{n:03d}/IM{k:04d}.dcm",
    reason: str = "the file is empty",
    identifiers: dict[str, str] | None = None,
    names: str = "abcdef",
    overlay: dict[str, str | None] | None = OVERLAY,
) -> Ledger:
    """A ledger of `series` × `slices` single-slice files, open: series 0 is the most suspicious.

    In each series slice 1 is excluded, 2 failed for `reason`, and 3 is abstained. Pictures are noise as slices may be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(folder)
    found = [ScanRecord(path(n, k), 100, 0, kind="dicom") for n in range(series) for k in range(slices)]
    ledger.stage(found)
    ledger.adopt({"bundle": "b"}, BASE)
    numbers = {row.path: row.file for row in ledger.pending(100_000)}
    made_slices, made_files = [], []
    for n in range(series):
        info: dict[str, object] = {"kind": "dicom", "modality": "CT", "orientation": "axial"}
        if identifiers is not None:
            info["identifiers"] = identifiers
        row = HeaderRow(f"series{n:04d}", f"study{n:05d}", "", canonical_json(info))
        for k in range(slices):
            number = numbers[path(n, k)]
            made_files.append(
                FileRow(number, FAILED if k == 2 else OK, reason if k == 2 else None, "ab" * 32, "w", row)
            )
            if k != 2:
                made_slices.append(_slice(number, n / series, k, slices))
    ledger.record(made_slices, made_files)
    ledger.note(RUN, canonical_json({"classes": CLASSES, "provenance": dict.fromkeys(PROVENANCE, "x")}))
    ledger.note(NAMES, names)
    ledger.note(ABOUT, json.dumps(ABOUT_TINY))
    ledger.note(RAN, json.dumps(RAN_ONCE))
    if overlay is not None:
        ledger.note(PICTURES, canonical_json(overlay))
        add_pictures(ledger)
    return ledger


def add_pictures(ledger: Ledger) -> None:
    """A picture for every slice that should have one."""
    rng = np.random.default_rng(0)
    coarse = np.asarray(Image.fromarray(rng.integers(0, 255, (64, 64), dtype=np.uint8)).resize((256, 256)))
    noisy = np.clip(coarse + rng.normal(0, 6, (256, 256)), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noisy).save(buffer, "JPEG", quality=80)
    ring = [at for t in np.linspace(0, 2 * np.pi, 90) for at in (int(256 + 99 * np.cos(t)), int(256 + 99 * np.sin(t)))]
    contours = to_json({"heat": [ring, ring], "peak": [ring]})
    rows = [row for _, rows in choose.chosen(ledger.rows_by_volume(), ledger.volumes()) for row in rows]
    new = [PictureRow(row.file or 0, row.idx, buffer.getvalue(), 256, contours) for row in rows]
    ledger.keep_pictures([(row.file, row.idx) for row in new], new)


def _slice(number: int, mildness: float, k: int, slices: int) -> SliceRow:
    p2 = round((1 - mildness) * 0.95 * math.exp(-(((k - slices / 2) / (slices / 6)) ** 2)), 4)
    p1 = (1 - p2) / 2
    facts = json.dumps({"position": 5.0 * k})
    if k == 1:
        return SliceRow(number, 0, EXCLUDED, "no body in the picture", None, None, None, None, facts)
    if k == 3:
        return SliceRow(number, 0, ABSTAINED, "unsure: no class reaches 0.5", None, 1 - p1 - p2, p1, p2, facts)
    return SliceRow(number, 0, OK, None, 2 if p2 > 0.5 else 1, 1 - p1 - p2, p1, p2, facts)


RAN_ONCE = {
    "first": "2026-11-28 21:45 UTC",
    "last": "2026-11-28 21:45 UTC",
    "scans": ["ward 7"],
    "machine": "AMD EPYC, 2 cores",
}

ABOUT_TINY = {
    "lits_deploy": "0",
    "task": "classify",
    "bundle": "b" * 64,
    "model": {"name": "tiny", "parameters": 9},
    "contract": {
        "size": 256,
        "crop": 224,
        "window_hu": [-40.0, 160.0],
        "orientation": "anterior up",
        "sha256": "c" * 64,
    },
    "artifact": {"name": "fp32", "sha256": "a" * 64, "warning": None},
    "runtime": {"name": "fake", "version": "0", "device": "cpu", "precision": "fp32", "providers": ["fake"]},
    "temperature": 1.5,
    "abstain_below": 0.5,
    "calibrated_on": {"slices": 10, "patients": 2, "synthetic": False},
    "test": {
        "data": "lits/test",
        "split_by": "patient",
        "synthetic": False,
        "slices": 100,
        "patients": 5,
        "failed": 0,
        "left_out": 0,
        "runtime": "onnxruntime 1",
        "device": "cpu",
        "accuracy": 0.8,
        "balanced_accuracy": 0.722,
        "liver_accuracy": 0.95,
        "lesion_auroc": None,
        "confusion": [[50, 0, 0], [0, 20, 10], [5, 5, 10]],
    },
}
