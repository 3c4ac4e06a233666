"""The files of a folder comparison, and their classes where the folder is a split of a data set."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lits_deploy.errors import DataError, UserError
from lits_deploy.scans.discover import Discovery
from train.data.layout import SPLITS, read_layout
from train.data.masks import load_mask

_SIZE = 256  # only the largest label of a mask is used, and that does not depend on the size


@dataclass(frozen=True, kw_only=True)
class Scans:
    """roots: what the pipeline is given; files: real paths of the scans below, sorted; targets: their classes."""

    roots: list[Path]
    files: list[str]
    targets: list[int] | None
    line: str


def find_scans(folder: Path, limit: int | None = None) -> Scans:
    """The scans below a folder, or `limit` of them at equal distances. Raises UserError where there are none."""
    if (folder / "images").is_dir():  # a split of a data set: its masks are no scans
        folder = folder / "images"
    discovery = Discovery([folder])
    found = [one for one in discovery if one.kind == "picture" and one.container is None]  # what the peers read
    files = sorted(os.path.realpath(discovery.real_path(one.path)) for one in found)
    if not files:
        raise UserError(f"There are no PNG or JPEG slices in {folder}.", fix="give --scans FOLDER")
    roots, of = [folder], len(files)
    if limit is not None and limit < of:
        files = [files[index] for index in np.linspace(0, of - 1, limit).round().astype(int)]
        roots = [Path(file) for file in files]
    targets, what = _targets(folder, files)
    part = "" if len(files) == of else f" of {of}, evenly spread"
    return Scans(roots=roots, files=files, targets=targets, line=f"{what}: {len(files)} files{part}")


def _targets(folder: Path, files: list[str]) -> tuple[list[int] | None, str]:
    split = folder.resolve().parent
    if folder.name != "images" or split.name not in SPLITS:
        return None, folder.resolve().name
    try:
        layout = read_layout(split.parent, (split.name,))
        samples = {os.path.realpath(sample.image): sample for sample in layout.splits[split.name]}
        targets = []
        for file in files:
            sample = samples[file]
            targets.append(int(load_mask(sample, _SIZE).max()) if sample.mask else int(sample.target or 0))
    except (DataError, KeyError):
        return None, folder.resolve().name
    mark = " BY SLICE" if layout.split_by == "slice" else ""
    return targets, f"{split.parent.name}, {split.name} split{mark}"
