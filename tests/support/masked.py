"""Helpers for tests of segmentation: a bundle, a run on the network that tells organs by grey values, its tables."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from folder_runs import SALT, fields_of
from lits_deploy.bundle import Bundle
from lits_deploy.pipeline.context import RunHooks
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.segmentation.run import SegmentSummary, segment_folder
from lits_deploy.spreadsheet import read_rows
from tiny_bundle import make_tiny_bundle
from worlds import SIZE, WINDOW, Pixels, Thresholds


def make_unet(folder: Path) -> Bundle:
    """A bundle that says it segments; its network is never opened."""
    return make_tiny_bundle(folder, task="segment", size=SIZE, crop=None, window_hu=WINDOW)


def segment(bundle: Bundle, scans: Path | list[Path], out: Path, *masks: str, **arguments: Any) -> SegmentSummary:
    """`segment_folder` on `Thresholds`; options, hooks and arguments may be mixed."""
    own = {"salt": SALT, "workers": 1, "identify": "dicom-seg" in masks}
    options = ClassifyOptions(**{**own, **fields_of(ClassifyOptions, arguments)})
    hooks = RunHooks(**fields_of(RunHooks, arguments))
    network = arguments.pop("network", None) or Thresholds(shape=bundle.manifest.contract.shape)
    roots = scans if isinstance(scans, list) else [scans]
    made = {"masks": masks or ("png",), "options": options, "runtime": network, "hooks": hooks, **arguments}
    return segment_folder(bundle, roots, out, **made)


def table(out: Path, name: str) -> list[dict[str, str]]:
    """The rows of a table."""
    with (out / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        return list(read_rows(stream))


def masks(out: Path, kind: str) -> dict[tuple[str, int], dict[str, str]]:
    """Path and index → row of masks.csv, of one format."""
    rows = [row for row in table(out, "masks") if row["format"] == kind and row["path"]]
    return {(row["path"], int(row["index"])): row for row in rows}


def errors_in(path: Path) -> list[str]:
    """What dciodvfy calls an error in a DICOM file."""
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True)
    said = (done.stdout + done.stderr).splitlines()
    assert "Segmentation" in said, said
    return [line for line in said if "Error" in line] + ([f"exit code {done.returncode}"] if done.returncode else [])


needs_dciodvfy = pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dciodvfy (Debian: dicom3tools)")


def png(path: Path) -> Pixels:
    """The labels of a PNG mask."""
    with Image.open(path) as picture:
        assert picture.mode == "P"
        assert picture.info == {}
        return np.asarray(picture)


def labels_in(path: Path) -> tuple[Any, Pixels]:
    """A NIfTI mask: the image, and its labels as stored."""
    image = nib.load(path)
    labels = np.asanyarray(image.dataobj)  # type: ignore[attr-defined]
    assert labels.dtype == np.uint8
    return image, labels
