"""A real bundle around a network of a few numbers, made in a blink: for tests of everything that takes a bundle.

The graph is what `export` makes, in small: uint8 [N, 1, S, S] → cast → centre crop → scale → (mean, mean of a quarter)
→ matrix → `logits`, softmax → `probabilities`. Its answer is smooth in the grey values, and a darker slice is class 0.
Of several channels it sees a mean in which each has a weight of its own, so that their order matters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lits_deploy.bundle import Artifact, Bundle, Manifest, write_manifest
from lits_deploy.contract import InputContract
from lits_deploy.files import sha256_file, write_text
from lits_deploy.pipeline.decide import softmax

WEIGHTS = np.array([[-9.0, 5.0, 4.0], [-3.0, -1.0, 4.0]], dtype=np.float32)
BIAS = np.array([3.0, -0.5, -2.5], dtype=np.float32)


def make_tiny_bundle(
    folder: Path,
    *,
    task: str = "classify",
    temperature: float = 1.0,
    abstain_below: float | None = None,
    cam: bool = False,
    operating_point: str = "argmax",
    operating_points: Sequence[dict[str, Any]] = (),
    promise: dict[str, Any] | None = None,
    **contract_overrides: Any,
) -> Bundle:
    """Write a whole bundle (model, goldens, card, manifest) to `folder` and open it.

    cam: with the class-activation map of class 2, 8×8 cells.
    contract_overrides: fields of InputContract, such as `size=64, crop=56, resize="never"`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contract = InputContract(**{"window_hu": (-40.0, 160.0), **contract_overrides})
    onnx.save(tiny_graph(contract, cam=cam), folder / "model.onnx")
    slices = np.random.default_rng(0).integers(0, 256, (3, *contract.shape), dtype=np.uint8)
    logits = tiny_logits(slices, contract)
    np.savez(folder / "golden.npz", slices=slices, logits=logits, probabilities=softmax(logits))
    write_text(folder / "README.md", "# tiny\n\nA bundle for tests.\n")
    artifact = Artifact(
        name="fp32",
        file="model.onnx",
        sha256=sha256_file(folder / "model.onnx"),
        bytes=(folder / "model.onnx").stat().st_size,
        precision="fp32",
        opset=19,
        outputs=("logits", "probabilities", "cam") if cam else ("logits", "probabilities"),
        tolerance=1e-5,
        temperature=temperature,
        abstain_below=abstain_below,
        operating_point=operating_point,
        operating_points=tuple(operating_points),
        promise=promise or {},
    )
    model: dict[str, Any] = {"name": "tiny", "parameters": int(WEIGHTS.size + BIAS.size), "options": {}}
    if cam:
        cell = (contract.crop or contract.size) / 8
        model["cam"] = {"class": 2, "first": (cell - 1) / 2, "step": cell}
    manifest = Manifest(
        task=task,  # type: ignore[arg-type]
        model=model,
        contract=contract,
        artifacts=(artifact,),
        files={name: sha256_file(folder / name) for name in ("golden.npz", "README.md")},
    )
    return write_manifest(folder, manifest)


def tiny_graph(contract: InputContract, *, cam: bool = False) -> onnx.ModelProto:
    """The network as ONNX, opset 19; its map's mean and bias are the logit, as in a real one."""
    size, crop = contract.size, contract.crop or contract.size
    start, end = (size - crop) // 2, (size + crop) // 2
    half = [start, (start + end) // 2]

    def constant(name: str, values: Any, dtype: Any) -> onnx.TensorProto:
        return numpy_helper.from_array(np.asarray(values, dtype=dtype), name)

    mixing, source = [], "float"
    if contract.channels > 1:
        source = "mixed"
        mixing = [
            helper.make_node("Mul", ["float", "shares"], ["weighted_channels"]),
            helper.make_node("ReduceSum", ["weighted_channels", "channel"], ["mixed"], keepdims=1),
        ]
    nodes = [
        helper.make_node("Cast", ["slices"], ["float"], to=TensorProto.FLOAT),
        *mixing,
        helper.make_node("Slice", [source, "start", "end", "axes"], ["cropped"]),
        helper.make_node("Mul", ["cropped", "scale"], ["scaled"]),
        helper.make_node("ReduceMean", ["scaled", "pixels"], ["mean"], keepdims=0),
        helper.make_node("Slice", ["scaled", "zeros", "quarter_end", "axes"], ["quarter"]),
        helper.make_node("ReduceMean", ["quarter", "pixels"], ["quarter_mean"], keepdims=0),
        helper.make_node("Concat", ["mean", "quarter_mean"], ["features"], axis=1),
        helper.make_node("MatMul", ["features", "weights"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    initializers = [
        constant("start", [start, start], np.int64),
        constant("end", [end, end], np.int64),
        constant("axes", [2, 3], np.int64),
        constant("pixels", [2, 3], np.int64),
        constant("channel", [1], np.int64),
        constant("shares", channel_shares(contract.channels), np.float32),
        constant("zeros", [0, 0], np.int64),
        constant("quarter_end", [half[1] - half[0]] * 2, np.int64),
        constant("scale", contract.scale, np.float32),
        constant("weights", WEIGHTS, np.float32),
        constant("bias", BIAS, np.float32),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in ("logits", "probabilities")]
    if cam:
        cell = [crop // 8, crop // 8]
        share = np.full((8, 8), WEIGHTS[0, 2])
        share[:4, :4] += 4 * WEIGHTS[1, 2]
        nodes += [
            helper.make_node("AveragePool", ["scaled"], ["pooled"], kernel_shape=cell, strides=cell),
            helper.make_node("Mul", ["pooled", "share"], ["weighted"]),
            helper.make_node("Squeeze", ["weighted", "channel"], ["cam"]),
        ]
        initializers.append(constant("share", share, np.float32))
        outputs.append(helper.make_tensor_value_info("cam", TensorProto.FLOAT, ["N", 8, 8]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("slices", TensorProto.UINT8, ["N", *contract.shape])],
        outputs,
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def channel_shares(channels: int) -> np.ndarray[Any, Any]:
    """Weights [1, C, 1, 1] that add up to 1, later channels more."""
    shares = np.arange(1, channels + 1, dtype=np.float64)
    return (shares / shares.sum()).reshape(1, channels, 1, 1)


def tiny_logits(slices: np.ndarray[Any, Any], contract: InputContract) -> np.ndarray[Any, Any]:
    """The network in numpy: float32 [N, 3]."""
    crop = contract.crop or contract.size
    start = (contract.size - crop) // 2
    x = slices[:, :, start : start + crop, start : start + crop].astype(np.float64) * contract.scale
    x = (x * channel_shares(contract.channels)).sum(axis=1, keepdims=True)
    quarter = x[:, :, : crop // 2, : crop // 2]
    features = np.concatenate([x.mean(axis=(2, 3)), quarter.mean(axis=(2, 3))], axis=1)
    return (features @ WEIGHTS + BIAS).astype(np.float32)


def write_raw_manifest(folder: Path, text: str) -> None:
    """Any text as the manifest, with its hash: what a stranger can write. Nothing is checked."""
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    seal_manifest(folder)


def seal_manifest(folder: Path) -> None:
    """Write manifest.sha256 for the manifest that lies there."""
    (folder / "manifest.sha256").write_text(f"{sha256_file(folder / 'manifest.json')}  manifest.json\n")


def with_manifest(bundle: Bundle, **changes: Any) -> Bundle:
    """The same bundle with another manifest, hashed anew."""
    return write_manifest(bundle.folder, dataclasses.replace(bundle.manifest, **changes))
