"""The class-activation map: its mean is the logit, it lies where the network looks, and nothing else changes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from export import cam, graph
from export.precision import layers
from export.precision.layers import weighted
from export.precision.make import recipes
from export.precision.ranges import activations
from export.source import Deployed, Original, of_weights
from export.weights import read_weights
from lits_deploy.cli.app import app
from lits_deploy.contract import InputContract
from lits_deploy.errors import ParityError, UserError
from lits_deploy.model_file import ModelFile
from lits_deploy.runtime import Runtime, openvino_
from lits_deploy.runtime.device import Device
from lits_deploy.runtime.onnxruntime_ import OnnxRuntime
from lits_deploy.runtime.openvino_ import OpenVino
from train.models.registry import NETWORKS, build

CONTRACT = InputContract(window_hu=(-40.0, 160.0))
RUNTIMES = [OnnxRuntime, *([OpenVino] if openvino_.installed() else [])]


def slices(count: int = 3) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 1, 256, 256)).astype(np.uint8)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    """A ResNet18 with random weights, biases and BatchNorm statistics."""
    folder = tmp_path_factory.mktemp("cam")
    torch.manual_seed(0)
    model = build("resnet18")
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.2, 0.2)  # type: ignore[arg-type]
            nn.init.uniform_(layer.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    nn.init.uniform_(model.get_submodule("head").bias, -1, 1)  # type: ignore[arg-type]
    torch.save(model.state_dict(), folder / "weights.pt")
    return of_weights(read_weights(folder / "weights.pt"), "resnet18", width=None, contract=CONTRACT)


@pytest.fixture(scope="module")
def files(original: Original, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The graph without and with the map."""
    folder = tmp_path_factory.mktemp("graphs")
    graph.write_onnx(original, folder / "plain.onnx")
    graph.write_onnx(original.with_cam(), folder / "cam.onnx")
    return folder / "plain.onnx", folder / "cam.onnx"


def opened(kind: type[OnnxRuntime | OpenVino], path: Path, *wanted: str) -> Runtime:
    return kind(
        ModelFile.read(path), device=Device("cpu"), precision="fp32", shape=(1, 256, 256), wanted=wanted, max_batch=2
    )


@pytest.mark.parametrize("kind", RUNTIMES)
def test_the_mean_of_the_map_and_the_bias_are_the_logit(
    kind: type[OnnxRuntime | OpenVino], original: Original, files: tuple[Path, Path]
) -> None:
    bias = float(original.module.network.get_submodule("head").bias[cam.LESION].detach())  # type: ignore
    with opened(kind, files[1], "cam", "logits", "probabilities") as runtime:
        out = runtime.infer(slices(2))
    with opened(kind, files[0], "probabilities") as runtime:
        plain = runtime.infer(slices(2)).probabilities
    assert out.cam is not None
    assert out.logits is not None
    assert (out.cam.dtype, out.cam.shape) == (np.float32, (2, 7, 7))
    assert out.cam.std() > 0.01
    np.testing.assert_allclose(out.cam.mean(axis=(1, 2)) + bias, out.logits[:, cam.LESION], atol=2e-4)
    np.testing.assert_allclose(out.probabilities, plain, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NETWORKS if name.startswith("resnet")])
def test_every_resnet_has_it(name: str) -> None:
    model = build(name).eval()
    module = Deployed(model, CONTRACT, "classify", cam=True).eval()
    with torch.inference_mode():
        logits, _, activation = module(torch.from_numpy(slices(1)))
    bias = model.get_submodule("head").bias[cam.LESION]  # type: ignore[index]
    torch.testing.assert_close(activation.mean(dim=(1, 2)) + bias, logits[:, cam.LESION], atol=1e-4, rtol=1e-4)
    assert cam.cell_centres(model) == (4.0, 32.0)


def test_a_cell_lies_where_its_receptive_field_is_centred(original: Original) -> None:
    network = original.module.network
    first, step = cam.cell_centres(network)
    assert (first, step) == (4.0, 32.0)
    picture = torch.rand(1, 1, 224, 224, generator=torch.Generator().manual_seed(1)).requires_grad_()
    network.maps(picture)[0, :, 3, 2].sum().backward()  # type: ignore[operator]
    assert picture.grad is not None
    weight = picture.grad[0, 0].square()
    at = torch.arange(224.0)
    row, column = (float((weight.sum(dim=1 - axis) * at).sum() / weight.sum()) for axis in (0, 1))
    assert row == pytest.approx(first + 3 * step, abs=6)  # an even grid would have it at 112
    assert column == pytest.approx(first + 2 * step, abs=6)


def test_without_the_map_the_graph_is_the_one_that_never_had_it(files: tuple[Path, Path]) -> None:
    plain, with_map = (onnx.load(path) for path in files)
    pruned = layers.without_cam(with_map)
    onnx.checker.check_model(pruned, full_check=True)
    assert [value.name for value in with_map.graph.output] == ["logits", "probabilities", "cam"]
    assert [value.name for value in pruned.graph.output] == ["logits", "probabilities"]
    assert [node.op_type for node in pruned.graph.node] == [node.op_type for node in plain.graph.node]
    assert len(pruned.graph.initializer) == len(plain.graph.initializer)
    assert pruned.graph.node[weighted(pruned)[-1]].op_type == "Gemm", "the head is the last layer with a weight again"
    assert layers.without_cam(plain) == plain


def test_no_other_precision_carries_the_map(files: tuple[Path, Path]) -> None:
    pruned = layers.without_cam(onnx.load(files[1]))
    seen = activations(pruned, slices(1), histograms=False)
    for recipe in recipes(with_fp16=True, with_int8=True):
        made = recipe.make(pruned, seen)
        assert [value.name for value in made.graph.output] == ["logits", "probabilities"]


def test_an_exported_map_that_is_wrong_is_found(original: Original, files: tuple[Path, Path], tmp_path: Path) -> None:
    mapped = original.with_cam()
    with opened(OnnxRuntime, files[1], "cam") as runtime:
        assert cam.check(mapped.module, mapped.module.outputs, runtime, slices()) < cam.TOLERANCE
    model = onnx.load(files[1])
    (source,) = (node for node in model.graph.node if "cam" in node.output)
    source.output[0] = "right"
    model.graph.node.append(onnx.helper.make_node("Add", ["right", "right"], ["cam"], name="twice"))
    onnx.save(model, tmp_path / "wrong.onnx")
    with opened(OnnxRuntime, tmp_path / "wrong.onnx", "cam") as runtime, pytest.raises(ParityError, match="not the or"):
        cam.check(mapped.module, mapped.module.outputs, runtime, slices())


@pytest.mark.parametrize("name", ["alexnet", "vgg19", "unet"])
def test_networks_without_a_map_are_refused_by_name(name: str) -> None:
    with torch.device("meta"):
        network = build(name)
    assert not cam.has_cam(network)
    with pytest.raises(UserError, match="has no class-activation map"):
        cam.ActivationMap(network)


def test_the_manifest_says_where_the_cells_lie(original: Original) -> None:
    assert cam.record(original.with_cam().module.network) == {"class": 2, "first": 4.0, "step": 32.0}
    plain = dataclasses.replace(original, module=original.module)
    assert plain.module.cam is None


def test_cam_of_a_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    result = CliRunner().invoke(app, ["export", str(tmp_path), "--cam"])
    assert isinstance(result.exception, UserError)
