"""The scripts that competent users of PyTorch write to classify a folder: eager and compiled.

Dataset, DataLoader with worker processes, evaluation and inference mode, batches of 32, one CSV at the end: the same
network, slices and threads as the pipeline. `mode` is one of MODES.

    eager              default memory layout
    channels_last      the layout that convolutions are fastest in
    compile            torch.compile with frozen weights (PyTorch's advice for inference on a CPU), channels_last; the
                       last batch is filled up, so that one graph does for all. Its cache on disk is warm, as on any
                       second day
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.peers.common import Probabilities, Slices, child_of, of_spec, read_grey
from export.source import Original, from_run

MODES = ("eager", "channels_last", "compile")


class Pictures(Dataset[Tensor]):
    """Grey pictures as uint8 [1, S, S]."""

    def __init__(self, files: Sequence[str], size: int) -> None:
        self.files, self.size = files, size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(read_grey(self.files[index], self.size).copy()).unsqueeze(0)


class TorchScript:
    """A run's best checkpoint in one of MODES."""

    def __init__(self, run: Path, *, mode: str, threads: int, device: str = "cpu") -> None:
        self.run, self.mode, self.threads, self.device = run, mode, threads, torch.device(device)
        self.size = 0
        self._call: Any = None

    def load(self) -> None:
        """Read the checkpoint; compile where the mode says so, by one call on a batch of the size to come."""
        torch.set_num_threads(self.threads)
        original = self.original()
        self.size = original.contract.size
        module: nn.Module = original.module.eval().to(self.device)
        if self.mode != "eager":
            module = module.to(memory_format=torch.channels_last)
        self._call = module
        if self.mode == "compile":
            import torch._inductor.config as inductor

            inductor.freezing = True
            self._call = torch.compile(module, dynamic=False)

    def original(self) -> Original:
        """The network, from the run."""
        return from_run(self.run)

    def classify(self, slices: Slices) -> Probabilities:
        """Through the network on its device and back."""
        values: Probabilities = self._run(torch.from_numpy(np.ascontiguousarray(slices))).numpy()
        return values

    def folder(self, files: Sequence[str], batch: int, workers: int) -> Iterator[Probabilities]:
        """DataLoader with `workers` processes."""
        cuda = self.device.type == "cuda"
        loader: DataLoader[Tensor] = DataLoader(
            Pictures(files, self.size), batch_size=batch, num_workers=workers, pin_memory=cuda
        )
        for slices in loader:
            yield self._run(slices, fill_to=batch if self.mode == "compile" else 0).numpy()

    def _run(self, slices: Tensor, fill_to: int = 0) -> Tensor:
        count = len(slices)
        if count < fill_to:
            slices = torch.cat([slices, slices.new_zeros((fill_to - count, *slices.shape[1:]))])
        with torch.inference_mode(self.mode != "compile"), torch.no_grad():  # freezing needs no_grad, not inference
            _, probabilities = self._call(slices.to(self.device, non_blocking=True))
            answer: Tensor = probabilities[:count].cpu()
            return answer


def child(text: str) -> None:
    """What the fresh process runs."""
    child_of(text, lambda spec: TorchScript(Path(spec["run"]), **of_spec(spec, "mode", "threads", "device")))
