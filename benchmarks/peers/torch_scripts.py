"""The scripts that competent users of PyTorch write to classify a folder: eager and compiled; and timm's own.

Dataset, DataLoader with worker processes, evaluation and inference mode, batches of 32, one CSV at the end: the same
network, slices and threads as the pipeline. `mode` is one of MODES.

    eager              default memory layout
    channels_last      the layout that convolutions are fastest in
    compile            torch.compile with frozen weights (PyTorch's advice for inference on a CPU), channels_last; the
                       last batch is filled up, so that one graph does for all. Its cache on disk is warm, as on any
                       second day
    timm               `ImageDataset` and `create_loader` as in its own inference script, channels_last: the picture as
                       grey, centre crop by `crop_pct`, to float, normalised. The network takes floats; its weights
                       are those of the run
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.peers.common import Probabilities, Slices, read_grey, run_job
from export.source import Original, from_run

MODES = ("eager", "channels_last", "compile", "timm")


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
        original = from_run(self.run)
        self.size = original.contract.size
        self._call = original.module.eval().to(self.device)
        if self.mode != "eager":
            self._call.to(memory_format=torch.channels_last)
        if self.mode == "compile":
            import torch._inductor.config as inductor

            inductor.freezing = True
            self._call = torch.compile(self._call, dynamic=False)

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


def child(spec: dict[str, Any]) -> dict[str, Any]:
    """What the fresh process runs; importing timm is an import like PyTorch's, before the clock."""
    if spec["mode"] == "timm":
        import timm.data  # noqa: F401

        return run_job(spec, TimmScript, Path(spec["run"]), "threads", "device")
    return run_job(spec, TorchScript, Path(spec["run"]), "mode", "threads", "device")
