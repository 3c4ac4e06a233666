"""Table 5: stage sizes, blocks and parameters of the networks; Tables 3 and 4, and the parameters of Table 6."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import torch
from torch import nn

from train.models.alexnet import AlexNet
from train.models.registry import NETWORKS, build
from train.models.resnet import BasicBlock, Bottleneck, ResNet
from train.recipes import printed
from train.recipes.lab.bench import Bench
from train.recipes.lab.tables import Cell, Column, Table

_CLASSIC = {"alexnet": ("Table 3", printed.TABLE3), "vgg19": ("Table 4", printed.TABLE4)}


def table5(bench: Bench) -> None:
    """Build every network, count its parameters and measure its stages; nothing is trained and no slice is read.

    Thesis: Table 5 gives stage sizes, blocks and parameters of four ResNets for an input of 224×224, Tables 3 and 4
    the layers of AlexNet and VGG19, Table 6 the parameters of all six.

    Silent: which convolutions have a bias, AlexNet's strides, paddings and fully connected sizes, and the U-Net's
    channels.

    Ours: what makes each printed count come out exactly: every convolution of ResNet18 has a bias, only the stem's of
    ResNet50, none of ResNet34 and ResNet152; AlexNet's third 3×3 convolution has 256 channels. Networks are
    counted as built, with a slice of zeros sent through. The U-Net's channels are our choice.
    """
    with torch.device("meta"):  # shapes and counts without memory
        models = {name: build(name) for name in NETWORKS}
        bench.keep(_parameters(models))
        bench.keep(_stages(models))
        for name in _CLASSIC:
            bench.keep(_layers(name, models[name]))


def count(module: nn.Module) -> int:
    """Parameters of a network; shared ones once."""
    return sum(parameter.numel() for parameter in module.parameters())


def as_printed(parameters: int, millions: str) -> bool:
    """Whether a count, in millions and rounded to the digits of the printed one, is the printed one."""
    return f"{parameters / 1e6:.{len(millions.partition('.')[2])}f}" == millions


def _parameters(models: dict[str, nn.Module]) -> Table:
    remarks = {
        "alexnet": "last 3×3 convolution has 256 channels: see Table 3",
        "resnet18": "every convolution has a bias",
        "resnet34": "no convolution has a bias",
        "resnet50": "only the stem's convolution has a bias",
        "resnet152": "no convolution has a bias",
        "vgg19": "one input channel, three classes",
        "resnet34-plain": "without shortcuts and their projections (Figures 6 to 8)",
        "resnet34-tied": "what the code of Section 5.1.2 builds",
        "unet": "channels are our choice (64, 128, 256, 512)",
    }
    rows: list[dict[str, Cell]] = []
    for name, model in models.items():
        found, row = count(model), {"network": printed.NAMES[name], "remark": remarks[name]}
        five, six = printed.TABLE5_PARAMETERS.get(name), printed.TABLE6_PARAMETERS.get(name)
        equal = {digits: as_printed(found, digits) for digits in (five, six) if digits is not None}
        verdict = "yes" if all(equal.values()) else "Table 5: yes; Table 6: misprint"
        verdict = verdict if equal else "not printed"
        row |= {"millions": f"{found / 1e6:.4f}", "equal": verdict}
        rows.append({**row, "table5": five, "table6": six, "measured": found})
    columns = (
        Column(key="network", title="network"), Column(key="table5", title="Table 5, printed (10⁶)"),
        Column(key="table6", title="Table 6, printed (10⁶)"), Column(key="millions", title="measured (10⁶)"),
        Column(key="measured", title="measured"), Column(key="equal", title="as printed"),
        Column(key="remark", title="remark"),
    )  # fmt: skip
    tied = count(models["resnet34-tied"])
    notes = [
        printed.TABLE6_MISPRINT,
        "The code of Section 5.1.2 puts one block object into a stage several times (`3 * [ResBlock(...)]`), which "
        f"shares its weights: ResNet34 would have {tied:,} parameters. The printed counts are those of independent "
        "blocks.",
    ]
    return Table(name="parameters", title="Parameters of Tables 5 and 6", columns=columns, rows=rows, notes=notes)


def _stages(models: dict[str, nn.Module]) -> Table:
    rows: list[dict[str, Cell]] = []
    for name, blocks in printed.TABLE5_BLOCKS.items():
        model = models[name]
        assert isinstance(model, ResNet)
        sides, found = _measured(model)
        for stage, side, size in zip(printed.STAGES, printed.TABLE5_SIZES, sides, strict=True):
            index = printed.STAGES.index(stage)
            block = ("7×7, 64, stride 2", 1) if index == 0 else blocks[index - 1]
            rows.append(
                {
                    "network": printed.NAMES[name], "stage": stage, "side_printed": f"{side}×{side}",
                    "side": f"{size}×{size}", "block_printed": f"[{block[0]}] × {block[1]}",
                    "block": f"[{found[index][0]}] × {found[index][1]}",
                    "equal": "yes" if (side, block) == (size, found[index]) else "NO",
                }
            )  # fmt: skip
    columns = (
        Column(key="network", title="network"), Column(key="stage", title="layer name"),
        Column(key="side_printed", title="out size, printed"), Column(key="side", title="out size, measured"),
        Column(key="block_printed", title="blocks, printed"), Column(key="block", title="blocks, measured"),
        Column(key="equal", title="as printed"),
    )  # fmt: skip
    note = "Input 224×224. The 3×3 max-pool with stride 2 before conv2_x has no padding, so 110 becomes 54."
    return Table(name="table5", title="Table 5: stages of the ResNets", columns=columns, rows=rows, notes=[note])


def _measured(model: ResNet) -> tuple[list[int], list[tuple[str, int]]]:
    """Side of every stage's output, and its block in the thesis's notation with how many of them."""
    x = model.stem(torch.zeros(1, 1, 224, 224))
    stem = next(layer for layer in model.stem.modules() if isinstance(layer, nn.Conv2d))
    kernel, stride = stem.kernel_size[0], stem.stride[0]
    sides = [x.shape[-1]]
    blocks = [(f"{kernel}×{kernel}, {stem.out_channels}, stride {stride}", 1)]
    x = model.pool(x)
    for stage in model.stages:
        x = stage(x)
        sides.append(x.shape[-1])
        assert isinstance(stage, nn.Sequential)
        texts = [_block(block) for block in stage if isinstance(block, (BasicBlock, Bottleneck))]
        assert len(set(texts)) == 1
        blocks.append((texts[0], len(texts)))
    return sides, blocks


def _block(block: BasicBlock | Bottleneck) -> str:
    layers = [layer for layer in block.body if isinstance(layer, nn.Conv2d)]
    return "; ".join(f"{c.kernel_size[0]}×{c.kernel_size[0]}, {c.out_channels}" for c in layers)


def _layers(name: str, model: nn.Module) -> Table:
    where, expected = _CLASSIC[name]
    found = [text if times == 1 else f"{text} × {times}" for text, times in _runs_of(_walk(model))]
    rows: list[dict[str, Cell]] = []
    notes = []
    if name == "alexnet":
        found[4:6] = [f"{found[4]}, {found[5]}"]  # conv3-384 × 2, conv3-256
        assert isinstance(model, AlexNet)
        literal = _with_384(model)
        notes = [
            f"Table 3 prints three 3×3 convolutions of 384 channels. That network would have {literal:,} parameters, "
            f"which Table 6 does not print; with 256 in the last one there are {count(model):,}, the printed 46.736 "
            "million. Section 4.5.2 says tanh, so tanh it is."
        ]
    for position, (left, right) in enumerate(zip(expected, found, strict=True), start=1):
        same = "yes" if left == right else "misprint: see below"
        rows.append({"position": str(position), "printed": left, "measured": right, "equal": same})
    columns = (
        Column(key="position", title="layer"), Column(key="printed", title="printed"),
        Column(key="measured", title="measured"), Column(key="equal", title="as printed"),
    )  # fmt: skip
    key = where.lower().replace(" ", "")
    return Table(name=key, title=f"{where}: {printed.NAMES[name]}", columns=columns, rows=rows, notes=notes)


def _walk(model: nn.Module) -> Iterator[str]:
    """Layers in the thesis's notation, in order."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            yield f"conv{layer.kernel_size[0]}-{layer.out_channels}"
        elif isinstance(layer, nn.MaxPool2d):
            yield "pool"
        elif isinstance(layer, nn.Linear):
            yield "FC"


def _runs_of(layers: Iterator[str]) -> list[tuple[str, int]]:
    return [(text, len(list(group))) for text, group in groupby(layers)]


def _with_384(model: AlexNet) -> int:
    """Parameters if the last convolution had as many channels as the one before it, as Table 3 reads."""
    convolutions = [layer for layer in model.features if isinstance(layer, nn.Conv2d)]
    first = next(layer for layer in model.classifier if isinstance(layer, nn.Linear))
    last, channels = convolutions[-1], convolutions[-2].out_channels
    more = channels - last.out_channels
    pixels = first.in_features // last.out_channels
    return count(model) + more * (last.in_channels * last.kernel_size[0] ** 2 + 1) + more * pixels * first.out_features
