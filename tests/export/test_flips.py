"""Test-time flips: the mean over mirror images, turned back, in one graph; mirrored input changes no answer."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from benchmarks.reference import open_reference
from export import graph
from export.choices import Flips
from export.flips import merged, mirrored, unmirrored, views
from export.source import Deployed, Original, from_run
from lits_deploy.bundle import Bundle
from lits_deploy.cli.app import app
from lits_deploy.contract import InputContract
from lits_deploy.errors import UserError
from lits_deploy.model_file import ModelFile
from lits_deploy.runtime.device import Device
from lits_deploy.runtime.onnxruntime_ import OnnxRuntime
from tiny_data import make_tiny_data
from train.config import TrainConfig
from train.models.registry import build, network
from train.run import train

CONTRACT = InputContract(window_hu=(-40.0, 160.0), size=64, crop=56)
WHOLE = dataclasses.replace(CONTRACT, crop=None)
AXES = {"none": [()], "sides": [(), (3,)], "all": [(), (3,), (2,), (2, 3)]}


def original(name: str) -> Original:
    """Random weights."""
    torch.manual_seed(0)
    contract, width = (WHOLE, 2) if name == "unet" else (CONTRACT, None)
    model = build(name, width=width)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.2, 0.2)  # type: ignore[arg-type]
    info = network(name)
    return Original(info=info, module=Deployed(model, contract, info.task).eval(), contract=contract, width=width)


def slices(count: int = 3) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 1, 64, 64)).astype(np.uint8)


@pytest.mark.parametrize("flips", get_args(Flips))
@pytest.mark.parametrize("name", ["resnet18", "unet"])
def test_the_answer_is_the_mean_over_mirror_images_turned_back(name: str, flips: Flips) -> None:
    plain = original(name)
    x = torch.from_numpy(slices())
    with torch.inference_mode():
        parts = []
        for axes in AXES[flips]:
            logits = plain.module.network(plain.module.preprocess(x.flip(axes) if axes else x))
            parts.append(logits.flip(axes) if axes and logits.ndim == 4 else logits)
        expected = torch.stack(parts).mean(dim=0).softmax(dim=1)
        module = plain.with_flips(flips).module
        got = dict(zip(module.outputs, module(x), strict=True))["probabilities"]
    assert views(flips) == len(parts)
    torch.testing.assert_close(got, expected)
    assert plain.module.flips == "none"


@pytest.mark.parametrize("name", ["resnet18", "unet"])
def test_a_mirrored_slice_gets_the_same_answer(name: str) -> None:
    module = original(name).with_flips("all").module
    x = torch.from_numpy(slices())
    with torch.inference_mode():
        one, other = (dict(zip(module.outputs, module(y), strict=True))["probabilities"] for y in (x, x.flip(3)))
    torch.testing.assert_close(one, other.flip(3) if name == "unet" else other, atol=1e-6, rtol=1e-5)


def test_helpers_keep_the_order() -> None:
    x = torch.arange(8.0).reshape(2, 1, 2, 2)
    shown = mirrored(x, "sides")
    assert shown[2, 0].tolist() == [[1.0, 0.0], [3.0, 2.0]]
    assert torch.equal(unmirrored(shown, "sides"), x)
    assert torch.equal(merged(shown, "sides"), x)  # maps are turned back
    assert torch.equal(mirrored(x, "none"), x)


def test_the_graph_holds_the_network_once_and_agrees_at_any_batch(tmp_path: Path) -> None:
    plain = original("resnet18").with_cam()
    wanted = plain.with_flips("all")
    graph.write_onnx(plain, tmp_path / "plain.onnx")
    graph.write_onnx(wanted, tmp_path / "flips.onnx")
    assert (tmp_path / "flips.onnx").stat().st_size < 1.01 * (tmp_path / "plain.onnx").stat().st_size
    names = ("logits", "probabilities", "cam")
    with OnnxRuntime(
        ModelFile.read(tmp_path / "flips.onnx"),
        device=Device("cpu"),
        precision="fp32",
        shape=CONTRACT.shape,
        wanted=names,
        max_batch=5,
    ) as runtime:
        for count in (1, 5):
            got = runtime.infer(slices(count))
            with torch.inference_mode():
                expected = wanted.module(torch.from_numpy(slices(count)))
                _, _, alone = plain.module(torch.from_numpy(slices(count)))
            for name, value in zip(names, expected, strict=True):
                np.testing.assert_allclose(getattr(got, name), value.numpy(), atol=1e-4)
            np.testing.assert_allclose(got.cam, alone.numpy(), atol=1e-4)  # the map is of the slice as it is


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flips")
    data = make_tiny_data(folder / "data", window=[-40, 160])
    train(TrainConfig(model="unet", data=data, epochs=1, batch_size=4, width=2, contract=WHOLE), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def bundle(run: Path) -> Bundle:
    out = run.parent / "bundle"
    result = CliRunner().invoke(app, ["export", str(run), "--out", str(out), "--flips", "sides"])
    assert result.exit_code == 0, result.output
    return Bundle.open(out)


def test_the_bundle_says_so_everywhere(bundle: Bundle) -> None:
    assert bundle.manifest.model["flips"] == "sides"
    assert "test-time flips: sides" in (bundle.folder / "README.md").read_text()
    assert "test-time flips: sides" in CliRunner().invoke(app, ["bundle", "inspect", str(bundle.folder)]).output
    assert CliRunner().invoke(app, ["verify", str(bundle.folder)]).exit_code == 0


def test_the_original_beside_it_flips_too(run: Path, bundle: Bundle) -> None:
    (candidate,) = open_reference(bundle, run, 1).candidates
    assert candidate.spec["flips"] == "sides"
    picture = slices(2)
    with candidate.open(2, ("labels",)) as runtime:
        labels = runtime.infer(picture).labels
    with torch.inference_mode():
        _, expected = from_run(run).with_flips("sides").module(torch.from_numpy(picture))
    assert np.array_equal(labels, expected.numpy())


def test_flips_are_not_for_a_bundle_that_exists(bundle: Bundle) -> None:
    command = ["export", str(bundle.folder), "--flips", "sides", "--trt"]
    result = CliRunner().invoke(app, [*command, "--trt-flavour", "rtx", "--compute-capability", "sm86"])
    assert isinstance(result.exception, UserError)
    assert "is a bundle already" in str(result.exception)
