"""Slices with masks on disk, as every writer of the training layout makes them; and a pool of processes for the work.

    <split>/images/volume-VVV_SSSS.png   8-bit grey
    <split>/masks/volume-VVV_SSSS.png    labels 0 background, 1 liver, 2 lesion

Imports no torch. Knows nothing about where the pixels come from (`train.phantom`, `train.prepare`).
"""

from __future__ import annotations

import multiprocessing
import re
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from lits_deploy.files import atomic_path
from lits_deploy.machine import cores
from train.data.layout import SPLITS

LABELS = {"0": "background", "1": "liver", "2": "lesion"}
MOST_WORKERS = 16
OURS = re.compile(r"volume-\d{3,}_\d{4,}\.png")
"""Names that this module writes: nothing else in a folder is ever removed."""

_HALF = re.compile(r"\.volume-\d{3,}_\d{4,}\.png\.\d+\.tmp")
"""What `atomic_path` leaves of such a file when its process is killed."""

Progress = Callable[[int, int], None]
"""Called with (patients done, patients in all)."""

Job = TypeVar("Job")
Done = TypeVar("Done")


def slice_name(patient: int, level: int) -> str:
    """File name of a slice: patient and slice number, as `train.data.layout` reads them back."""
    return f"volume-{patient:03d}_{level:04d}.png"


def write_slice(root: Path, split: str, name: str, image: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8]) -> None:
    """Write a slice uint8 [S, S] and its labels uint8 [S, S], each whole or not at all."""
    # The mask first: an image without its mask is never seen.
    for kind, pixels in (("masks", mask), ("images", image)):
        with atomic_path(root / split / kind / name) as temporary:
            Image.fromarray(pixels).save(temporary, format="PNG", compress_level=4)


def drop_leftovers(root: Path, wanted: set[tuple[str, str]]) -> None:
    """Remove slices of an earlier run that are not among `wanted` (split, name), and halves; touch nothing else.

    For a moment when no process writes to the folder.
    """
    for split in SPLITS:
        for kind in ("images", "masks"):
            folder = root / split / kind
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                stale = OURS.fullmatch(path.name) and (split, path.name) not in wanted
                if stale or _HALF.fullmatch(path.name):
                    path.unlink()


def count_classes(slices: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    """Slices of class 0, 1 and 2 in each split, from (split, class) of every slice: the form of Table 1."""
    counts = {split: [0, 0, 0] for split in SPLITS}
    for split, target in slices:
        counts[split][target] += 1
    return counts


def run_jobs(function: Callable[[Job], Done], jobs: Sequence[Job], workers: int | None) -> Iterator[Done]:
    """Results of `function` (of a module's top level) over `jobs`, as they come; one worker works in this process.

    workers: processes; None: one per core. Ctrl-C reaches this process alone, which lets the jobs in flight end.
    """
    count = min(workers or cores(), len(jobs), MOST_WORKERS)
    if count <= 1:
        yield from map(function, jobs)
        return
    context = multiprocessing.get_context("spawn")
    ignored = (signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(count, mp_context=context, initializer=signal.signal, initargs=ignored) as pool:
        futures = [pool.submit(function, job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
