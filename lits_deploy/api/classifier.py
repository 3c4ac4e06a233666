"""`Classifier`: slices in memory, or the files of one series, through a bundle's network, decided as a run decides."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from lits_deploy.api.answers import SeriesAnswer, SliceAnswer
from lits_deploy.api.open_network import OpenedBundle
from lits_deploy.api.parameters import parameters_named
from lits_deploy.api.paths import AnyPath, Scans, roots_of
from lits_deploy.api.series import SeriesRows, of_one_call
from lits_deploy.bundle import Bundle
from lits_deploy.contract import Task
from lits_deploy.errors import BundleError
from lits_deploy.ledger import EXCLUDED, ResultRow
from lits_deploy.pipeline.context import RunHooks
from lits_deploy.pipeline.decide import Answer, MaskDecider
from lits_deploy.pipeline.inference import Portions
from lits_deploy.pipeline.network import decider_of
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.run import run_folder
from lits_deploy.report.activation import NO_MAP, map_source
from lits_deploy.report.pictures import MapGrid
from lits_deploy.results import STATUS
from lits_deploy.runtime import Runtime
from lits_deploy.scans import Slice


class Classifier(OpenedBundle):
    """A classifier's bundle, or a pair's, open for slices. Use as a context manager.

    cam: answers carry the class-activation map of class 2; its network is opened besides, as the report does.
    """

    task: ClassVar[Task] = "classify"

    def __init__(
        self,
        bundle: Bundle | AnyPath,
        *,
        device: str = "auto",
        options: ClassifyOptions | None = None,
        cam: bool = False,
    ) -> None:
        """As `OpenedBundle`. Raises BundleError, too, where a map is asked for of a bundle without."""
        super().__init__(bundle, device=device, options=options)
        decider = decider_of(self.task, self._artifact, self._options)
        assert not isinstance(decider, MaskDecider)
        self._decider = decider
        self._map: Runtime | None = None
        self._grid: MapGrid | None = None
        if cam:
            try:
                self._open_map()
            except BaseException:
                self.close()
                raise

    def _open_map(self) -> None:
        source = map_source(self.bundle, self._artifact, self.info, threads=self._options.threads)
        if source is None:
            raise BundleError(f"{self.bundle.folder}: {NO_MAP}.", fix="leave cam out, or export a ResNet with --cam")
        self._map, self._grid = source.open(), source.grid

    @property
    def cam_grid(self) -> MapGrid | None:
        """Where the cells of `SliceAnswer.cam` lie in the slice as the network takes it; None without `cam`."""
        return self._grid

    def close(self) -> None:
        """Release the networks; again does nothing."""
        shown, self._map = self._map, None
        if shown is not None:
            shown.close()
        super().close()

    @parameters_named()
    def predict(self, slices: npt.ArrayLike) -> list[SliceAnswer]:
        """What the network says of slices in memory, one answer each, in their order.

        slices: [H, W], or [N, H, W], one series in order (from feet to head). uint8: windowed already as the contract
        says, and square; int16 and wider, or floats: HU. Anterior up, the patient's right on the left. A network of
        several channels sees the slices beside each; a single slice is its own neighbour.
        Raises ContractError for other arrays, DeviceError.
        """
        looked = self._looked_at(slices)
        outputs = list(looked.outputs.values())
        answers: dict[int, Answer] = {}
        if outputs:
            together = [np.concatenate(one) for one in zip(*outputs, strict=True)]
            answers = dict(zip(looked.outputs, self._decider.answers(*together), strict=True))
        cams = self._maps({frame.index: frame.pixels for frame in looked.frames if frame.pixels is not None})
        return [
            self._of_array(frame.index, answers.get(frame.index), frame.excluded, looked.window, cams.get(frame.index))
            for frame in looked.frames
        ]

    @parameters_named()
    def predict_series(self, path: Scans) -> SeriesAnswer:
        """What the network says of one series: a file, a folder or a zip (or several) of DICOM, NIfTI or pictures.

        Read as `lits-deploy classify` reads it, in processes with a time and a memory limit; a file that cannot be used
        is an answer with its reason. With `cam`, the slices are held in memory. What is written on the way lies in a
        private temporary folder, which goes at the end.
        Raises UserError where there are no scans, or several series.
        """
        keeper, book = _Shown(), SeriesRows()
        with TemporaryDirectory(prefix="lits-deploy-") as folder:
            summary = run_folder(
                self.bundle,
                roots_of(path),
                Path(folder) / "results",
                options=of_one_call(self._options),
                runtime=self._open,
                hooks=RunHooks(keep=(lambda: keeper) if self._map is not None else None, finish=book.take),
            )
        cams = self._maps(keeper.pixels)
        return SeriesAnswer(
            slices=tuple(
                self._of_file(row, book.in_mm, None if row.file is None else cams.get((row.file, row.idx)))
                for row in book.rows
            ),
            suspicion=book.figures.get("suspicion"),
            figures=book.figures,
            warnings=summary.warnings,
        )

    def _maps(self, pixels: Mapping[Any, Slice]) -> dict[Any, npt.NDArray[np.float32]]:
        if self._map is None or not pixels:
            return {}
        portions, keys = Portions(self._map, ("cam",)), list(pixels)
        found: dict[Any, npt.NDArray[np.float32]] = {}
        for start in range(0, len(keys), self._map.max_batch):
            some = keys[start : start + self._map.max_batch]
            (cams,) = portions.infer(np.stack([pixels[key] for key in some]))
            found.update(zip(some, cams, strict=True))
        return found

    def _of_array(
        self,
        index: int,
        answer: Answer | None,
        excluded: str | None,
        window: str,
        cam: npt.NDArray[np.float32] | None,
    ) -> SliceAnswer:
        if answer is None:
            return SliceAnswer(index=index, status=STATUS[EXCLUDED], reason=excluded, window=window)
        second = answer.second
        return SliceAnswer(
            index=index,
            status=STATUS[answer.status],
            reason=answer.reason,
            **self._said(answer.label, answer.p0, answer.p1, answer.p2),
            lesion=answer.lesion,
            liver_pixels=second and second.liver,
            tumour_pixels=second and second.tumour,
            window=window,
            cam=cam,
        )

    def _of_file(self, row: ResultRow, in_mm: bool, cam: npt.NDArray[np.float32] | None) -> SliceAnswer:
        return SliceAnswer(
            index=row.idx,
            status=STATUS[row.status],
            reason=row.reason,
            **self._said(row.label, row.p0, row.p1, row.p2),
            lesion=row.lesion,
            liver_pixels=row.liver,
            tumour_pixels=row.tumour,
            window=row.window,
            path=row.path,
            z_mm=row.position if in_mm else None,
            copy_of=row.copy_of,
            cam=cam,
        )

    def _said(self, label: int | None, p0: float | None, p1: float | None, p2: float | None) -> dict[str, Any]:
        names = self.bundle.manifest.contract.classes
        probabilities = None if p0 is None or p1 is None or p2 is None else (p0, p1, p2)
        return {
            "label": label,
            "class_name": None if label is None else names[label],
            "probabilities": probabilities,
        }


class _Shown:
    """A `pipeline.context.Keeper` of every slice that was answered."""

    def __init__(self) -> None:
        self.pixels: dict[tuple[int, int], Slice] = {}

    def add(self, file: int, index: int, lesion: float, pixels: Slice) -> None:
        """An answered slice; copied, for its memory is used again."""
        self.pixels[file, index] = pixels.copy()

    def done(self, file: int) -> None:
        """All answers of a file are there."""

    def forget(self, file: int) -> None:
        """A file failed, or begins anew."""
        self.pixels = {key: pixels for key, pixels in self.pixels.items() if key[0] != file}
