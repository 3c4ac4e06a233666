"""Networks of the registry with random weights, as a bundle in three precisions and as PyTorch: for checks of speed.

INT8 ranges come from phantoms, and tolerances are wide: nothing was learnt, so accuracy is not the question here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.gpu_rows import Contestant, Open, Subject, contestants_of
from benchmarks.peers.torch_gpu import MODES, TorchGpu
from export.held_out import HeldOut
from export.parity import original_probabilities
from export.source import Deployed, Original
from lits_deploy.bundle import CARD, GOLDEN, MANIFEST_HASH, Artifact, Bundle, Manifest, write_manifest
from lits_deploy.contract import InputContract
from lits_deploy.files import sha256_file, write_text
from lits_deploy.parity import FP32_TOLERANCE
from lits_deploy.runtime import Runtime
from lits_deploy.trt.flavour import FLAVOURS, Flavour
from train.models.registry import build, network

Slices = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]

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
    slices: int,
    width: int | None = None,
    modes: Sequence[str] = MODES,
    pictures: Slices | None = None,
    flavours: Sequence[Flavour] = FLAVOURS,
) -> Subject:
    """A network, its bundle below `folder`, and everything that can run it on `device` and on the places of `here`.

    slices: how many distinct ones are timed, at least those that are checked. pictures: these, uint8 [N, C, S, S], in
    place of phantoms. Without places no bundle is made, which takes onnx and onnxscript.
    """
    original = random_original(name, width=width)
    checked = CHECKED[original.info.task]
    if pictures is None:
        pictures = np.stack([picture for _, picture in HeldOut(original).phantoms(max(slices, checked))])
    expected = original_probabilities(original, pictures[:checked])
    elsewhere: list[Contestant] = []
    if here:
        there = folder / name
        whole = (there / MANIFEST_HASH).is_file()  # made by another part of `gpu_check`, which cannot have been cut
        bundle = Bundle.open(there) if whole else make_bundle(original, there, pictures[:checked], expected)
        elsewhere = contestants_of(bundle, here, flavours)
    daily = ("logits", "probabilities") if original.info.task == "classify" else ("labels",)
    in_torch = [
        Contestant(
            name=f"PyTorch {mode.replace(' fp32', '').replace(' fp16', '')}",
            precision=mode.split()[1],
            tolerance=TOLERANCES[mode.split()[1]],
            open=_torch(original, mode, device),
        )
        for mode in modes
    ]
    return Subject(
        name=name,
        slices=pictures,
        expected=expected,
        wanted=daily,
        contestants=in_torch + elsewhere,
    )


def random_original(name: str, *, width: int | None = None) -> Original:
    """A network of the registry, always with the same random weights."""
    info = network(name)
    torch.manual_seed(SEED)
    module = build(name, width=width, init="kaiming").eval()
    contract = InputContract(window_hu=(-40.0, 160.0), crop=info.crop)
    return Original(info=info, module=Deployed(module, contract, info.task).eval(), contract=contract, width=width)


def make_bundle(
    original: Original,
    folder: Path,
    golden: Slices,
    expected: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> Bundle:
    """fp32, FP16 and INT8 for TensorRT, without any gate: the goldens decide."""
    import onnx

    from export.graph import OPSET, write_onnx
    from export.precision.make import FP16, INT8_TENSORRT
    from export.precision.ranges import activations

    recipes = (FP16, INT8_TENSORRT)
    folder.mkdir(parents=True, exist_ok=True)
    files = {"fp32": folder / "model.onnx", **{recipe.name: folder / recipe.file for recipe in recipes}}
    write_onnx(original, files["fp32"])
    model = onnx.load(files["fp32"])
    seen = activations(model, golden[:4])
    for recipe in recipes:
        onnx.save(recipe.make(model, seen), files[recipe.name])
    placed = {recipe.name: recipe for recipe in recipes}
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
            runtimes=placed[name].runtimes if name in placed else (),
            devices=placed[name].devices if name in placed else (),
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


def _torch(original: Original, mode: str, device: str) -> Open:
    def open_it(max_batch: int, wanted: tuple[str, ...]) -> Runtime:
        return TorchGpu(original, mode, device=device, max_batch=max_batch, wanted=wanted)

    return open_it
