"""A narrow U-Net through --fp16 and --int8: measured pixel by pixel, its gate the Dice of each class."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from export import parity
from export.cli.artifacts import show_artifacts
from export.gate import DEFAULTS
from export.held_out import HeldOut
from export.precision import add, make
from export.precision.add import WantedPrecisions, add_precisions, calibration_slices
from export.precision.layers import weighted
from export.progress import ExportProgress
from export.run import export
from export.source import Deployed, Original
from lits_deploy.backends import open_runtime
from lits_deploy.bundle import Bundle
from lits_deploy.contract import InputContract
from lits_deploy.goldens import read_golden
from lits_deploy.scans.image import load_slice
from lits_deploy.verify import verify
from tiny_data import make_tiny_data
from train.data.layout import read_layout
from train.data.masks import load_mask
from train.models.registry import build, network

CONTRACT = InputContract(window_hu=(-40.0, 160.0), crop=None)
WIDTH = 4


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    """Trained for some seconds: it finds liver and lesion of the tiny data, so that there is a Dice to lose."""
    data = make_tiny_data(tmp_path_factory.mktemp("unet") / "data", slices=6, patients=(2, 1, 1), window=[-40, 160])
    torch.manual_seed(0)
    samples = read_layout(data).splits["train"]
    slices = torch.from_numpy(np.stack([load_slice(sample.image, CONTRACT) for sample in samples]))
    masks = torch.from_numpy(np.stack([load_mask(sample, 256) for sample in samples]).astype(np.int64))
    module = Deployed(build("unet", width=WIDTH), CONTRACT, "segment").train()
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-2)
    weights = torch.tensor([1.0, 2.0, 6.0])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # layers this small lose more by waiting for each other
    for step in range(40):
        part = torch.arange(3) + 3 * (step % 4)
        optimiser.zero_grad()
        logits = module.network(module.preprocess(slices[part]))
        nn.functional.cross_entropy(logits, masks[part], weight=weights).backward()
        optimiser.step()
    torch.set_num_threads(threads)
    return Original(info=network("unet"), module=module.eval(), contract=CONTRACT, width=WIDTH, data=data)


@pytest.fixture(scope="module")
def bundle(original: Original, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundle")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "MINIMUM", 6)
        patch.setattr(make, "METHODS", ("max", "error"))
        wanted = WantedPrecisions(fp16=True, int8=True, calibration_slices=9, report=folder / "gates")
        return export(original, folder / "bundle", slices=6, wanted=wanted)


def test_both_runtimes_give_the_labels_of_the_original(bundle: Bundle, original: Original) -> None:
    slices, _ = read_golden(bundle)
    with torch.no_grad():
        expected = original.module(torch.from_numpy(slices))[1].numpy()
    assert set(np.unique(expected)) == {0, 1, 2}
    for runtime in ("onnxruntime", "openvino"):
        with open_runtime(bundle, runtime=runtime, device="cpu", wanted=("labels",)) as opened:
            np.testing.assert_array_equal(opened.infer(slices).labels, expected)


def test_all_three_files_are_gated_by_the_dice_of_each_class(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {artifact.name for artifact in bundle.manifest.artifacts} == {"fp32", "fp16", "int8-cpu", "int8-trt"}, (
        bundle.manifest.left_out
    )
    for artifact in bundle.manifest.artifacts[1:]:
        assert artifact.gate["passed"]
        assert artifact.gate["limits"]["dice"] == DEFAULTS[artifact.precision].dice
        for figures in artifact.gate["runtimes"].values():
            assert set(figures["judged"]) == {"dice"}
            assert min(figures["original"]["dice"]) > 0.3, "a network that finds nothing has nothing to lose"
            falls = np.subtract(figures["original"]["dice"], figures["artifact"]["dice"])
            assert figures["judged"]["dice"] == pytest.approx(falls.max())
            assert figures["pixels_changed"] < 0.02
    assert bundle.artifact("int8-cpu").quantisation["tried_on"] == 9
    show_artifacts(bundle)
    said = capsys.readouterr().out
    assert "lesion Dice" in said
    assert "passed" in said


def test_the_bundle_verifies_in_every_precision(bundle: Bundle) -> None:
    problems, checks = verify(bundle.folder)
    assert problems == []
    assert {check.artifact for check in checks} == {"fp32", "fp16", "int8-cpu"}
    assert all(check.passed for check in checks), checks


def test_up_convolutions_are_quantised_and_the_last_layer_is_not(bundle: Bundle) -> None:
    model = onnx.load(bundle.folder / "model.int8-trt.onnx")
    maker = {name: node for node in model.graph.node for name in node.output}
    quantised = [
        node.op_type
        for node in model.graph.node
        if node.op_type in ("Conv", "ConvTranspose") and node.input[1] in maker
    ]
    assert quantised.count("ConvTranspose") == 3
    assert quantised.count("Conv") == sum(node.op_type == "Conv" for node in model.graph.node) - 1


def test_a_lesion_channel_that_is_lost_fails_the_gate(
    original: Original, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last layer's lesion weights are lost, as after a bad quantisation: liver stays, lesion's Dice falls to 0."""
    recipe = make.FP16

    def without_lesions(model: onnx.ModelProto, *_: object) -> onnx.ModelProto:
        broken = onnx.ModelProto()
        broken.CopyFrom(model)
        last = broken.graph.node[weighted(broken)[-1]]
        for tensor in broken.graph.initializer:
            if tensor.name == last.input[2]:
                bias = numpy_helper.to_array(tensor).copy()
                bias[2] = -50.0
                tensor.CopyFrom(numpy_helper.from_array(bias, tensor.name))
        return recipe.make(broken, {})

    monkeypatch.setattr(add, "recipes", lambda **_: [dataclasses.replace(recipe, make=without_lesions)])
    shutil.copy(bundle.folder / "model.onnx", tmp_path)
    base = dataclasses.replace(bundle.manifest, artifacts=bundle.manifest.artifacts[:1])
    wanted = WantedPrecisions(fp16=True, calibration_slices=8)
    held = HeldOut(original)
    slices = calibration_slices(held, wanted)
    added, _ = add_precisions(held, tmp_path, base, slices, wanted, ExportProgress(), base_answers={})
    assert [artifact.name for artifact in added.artifacts] == ["fp32"]
    assert "dice 0." in added.left_out["fp16"]["gate"]["failures"][0]
    assert not (tmp_path / "model.fp16.onnx").exists()
