"""A classifier and a U-Net as one runtime: the U-Net runs only on slices where the classifier may see liver.

The answer for a slice depends on that slice alone: whether the U-Net looks hangs on its own logits (`fusion`), and the
rows where it does are gathered into batches of their own, whose answers no other row changes. Knows nothing about
bundles: `backends` opens both networks.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from lits_deploy.fusion import LIVER, TUMOUR, UNSEEN, Fusion
from lits_deploy.runtime.base import Batch, Outputs, Runtime, RuntimeInfo


class PairRuntime(Runtime):
    """`Outputs` of the classifier, and `counts` besides. Takes both runtimes over: it closes them."""

    name: ClassVar[str] = "pair"

    def __init__(self, classifier: Runtime, segmenter: Runtime, fusion: Fusion) -> None:
        """classifier: one that returns logits; segmenter: one that returns labels, open for as many lanes, of any batch
        size, on the classifier's channels or those in their middle."""
        super().__init__(shape=classifier.shape, max_batch=classifier.max_batch, lanes=classifier.lanes)
        self._classifier, self._segmenter, self._fusion = classifier, segmenter, fusion
        channels, wanted = classifier.shape[0], segmenter.shape[0]
        self._seen = slice((channels - wanted) // 2, (channels + wanted) // 2)

    def _infer(self, batch: Batch) -> Outputs:
        outputs = self._classifier.infer(batch)
        assert outputs.logits is not None
        counts = np.full((len(batch), 2), UNSEEN, np.int32)
        rows, most = np.flatnonzero(self._fusion.looks(outputs.logits)), self._segmenter.max_batch
        for start in range(0, len(rows), most):
            some = rows[start : start + most]
            labels = self._segmenter.infer(batch[some][:, self._seen]).labels
            assert labels is not None
            counts[some] = counted(labels)
        return dataclasses.replace(outputs, counts=counts)

    def describe(self) -> RuntimeInfo:
        """The classifier's; profile and engine of both, where there are any."""
        first, second = self._classifier.describe(), self._segmenter.describe()
        return dataclasses.replace(
            first,
            profile=f"{first.profile}+{second.profile}" if first.profile and second.profile else first.profile,
            engine=_both(first.engine, second.engine),
        )

    def close(self) -> None:
        """Release both."""
        self._segmenter.close()
        self._classifier.close()


def counted(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """Pixels of liver, lesions included, and of lesion: int32 [N, 2] of labels uint8 [N, S, S]."""
    counts = np.empty((len(labels), 2), np.int32)
    counts[:, LIVER] = np.count_nonzero(labels, axis=(1, 2))
    counts[:, TUMOUR] = np.count_nonzero(labels == 2, axis=(1, 2))
    return counts


def _both(first: str | None, second: str | None) -> str | None:
    """A hash that changes with either."""
    return hashlib.sha256(f"{first}+{second}".encode()).hexdigest() if first and second else first
