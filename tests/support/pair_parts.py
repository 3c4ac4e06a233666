"""What `bundle pair` is given: two tiny bundles and the folded runs that they are said to be exported from."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper

from folded_run import make_folded_run
from lits_deploy.bundle import Bundle
from lits_deploy.contract import InputContract
from lits_deploy.files import sha256_file
from tiny_bundle import make_tiny_bundle, with_manifest
from tiny_unet import make_tiny_unet
from train.folds.folder import read_record
from train.out_of_fold import NAME, OutOfFold, read

SIZE = 64


class Parts(NamedTuple):
    classifier: Bundle
    unet: Bundle
    runs: tuple[Path, Path]


def make_pair_parts(folder: Path, *, patients: int = 9) -> Parts:
    """The parts of a pair whose U-Net finds what the classifier misses."""
    runs = folder / "run-classifier", folder / "run-unet"
    answers = [
        make_folded_run(run, model=model, patients=patients)
        for run, model in zip(runs, ("resnet18", "unet"), strict=True)
    ]
    contract = read_record(runs[0]).config.contract
    classifier = make_tiny_bundle(folder / "classifier", **_seen(contract))
    unet = probable(make_tiny_unet(folder / "unet", size=SIZE))
    unet = with_manifest(unet, contract=read_record(runs[1]).config.contract)
    return Parts(*(_exported(bundle, one) for bundle, one in zip((classifier, unet), answers, strict=True)), runs=runs)


def probable(bundle: Bundle) -> Bundle:
    """The tiny U-Net with the output that goldens are of, and goldens that it answers rightly."""
    (artifact,) = bundle.manifest.artifacts
    path, shape = bundle.folder / artifact.file, bundle.manifest.contract.shape
    model = onnx.load(path)
    side = shape[1]
    model.graph.node.extend(
        [
            helper.make_node("Cast", ["is_liver"], ["one"], to=TensorProto.FLOAT),
            helper.make_node("Cast", ["is_lesion"], ["two"], to=TensorProto.FLOAT),
            helper.make_node("Sub", ["one", "two"], ["liver_share"]),
            helper.make_node("Sub", ["one", "one"], ["nothing"]),
            helper.make_node("Exp", ["nothing"], ["all"]),
            helper.make_node("Sub", ["all", "one"], ["none_share"]),
        ]
    )
    axis = onnx.numpy_helper.from_array(np.array([1], np.int64), "class_axis")
    model.graph.initializer.append(axis)
    for name in ("none_share", "liver_share", "two"):
        model.graph.node.append(helper.make_node("Unsqueeze", [name, "class_axis"], [f"{name}_4"]))
    model.graph.node.append(
        helper.make_node("Concat", ["none_share_4", "liver_share_4", "two_4"], ["probabilities"], axis=1)
    )
    model.graph.output.append(helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 3, side, side]))
    onnx.checker.check_model(model)
    onnx.save(model, path)
    slices = np.random.default_rng(3).integers(0, 256, (2, *shape), dtype=np.uint8)
    limits = [
        next(float(onnx.numpy_helper.to_array(one)) for one in model.graph.initializer if one.name == name)
        for name in ("low", "high")
    ]
    liver, lesion = (slices[:, 0] > limit for limit in limits)
    expected = np.stack([~liver, liver & ~lesion, lesion], axis=1).astype(np.float32)
    np.savez(bundle.folder / "golden.npz", slices=slices, probabilities=expected)
    changed = dataclasses.replace(
        artifact, sha256=sha256_file(path), bytes=path.stat().st_size, outputs=("labels", "probabilities")
    )
    files = {**bundle.manifest.files, "golden.npz": sha256_file(bundle.folder / "golden.npz")}
    return with_manifest(bundle, artifacts=(changed,), files=files)


def rewritten(run: Path, **changes: object) -> OutOfFold:
    """Another answer file of a run: some of its arrays changed."""
    answers = dataclasses.replace(read(run / NAME), **changes)
    answers.save(run / NAME)
    return answers


def _seen(contract: InputContract) -> dict[str, object]:
    return json.loads(json.dumps({"size": contract.size, "crop": contract.crop})) | {"window_hu": contract.window_hu}


def _exported(bundle: Bundle, answers: OutOfFold) -> Bundle:
    described = {"name": "data", "source": "made up", "split_by": "patient", "synthetic": False}
    training = {
        "dataset": {**described, "slices": {"train": 1}, "patients": {"train": []}},
        "checkpoint": "last",
        "checkpoint_sha256": answers.record["checkpoints"][0],
        "epoch": 15,
        "settings": {"epochs": 15, "lr": 1e-3, "batch_size": 4, "class_weights": "none", "seed": 0},
    }
    parity = {"slices": 256, "origin": "phantoms", "max_delta": 1e-6, "flipped": 0}
    artifacts = tuple(dataclasses.replace(one, parity=parity) for one in bundle.manifest.artifacts)
    return with_manifest(bundle, training=training, artifacts=artifacts)
