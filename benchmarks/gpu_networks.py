"""Networks with random weights for `gpu_check`: as a bundle in three precisions, and in PyTorch as a GPU likes it.

INT8 ranges come from the slices, and tolerances are wide: nothing was learnt, so accuracy is not the question here.
PyTorch: eager FP32, eager FP16 in channels_last, and torch.compile. Preprocessing and softmax stay FP32 in all of them,
as in the exported graphs. FP32 means FP32: TF32 is off.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from benchmarks.gpu_rows import Contestant, GpuSubject, contestants_of
from benchmarks.torch_eager import TorchEager
from export.parity import original_probabilities
from export.source import Deployed, Original
from lits_deploy.bundle import CARD, GOLDEN, MANIFEST_HASH, Artifact, Bundle, Manifest, write_manifest
from lits_deploy.contract import InputContract
from lits_deploy.errors import DeviceError
from lits_deploy.files import sha256_file, write_text
from lits_deploy.parity import FP32_TOLERANCE
from lits_deploy.runtime import Batch, Outputs, RuntimeInfo
from lits_deploy.trt.flavour import FLAVOURS, Flavour
from train.models.registry import build, network

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


class TorchGpu(TorchEager):
    """One of MODES. Compiled ones know batches of 1 and `max_batch`, and fill up to these: each takes a while."""

    name: ClassVar[str] = "PyTorch"

    def __init__(
        self, original: Original, mode: str, *, device: str = "cuda:0", max_batch: int, wanted: tuple[str, ...]
    ) -> None:
        module = copy.deepcopy(original.module)  # the original stays as it is, on the CPU
        if "fp16" in mode:
            module.network = _Half(module.network)
        super().__init__(replace(original, module=module), device, max_batch=max_batch, wanted=wanted)
        self._mode, self._compiled = mode, mode.startswith("compile")
        if self._compiled:  # on a CPU only the tracing: its code generator would take minutes
            kind: dict[str, Any] = {"mode": "reduce-overhead"} if self._device.type == "cuda" else {"backend": "eager"}
            self._module = torch.compile(self._module, dynamic=False, **kind)

    def _infer(self, batch: Batch) -> Outputs:
        count = len(batch)
        try:
            if self._compiled and 1 < len(batch) < self.max_batch:
                batch = np.concatenate([batch, np.zeros((self.max_batch - count, *self.shape), np.uint8)])
            found = super()._infer(batch)
        except RuntimeError as error:  # the compiler's errors are of this kind too
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise DeviceError(f"PyTorch {self._mode}: {reason[:300]}") from error
        return Outputs(**{name: getattr(found, name)[:count] for name in self._wanted})

    def describe(self) -> RuntimeInfo:
        """The mode is the provider."""
        return replace(super().describe(), precision=self._mode.split()[1], providers=(self._mode,))

    def close(self) -> None:
        """Drop the network and give its memory back to the device."""
        super().close()
        if self._compiled:
            torch._dynamo.reset()  # it gives up on code that was compiled eight times, and networks share theirs
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


Slices = npt.NDArray[np.uint8]

TOLERANCES = {"fp32": FP32_TOLERANCE, "fp16": 1e-2, "int8": 0.25}
"""Largest |Δp| against the original that passes, by precision."""

CHECKED = {"classify": 16, "segment": 6}
"""Slices that every candidate is checked on; the first of those that are timed."""

SEED = 20_261_124


def make_subject(
    name: str,
    folder: Path,
    here: Sequence[tuple[str, str]],
    *,
    device: str,
    pictures: Slices,
    width: int | None = None,
    modes: Sequence[str] = MODES,
    flavours: Sequence[Flavour] = FLAVOURS,
) -> GpuSubject:
    """A network, its bundle below `folder`, and everything that can run it on `device` and on the places of `here`.

    pictures: distinct slices that are timed, uint8 [N, C, S, S], at least those that are checked. Without places no
    bundle is made, which takes onnx and onnxscript.
    """
    original = random_original(name, width=width)
    checked = pictures[: CHECKED[original.info.task]]
    expected = original_probabilities(original, checked)
    contestants = [
        Contestant(
            name=f"PyTorch {mode.replace(' fp32', '').replace(' fp16', '')}",
            precision=mode.split()[1],
            tolerance=TOLERANCES[mode.split()[1]],
            open=partial(TorchGpu, original, mode, device=device),
        )
        for mode in modes
    ]
    if here:
        there = folder / name
        whole = (there / MANIFEST_HASH).is_file()  # made by another part of `gpu_check`, which cannot have been cut
        bundle = Bundle.open(there) if whole else make_bundle(original, there, checked, expected)
        contestants += contestants_of(bundle, here, flavours)
    daily = ("logits", "probabilities") if original.info.task == "classify" else ("labels",)
    return GpuSubject(name=name, slices=pictures, expected=expected, wanted=daily, contestants=contestants)


def random_original(name: str, *, width: int | None = None) -> Original:
    """A network of the registry, always with the same random weights."""
    info = network(name)
    torch.manual_seed(SEED)
    module = build(name, width=width, init="kaiming").eval()
    contract = InputContract(window_hu=(-40.0, 160.0), crop=info.crop)
    return Original(info=info, module=Deployed(module, contract, info.task).eval(), contract=contract, width=width)


def make_bundle(original: Original, folder: Path, golden: Slices, expected: npt.NDArray[np.float32]) -> Bundle:
    """fp32, FP16 and INT8 for TensorRT, without any gate: the goldens decide."""
    import onnx

    from export.graph import OPSET, write_onnx
    from export.precision.make import FP16, INT8_TENSORRT
    from export.precision.ranges import activations

    recipes = {recipe.name: recipe for recipe in (FP16, INT8_TENSORRT)}
    folder.mkdir(parents=True, exist_ok=True)
    files = {"fp32": folder / "model.onnx", **{name: folder / recipe.file for name, recipe in recipes.items()}}
    write_onnx(original, files["fp32"])
    model = onnx.load(files["fp32"])
    seen = activations(model, golden[:4])
    for name, recipe in recipes.items():
        onnx.save(recipe.make(model, seen), files[name])
    np.savez_compressed(folder / GOLDEN, slices=golden, probabilities=expected)
    write_text(folder / CARD, f"# {original.info.name}\n\nRandom weights, for checks of speed.\n")
    artifacts = tuple(
        Artifact(
            name=name,
            file=path.name,
            sha256=sha256_file(path),
            bytes=path.stat().st_size,
            precision=name.partition("-")[0],
            opset=OPSET,
            outputs=original.module.outputs,
            tolerance=TOLERANCES[name.partition("-")[0]],
            runtimes=recipes[name].runtimes if name in recipes else (),
            devices=recipes[name].devices if name in recipes else (),
        )
        for name, path in files.items()
    )
    manifest = Manifest(
        task=original.info.task,
        model={"name": original.info.name, "parameters": original.parameters},
        contract=original.contract,
        artifacts=artifacts,
        files={name: sha256_file(folder / name) for name in (GOLDEN, CARD)},
    )
    return write_manifest(folder, manifest)
