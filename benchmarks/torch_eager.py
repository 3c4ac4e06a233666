"""The original in PyTorch eager mode behind the runtimes' seam: what every export is compared with.

The same uint8 slices in and numpy arrays out, preprocessing inside, evaluation and inference mode, the default memory
layout. FP32 means FP32: TF32 is off on a GPU.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch

from benchmarks.candidates import Candidate
from export.source import Original, from_run
from lits_deploy.errors import DeviceOutOfMemory
from lits_deploy.parity import FP32_TOLERANCE
from lits_deploy.resource_errors import device_is_full
from lits_deploy.runtime import Batch, Outputs, Runtime, RuntimeInfo
from train.device import limit_threads


@contextmanager
def on_device() -> Iterator[None]:
    """DeviceOutOfMemory in place of PyTorch's own error."""
    try:
        yield
    except RuntimeError as error:
        if not device_is_full(error):
            raise
        raise DeviceOutOfMemory(" ".join(str(error).split())[:300]) from error


class TorchEager(Runtime):
    """A trained network as `export.source` reads it."""

    name: ClassVar[str] = "PyTorch eager"

    def __init__(
        self,
        original: Original,
        device: str = "cpu",
        threads: int = 0,
        max_batch: int = 32,
        wanted: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(shape=original.contract.shape, max_batch=max_batch)
        if threads:
            torch.set_num_threads(threads)
        else:
            limit_threads()
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        self._device = torch.device(device)
        # `to` would move the shared one
        module = original.module if device == "cpu" else copy.deepcopy(original.module)
        with on_device():
            self._module: Callable[..., Any] = module.to(self._device).eval()
        self._outputs = module.outputs
        default = ("logits", "probabilities") if original.info.task == "classify" else ("labels",)
        self._wanted = wanted or default

    def _infer(self, batch: Batch) -> Outputs:
        with on_device(), torch.inference_mode():
            values = self._module(torch.from_numpy(batch).to(self._device))
            named = dict(zip(self._outputs, values, strict=True))
            return Outputs(**{name: named[name].cpu().numpy() for name in self._wanted})  # .cpu() waits for a GPU

    def describe(self) -> RuntimeInfo:
        """Version and device."""
        return RuntimeInfo(
            name=self.name, version=torch.__version__, device=str(self._device), precision="fp32", providers=("eager",)
        )

    def close(self) -> None:
        """Drop the network."""
        del self._module


def open_original(spec: dict[str, Any], max_batch: int) -> TorchEager:
    """The best checkpoint of a run, ready to infer, by its candidate's spec; flips: as the bundle answers."""
    original = from_run(Path(spec["run"])).with_flips(spec["flips"])
    return TorchEager(original, spec["device"], spec["threads"], max_batch)


def original_candidates(run: Path, original: Original, threads: int) -> list[Candidate]:
    """The original on the CPU, and on the first GPU where PyTorch has one."""
    # what the checkpoint holds without the optimiser
    size = sum(value.numel() * value.element_size() for value in original.module.network.state_dict().values())
    return [
        Candidate(
            runtime=TorchEager.name,
            device=device,
            artifact="original",
            precision="fp32",
            size_bytes=size,
            tolerance=FP32_TOLERANCE,
            open=partial(TorchEager, original, device, threads),
            original=True,
            spec={"run": str(run.resolve()), "device": device, "threads": threads, "flips": original.module.flips},
        )
        for device in ("cpu", *(["cuda:0"] if torch.cuda.is_available() else []))
    ]
