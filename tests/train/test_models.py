"""The registry against the real networks, and the details that differ from torchvision's."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from lits_deploy.errors import UserError
from train.models.alexnet import AlexNet
from train.models.registry import NETWORKS, build, network
from train.models.resnet import BasicBlock, Bottleneck, ResNet

THESIS = {
    "alexnet": 46_736_067,
    "vgg19": 139_581_379,
    "resnet18": 11_176_579,
    "resnet34": 21_279_939,
    "resnet50": 23_507_971,
    "resnet152": 58_143_683,
    "resnet34-plain": 21_106_115,  # resnet34 without its three projections: 21,279,939 − 173,824
    "resnet34-tied": 11_097_795,
    "unet": 7_701_955,
}


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_and_outputs(name: str) -> None:
    with torch.device("meta"):
        model = build(name)
        side = network(name).crop or 256
        logits = model(torch.zeros(2, 1, side, side))
    assert count(model) == network(name).parameters == THESIS[name]
    assert logits.shape == ((2, 3) if network(name).task == "classify" else (2, 3, 256, 256))


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet152", "resnet34-plain"])
def test_stage_sizes(name: str) -> None:
    with torch.device("meta"):
        model = build(name)
        assert isinstance(model, ResNet)
        x = model.stem(torch.zeros(1, 1, 224, 224))
        sides = [x.shape[-1]]
        x = model.pool(x)
        for stage in model.stages:
            x = stage(x)
            sides.append(x.shape[-1])
    assert sides == [110, 54, 27, 14, 7]


def test_blocks_end_in_relu_and_addition_has_none() -> None:
    block = BasicBlock(4, 4, stride=1, bias=True).eval()
    x = torch.full((1, 4, 5, 5), -3.0)
    with torch.no_grad():
        body, out = block.body(x), block(x)
    assert (body >= 0).all()
    assert torch.equal(out, body + x)
    assert (out < 0).any(), "no ReLU after the addition"
    projection = BasicBlock(4, 8, stride=2, bias=False).shortcut
    assert isinstance(projection, nn.Sequential)
    assert [type(layer) for layer in projection] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]


def test_bottleneck_strides_on_its_3x3() -> None:
    convolutions = [m for m in Bottleneck(256, 512, stride=2, bias=False).body if isinstance(m, nn.Conv2d)]
    assert [(c.kernel_size, c.stride) for c in convolutions] == [((1, 1), (1, 1)), ((3, 3), (2, 2)), ((1, 1), (1, 1))]


def test_tied_blocks_share_weights_and_plain_has_no_shortcut() -> None:
    with torch.device("meta"):
        tied, plain = build("resnet34-tied"), build("resnet34-plain")
    assert isinstance(tied, ResNet)
    assert isinstance(plain, ResNet)
    assert [len({id(block) for block in stage}) for stage in tied.stages] == [1, 2, 2, 2]
    assert all(block.shortcut is None for stage in plain.stages for block in stage)


def test_kaiming_changes_weights_and_zeroes_biases() -> None:
    torch.manual_seed(0)
    model = build("unet", width=8, init="kaiming")
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert all(layer.bias is not None and not layer.bias.any() for layer in layers)
    wide = layers[-2].weight  # 8 outputs of 16 channels 3×3: std = sqrt(2 / fan_in)
    assert wide.std().item() == pytest.approx((2 / (wide[0].numel())) ** 0.5, rel=0.1)


def test_width_scales_unet_only() -> None:
    with torch.device("meta"):
        assert count(build("unet", width=16)) == 483_187
    with pytest.raises(UserError, match="--width is for unet"):
        build("resnet18", width=16)
    with pytest.raises(UserError, match="choose one of: alexnet"):
        build("resnet19")


def test_alexnet_activation_is_tanh_and_switchable() -> None:
    with torch.device("meta"):
        assert any(isinstance(m, nn.Tanh) for m in build("alexnet").modules())
        assert not any(isinstance(m, nn.Tanh) for m in AlexNet(activation=nn.ReLU).modules())


def test_models_command_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.argv[1:] = ['models', '--json']\n"
        "from lits_deploy.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rows = json.loads(done.stdout)
    assert {row["name"]: row["parameters"] for row in rows} == THESIS
    assert set(rows[0]) == {"name", "task", "parameters", "source", "input"}
