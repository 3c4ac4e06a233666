"""What each fold's network answers on the patients that it never saw: RUN/out_of_fold.npz of `train --folds`.

The answers are those of a fold's last epoch, which nobody chose on these patients, in FP32, without a temperature. So a
figure, a temperature or a threshold that is made from them holds for the procedure on patients like these. One row a
slice, by patient, scan and slice; of all patients of train and validate. Nothing is unpickled. Imports no torch.

    patient, scan, path   text [N]; path: of the picture below the data set's folder, escaped
    fold                  int64 [N], 1 … K: the one that it was held out of
    target                int64 [N], class 0, 1, 2
    logits                float32 [N, 3]: of a classifier
    pixels                int64 [N, 3, 3]: of a U-Net, counts of pixels, rows = label in the mask, columns = answer
    record                text: JSON, see `OutOfFold.record`
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lits_deploy.contract import Task
from lits_deploy.errors import DataError
from lits_deploy.files import atomic_path
from lits_deploy.series import natural

NAME = "out_of_fold.npz"
SCHEMA = 1

Text = npt.NDArray[np.str_]
Whole = npt.NDArray[np.int64]

_TEXT, _WHOLE = ("patient", "scan", "path"), ("fold", "target")
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    RecursionError,
    NotImplementedError,
    zlib.error,
    zipfile.BadZipFile,
)


@dataclass(frozen=True, kw_only=True)
class OutOfFold:
    """The rows of the file, see this module; logits or pixels is None, by task.

    record: folds (K), seed, data (the data set's name), synthetic, split_by ("patient": always whole patients),
    model, contract (its hash), epochs [K] and checkpoints [K] (hex SHA-256) of the networks that answered.
    """

    patient: Text
    scan: Text
    path: Text
    fold: Whole
    target: Whole
    logits: npt.NDArray[np.float32] | None = None
    pixels: Whole | None = None
    record: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.target)

    @property
    def task(self) -> Task:
        """What the networks do."""
        return "segment" if self.logits is None else "classify"

    @property
    def folds(self) -> int:
        """K."""
        return int(self.record["folds"])

    @property
    def tumour_pixels(self) -> Whole:
        """Pixels of each slice that a U-Net calls lesion, int64 [N]."""
        assert self.pixels is not None
        return np.asarray(self.pixels[:, :, 2].sum(axis=1), np.int64)

    def rows(self, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> OutOfFold:
        """Some of the rows, by a mask bool [N] or by indices."""
        arrays: dict[str, Any] = {name: value[chosen] for name, value in self._arrays().items()}
        return dataclasses.replace(self, **arrays)

    def save(self, path: Path) -> None:
        """Write the file, in one rename."""
        arrays: dict[str, Any] = {**self._arrays(), "record": np.array(json.dumps(self.record, sort_keys=True))}
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, **arrays)

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        named = {name: getattr(self, name) for name in (*_TEXT, *_WHOLE, "logits", "pixels")}
        return {name: value for name, value in named.items() if value is not None}


def joined(parts: Sequence[OutOfFold], record: dict[str, Any]) -> OutOfFold:
    """The rows of several folds in one table, in the order of patients."""
    first = parts[0]._arrays()
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in first}
    whole = OutOfFold(**arrays, record=record)
    rows = zip(whole.patient.tolist(), whole.scan.tolist(), whole.path.tolist(), strict=True)
    keys = [(patient, scan, natural(path.rpartition("/")[2]), path) for patient, scan, path in rows]
    return whole.rows(np.array(sorted(range(len(keys)), key=keys.__getitem__), np.intp))


def of_run(run: Path) -> OutOfFold:
    """The answers of a folded run; DataError where they are not there yet, or damaged."""
    if not (run / NAME).is_file():
        raise DataError(
            f"{run} has no answers out of fold yet.", fix="finish it: the same `train --folds` command, with --resume"
        )
    return read(run / NAME)


def read(path: Path) -> OutOfFold:
    """Read what `save` wrote; DataError for anything else."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        record = json.loads(str(arrays.pop("record")))
        problem = _problem(arrays, record)
    except _UNREADABLE as error:
        problem = str(error) or type(error).__name__
    if problem:
        raise DataError(f"{path} is damaged ({problem}).", fix="the same `train --folds` command, with --resume")
    return OutOfFold(**arrays, record=record)


def _problem(arrays: dict[str, npt.NDArray[Any]], record: Any) -> str | None:
    """What is wrong with the content of a file, or None."""
    answer = {"logits": ((3,), "float32"), "pixels": ((3, 3), "int64")}
    given = arrays.keys() & answer.keys()
    if arrays.keys() - given != {*_TEXT, *_WHOLE} or len(given) != 1:
        return "its arrays are not those that a training writes"
    if not isinstance(record, dict) or record.get("schema") != SCHEMA or type(record.get("folds")) is not int:
        return "its record is not one of ours"
    name, count = next(iter(given)), len(arrays["target"])
    shape, kind = answer[name]
    sound = arrays[name].shape == (count, *shape) and str(arrays[name].dtype) == kind
    sound = sound and all(arrays[key].shape == (count,) and arrays[key].dtype.kind == "U" for key in _TEXT)
    sound = sound and all(arrays[key].shape == (count,) and arrays[key].dtype == np.int64 for key in _WHOLE)
    if not sound or not count:
        return "its arrays are not of one length"
    if not (np.isin(arrays["target"], (0, 1, 2)).all() and np.isfinite(arrays[name]).all()):
        return "it holds classes or answers that are none"
    if set(np.unique(arrays["fold"]).tolist()) != set(range(1, record["folds"] + 1)):
        return "it does not hold every fold"
    return None
