"""The original in PyTorch as a GPU likes it: eager FP32, eager FP16 in channels_last, and torch.compile.

Preprocessing and softmax stay FP32 in all of them, as in the exported graphs. FP32 means FP32: TF32 is off.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from benchmarks.torch_eager import on_device
from export.source import Original
from lits_deploy.errors import DeviceError
from lits_deploy.runtime import Batch, Outputs, Runtime, RuntimeInfo

MODES = ("eager fp32", "eager fp16 channels_last", "compile fp32", "compile fp16 channels_last")
"""What can be compared; the second word is the precision."""


class _Half(nn.Module):
    """A network computed in FP16 in channels_last, FP32 outside."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.half().to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Float32 [N, C, H, W] → float32 logits."""
        answer: Tensor = self.network(x.half().contiguous(memory_format=torch.channels_last))
        return answer.float()


class TorchGpu(Runtime):
    """One of MODES. Compiled ones know batches of 1 and `max_batch`, and fill up to these: each takes a while."""

    name: ClassVar[str] = "PyTorch"

    def __init__(
        self, original: Original, mode: str, *, device: str = "cuda:0", max_batch: int, wanted: tuple[str, ...]
    ) -> None:
        super().__init__(shape=original.contract.shape, max_batch=max_batch)
        if mode not in MODES:
            raise DeviceError(f"`{mode}` is none of: {', '.join(MODES)}.")
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        module = copy.deepcopy(original.module)  # the original stays as it is, on the CPU
        if "fp16" in mode:
            module.network = _Half(module.network)
        self._device, self._mode, self._wanted = torch.device(device), mode, wanted
        self._outputs = module.outputs
        with on_device():
            module = module.to(self._device).eval()
        self._call: Callable[..., Any] = module
        self._compiled = mode.startswith("compile")
        if self._compiled:  # on a CPU only the tracing: its code generator would take minutes
            kind: dict[str, Any] = {"mode": "reduce-overhead"} if self._device.type == "cuda" else {"backend": "eager"}
            self._call = torch.compile(module, dynamic=False, **kind)

    def _infer(self, batch: Batch) -> Outputs:
        try:
            with on_device(), torch.inference_mode():
                there = torch.from_numpy(batch).to(self._device)
                if self._compiled and 1 < len(batch) < self.max_batch:
                    there = torch.cat([there, there.new_zeros(self.max_batch - len(batch), *self.shape)])
                named = dict(zip(self._outputs, self._call(there), strict=True))
                # .cpu() waits for a GPU
                return Outputs(**{name: named[name][: len(batch)].cpu().numpy() for name in self._wanted})
        except RuntimeError as error:  # the compiler's errors are of this kind too
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise DeviceError(f"PyTorch {self._mode}: {reason[:300]}") from error

    def describe(self) -> RuntimeInfo:
        """The mode is the provider."""
        return RuntimeInfo(
            name=self.name,
            version=torch.__version__,
            device=str(self._device),
            precision="fp16" if "fp16" in self._mode else "fp32",
            providers=(self._mode,),
        )

    def close(self) -> None:
        """Drop the network and give its memory back to the device."""
        del self._call
        if self._compiled:
            torch._dynamo.reset()  # it gives up on code that was compiled eight times, and networks share theirs
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
