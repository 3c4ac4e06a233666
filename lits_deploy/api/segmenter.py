"""`Segmenter`: slices in memory through a U-Net's bundle, and its masks back on their pixels."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from lits_deploy.api.answers import MaskAnswer
from lits_deploy.api.open_network import OpenedBundle
from lits_deploy.contract import Task
from lits_deploy.ledger import EXCLUDED, OK
from lits_deploy.results import STATUS
from lits_deploy.segmentation.geometry import MaskGeometry


class Segmenter(OpenedBundle):
    """A U-Net's bundle, open for slices. Use as a context manager. Files and series: `segment_folder`."""

    task: ClassVar[Task] = "segment"

    def predict(self, slices: npt.ArrayLike) -> list[MaskAnswer]:
        """The mask of each slice, in their order. slices, and what is raised: as for `Classifier.predict`."""
        looked = self._looked_at(slices)
        rows, columns = np.shape(slices)[-2:]
        place = MaskGeometry(size=self.bundle.manifest.contract.size, rows=rows, columns=columns)
        answers = []
        for frame in looked.frames:
            if frame.index in looked.outputs:
                (labels,) = looked.outputs[frame.index]
                mask = place.onto_source(labels[0])
                answers.append(MaskAnswer(index=frame.index, status=STATUS[OK], window=looked.window, labels=mask))
            else:
                answers.append(
                    MaskAnswer(index=frame.index, status=STATUS[EXCLUDED], reason=frame.withheld, window=looked.window)
                )
        return answers
