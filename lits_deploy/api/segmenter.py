"""`Segmenter`: slices in memory, or the files of one series, through a U-Net's bundle; masks on their own pixels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from lits_deploy.api.answers import MaskAnswer, MaskSeries
from lits_deploy.api.open_network import OpenedBundle
from lits_deploy.api.parameters import parameters_named
from lits_deploy.api.paths import Scans, roots_of
from lits_deploy.api.series import SeriesRows, of_one_call, without_names
from lits_deploy.contract import Task
from lits_deploy.ledger import EXCLUDED, OK
from lits_deploy.pipeline.context import RunContext, RunHooks
from lits_deploy.pipeline.run import run_folder
from lits_deploy.pipeline.stop import Stop
from lits_deploy.results import MASKS, STATUS, VOLUMES
from lits_deploy.segmentation.geometry import MaskGeometry
from lits_deploy.segmentation.run import MaskBook


class Segmenter(OpenedBundle):
    """A U-Net's bundle, open for slices. Use as a context manager."""

    task: ClassVar[Task] = "segment"

    @parameters_named()
    def predict(self, slices: npt.ArrayLike) -> list[MaskAnswer]:
        """The mask of each slice, in their order. slices, and what is raised: as for `Classifier.predict`."""
        looked = self._looked_at(slices)
        rows, columns = np.shape(slices)[-2:]
        geometry = MaskGeometry(size=self.bundle.manifest.contract.size, rows=rows, columns=columns)
        answers = []
        for frame in looked.frames:
            if frame.index in looked.outputs:
                (labels,) = looked.outputs[frame.index]
                mask = geometry.onto_source(labels[0])
                answers.append(MaskAnswer(index=frame.index, status=STATUS[OK], window=looked.window, labels=mask))
            else:
                answers.append(
                    MaskAnswer(index=frame.index, status=STATUS[EXCLUDED], reason=frame.excluded, window=looked.window)
                )
        return answers

    @parameters_named()
    def predict_series(self, path: Scans) -> MaskSeries:
        """The masks of one series: a file, a folder or a zip (or several) of DICOM, NIfTI or pictures.

        Masks and volumes are those that `lits-deploy segment` writes; the masks of all slices are held in memory. How
        files are read, and what is raised: as for `Classifier.predict_series`.
        """
        book = SeriesRows()
        with TemporaryDirectory(prefix="lits-deploy-") as folder:
            out = Path(folder) / "results"
            written = MaskBook(self.bundle, out, ("png",), Stop())

            def finish(run: RunContext) -> Sequence[Path]:
                return [*book.take(run), *written.write(run)]

            options = of_one_call(self._options, formats=("jsonl",))
            summary = run_folder(
                self.bundle,
                roots_of(path),
                out,
                task=self.task,
                options=options,
                runtime=self._open,
                hooks=RunHooks(finish=finish),
            )
            masks = {(row["path"], row["index"]): row for row in _rows(MASKS.path(out, "jsonl"))}
            (figures,) = _rows(VOLUMES.path(out, "jsonl")) or [{}]
            slices = []
            for row in book.rows:
                mask = masks[row.path, row.idx]
                slices.append(
                    MaskAnswer(
                        index=row.idx,
                        status=STATUS[row.status],
                        reason=row.reason or mask["reason"],
                        window=row.window,
                        path=row.path,
                        z_mm=row.position if book.in_mm else None,
                        copy_of=row.copy_of,
                        labels=None if mask["mask"] is None else _labels(out / mask["mask"]),
                    )
                )
        return MaskSeries(slices=tuple(slices), figures=without_names(figures), warnings=summary.warnings)


def _rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def _labels(path: Path) -> npt.NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture, np.uint8)
