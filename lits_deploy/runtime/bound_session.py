"""An ONNX Runtime session with slices and answers in buffers that stay on the device."""

from __future__ import annotations

from typing import Any

import numpy as np

from lits_deploy.runtime.base import Batch


class BoundSession:
    """Runs a session on a set of buffers for each padded batch size: 1, 2, 4, … and `most`.

    Padded, because CUDA's provider tries every algorithm of each convolution anew for each size that it has not seen.
    """

    def __init__(
        self, ort: Any, session: Any, name: str, wanted: list[str], kind: str, index: int, *, most: int
    ) -> None:
        self._ort, self._session, self._name, self._wanted = ort, session, name, wanted
        self._kind, self._index, self._most = kind, index, most
        self._kept: dict[int, tuple[Any, Any]] = {}

    def run(self, batch: Batch) -> list[Any]:
        """Upload, run, download: the wanted outputs of uint8 [N, C, H, W], in order."""
        count = len(batch)
        size = min(1 << (count - 1).bit_length(), self._most)
        if size != count:
            padded = np.zeros((size, *batch.shape[1:]), batch.dtype)
            padded[:count] = batch
            batch = padded
        batch = np.ascontiguousarray(batch)
        try:
            if size not in self._kept:
                self._kept[size] = self._bind(batch)
            slices, binding = self._kept[size]
            slices.update_inplace(batch)
            self._session.run_with_iobinding(binding)
            return [values[:count] for values in binding.copy_outputs_to_cpu()]
        except Exception:
            self._kept.clear()  # out of memory or broken: the next batch starts with all there is
            raise

    def _bind(self, batch: Batch) -> tuple[Any, Any]:
        # From a copy: on the CPU an OrtValue is a view of the array it was made from.
        slices = self._ort.OrtValue.ortvalue_from_numpy(batch.copy(), self._kind, self._index)
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(self._name, slices)
        for output in self._wanted:
            binding.bind_output(output, self._kind, self._index)
        return slices, binding
