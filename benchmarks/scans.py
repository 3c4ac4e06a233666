"""The files of a folder comparison, and their classes where a folder is the test split of a data set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lits_deploy.errors import DataError, UserError
from lits_deploy.scans.discover import Discovery
from train.data.layout import SPLITS, read_layout
from train.data.masks import load_class
from train.data.spread import evenly


@dataclass(frozen=True, kw_only=True)
class Scans:
    """roots: what the pipeline is given; files: real paths of the scans below, sorted.

    targets: their classes; None for those of a split that the network may have been trained on, or all None.
    """

    roots: list[Path]
    files: list[str]
    targets: list[int | None] | None
    line: str


def find_scans(folders: Sequence[Path], limit: int | None = None) -> Scans:
    """The scans below folders, or `limit` of them at equal distances. Raises UserError where there are none."""
    # Of a split of a data set: its masks are no scans.
    roots = [folder / "images" if (folder / "images").is_dir() else folder for folder in folders]
    discovery = Discovery(roots)
    found = [one for one in discovery if one.kind == "picture" and one.container is None]  # what the peers read
    files = sorted(os.path.realpath(discovery.real_path(one.path)) for one in found)
    if not files:
        raise UserError(f"There are no PNG or JPEG slices in {folders[0]}.", fix="give --scans FOLDER")
    of = len(files)
    if limit is not None and limit < of:
        files = evenly(files, limit)
        roots = [Path(file) for file in files]
    known: dict[str, int] = {}
    names = []
    for folder in folders:
        classes, name = _targets(folder / "images" if (folder / "images").is_dir() else folder)
        known |= classes
        names.append(name)
    part = "" if len(files) == of else f" of {of:,}, evenly spread"
    targets = [known.get(file) for file in files] if known else None
    judged = sum(target is not None for target in targets or ())
    line = f"{'; '.join(names)}: {len(files):,} files{part}"
    if targets is not None and judged < len(files):
        line += f" (accuracy on the {judged:,} of the test split)"
    return Scans(roots=roots, files=files, targets=targets, line=line)


def _targets(folder: Path) -> tuple[dict[str, int], str]:
    """Real path → class of a test split; none for any other folder."""
    split = folder.resolve().parent
    if folder.name != "images" or split.name not in SPLITS:
        return {}, folder.resolve().name
    name = f"{split.parent.name}, {split.name} split"
    if split.name != "test":
        return {}, name
    try:
        layout = read_layout(split.parent, (split.name,))
    except DataError:
        return {}, name
    found = {os.path.realpath(sample.image): load_class(sample) for sample in layout.splits[split.name]}
    return found, name + (" BY SLICE" if layout.split_by == "slice" else "")
