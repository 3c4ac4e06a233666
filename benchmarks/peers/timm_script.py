"""A folder the way timm's own inference script does it: `ImageDataset`, `create_loader`, channels_last.

Its dataset, transforms and loader do the reading: the picture as grey, centre crop by `crop_pct`, to float, normalised.
The network takes floats here; its weights are those of the run. timm's dataset reads folders, so the files are linked
into one before the clock starts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.peers.common import Probabilities, Slices, child_of, of_spec
from export.source import Original, from_run


class TimmScript:
    """A run's best checkpoint behind timm's loader."""

    def __init__(self, run: Path, *, threads: int, device: str = "cpu") -> None:
        self.run, self.threads, self.device = run, threads, torch.device(device)
        self._network: Any = None
        self._original: Original

    def load(self) -> None:
        """The bare network, in channels_last."""
        torch.set_num_threads(self.threads)
        self._original = from_run(self.run)
        network = self._original.module.network.eval().to(self.device)
        self._network = network.to(memory_format=torch.channels_last)

    def classify(self, slices: Slices) -> Probabilities:
        """Model only: cropped, scaled and normalised like the loader's batches, by the contract's own code."""
        with torch.inference_mode():
            pictures = self._original.module.preprocess(torch.from_numpy(np.ascontiguousarray(slices)).to(self.device))
            return self._answer(pictures)

    def folder(self, files: Sequence[str], batch: int, workers: int) -> Iterator[Probabilities]:
        """timm's dataset and loader over a folder of links, in the order of `files`."""
        from timm.data.dataset import ImageDataset
        from timm.data.loader import create_loader

        contract = self._original.contract
        side = contract.crop or contract.size
        with tempfile.TemporaryDirectory(prefix="lits-deploy-timm-") as root:
            for index, file in enumerate(files):
                Path(root, f"{index:07d}{Path(file).suffix.lower()}").symlink_to(file)
            loader = create_loader(
                ImageDataset(root, input_img_mode="L"),
                input_size=(1, side, side),
                batch_size=batch,
                interpolation="bilinear",  # no size changes: pictures have the contract's
                mean=(contract.mean,),
                std=(contract.std,),
                crop_pct=side / contract.size,
                num_workers=workers,
                use_prefetcher=self.device.type == "cuda",
                device=self.device,
            )
            with torch.inference_mode():
                for pictures, _ in loader:
                    yield self._answer(pictures.to(self.device))

    def _answer(self, pictures: Tensor) -> Probabilities:
        logits = self._network(pictures.contiguous(memory_format=torch.channels_last))
        values: Probabilities = torch.softmax(logits, dim=1).cpu().numpy()
        return values


def child(text: str) -> None:
    """What the fresh process runs; importing timm is an import like PyTorch's, before the clock."""
    import timm.data  # noqa: F401

    child_of(text, lambda spec: TimmScript(Path(spec["run"]), **of_spec(spec, "threads", "device")))
