"""Table 5: stage sizes, blocks and parameters of the networks; Tables 3 and 4, and the parameters of Table 6."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import torch
from torch import nn

from train.models.alexnet import AlexNet
from train.models.registry import NETWORKS, build
from train.models.resnet import BasicBlock, Bottleneck, ResNet
from train.recipes import thesis_numbers
from train.recipes.lab.bench import Bench
from train.recipes.lab.tables import RecipeColumn

Stage = tuple[int, tuple[str, int]]
"""Side of its output; its block, and how many of them."""

_CLASSIC = {"alexnet": ("Table 3", thesis_numbers.TABLE3), "vgg19": ("Table 4", thesis_numbers.TABLE4)}


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
        _parameters(bench, models)
        _stages(bench, models)
        for name in _CLASSIC:
            _layers(bench, name, models[name])


def count(module: nn.Module) -> int:
    """Parameters of a network; shared ones once."""
    return sum(parameter.numel() for parameter in module.parameters())


def as_printed(parameters: int, millions: str) -> bool:
    """Whether a count, in millions and rounded to the digits of the printed one, is the printed one."""
    return f"{parameters / 1e6:.{len(millions.partition('.')[2])}f}" == millions


def _parameters(bench: Bench, models: dict[str, nn.Module]) -> None:
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
    columns = (
        RecipeColumn("network", "network", lambda name, _: thesis_numbers.NAMES[name]),
        RecipeColumn("table5", "Table 5, printed (10⁶)", lambda name, _: thesis_numbers.TABLE5_PARAMETERS.get(name)),
        RecipeColumn("table6", "Table 6, printed (10⁶)", lambda name, _: _table6(name)),
        RecipeColumn("millions", "measured (10⁶)", lambda _, found: f"{found / 1e6:.4f}"),
        RecipeColumn("measured", "measured", lambda _, found: found),
        RecipeColumn("equal", "as printed", _verdict),
        RecipeColumn("remark", "remark", lambda name, _: remarks[name]),
    )
    note = (
        "The code of Section 5.1.2 puts one block object into a stage several times (`3 * [ResBlock(...)]`), which "
        f"shares its weights: ResNet34 would have {count(models['resnet34-tied']):,} parameters. The printed counts "
        "are those of independent blocks."
    )
    rows = [(name, count(model)) for name, model in models.items()]
    bench.table("parameters", "Parameters of Tables 5 and 6", columns, rows, thesis_numbers.TABLE6_MISPRINT, note)


def _table6(name: str) -> str | None:
    return thesis_numbers.TABLE6[name].parameters if name in thesis_numbers.TABLE6 else None


def _verdict(name: str, found: int) -> str:
    cells = thesis_numbers.TABLE5_PARAMETERS.get(name), _table6(name)
    if not any(cells):
        return "not cells"
    return "yes" if all(as_printed(found, digits) for digits in cells if digits) else "Table 5: yes; Table 6: misprint"


def _stages(bench: Bench, models: dict[str, nn.Module]) -> None:
    rows = []
    for name, blocks in thesis_numbers.TABLE5_BLOCKS.items():
        model = models[name]
        assert isinstance(model, ResNet)
        printed = zip(thesis_numbers.TABLE5_SIZES, (("7×7, 64, stride 2", 1), *blocks), strict=True)
        rows += [(name, *row) for row in zip(thesis_numbers.STAGES, printed, _measured(model), strict=True)]

    def side(stage: Stage) -> str:
        return f"{stage[0]}×{stage[0]}"

    def block(stage: Stage) -> str:
        return "[{}] × {}".format(*stage[1])

    columns = (
        RecipeColumn("network", "network", lambda name, *_: thesis_numbers.NAMES[name]),
        RecipeColumn("stage", "layer name", lambda _, stage, *__: stage),
        RecipeColumn("side_printed", "out size, printed", lambda *row: side(row[2])),
        RecipeColumn("side", "out size, measured", lambda *row: side(row[3])),
        RecipeColumn("block_printed", "blocks, printed", lambda *row: block(row[2])),
        RecipeColumn("block", "blocks, measured", lambda *row: block(row[3])),
        RecipeColumn("equal", "as printed", lambda *row: "yes" if row[2] == row[3] else "NO"),
    )
    note = "Input 224×224. The 3×3 max-pool with stride 2 before conv2_x has no padding, so 110 becomes 54."
    bench.table("table5", "Table 5: stages of the ResNets", columns, rows, note)


def _measured(model: ResNet) -> list[Stage]:
    """Every stage's side, and its block in the thesis's notation with how many of them."""
    x = model.stem(torch.zeros(1, 1, 224, 224))
    stem = next(layer for layer in model.stem.modules() if isinstance(layer, nn.Conv2d))
    kernel, stride = stem.kernel_size[0], stem.stride[0]
    stages = [(x.shape[-1], (f"{kernel}×{kernel}, {stem.out_channels}, stride {stride}", 1))]
    x = model.pool(x)
    for stage in model.stages:
        x = stage(x)
        assert isinstance(stage, nn.Sequential)
        texts = [_block(block) for block in stage if isinstance(block, (BasicBlock, Bottleneck))]
        assert len(set(texts)) == 1
        stages.append((x.shape[-1], (texts[0], len(texts))))
    return stages


def _block(block: BasicBlock | Bottleneck) -> str:
    layers = [layer for layer in block.body if isinstance(layer, nn.Conv2d)]
    return "; ".join(f"{c.kernel_size[0]}×{c.kernel_size[0]}, {c.out_channels}" for c in layers)


def _layers(bench: Bench, name: str, model: nn.Module) -> None:
    where, expected = _CLASSIC[name]
    runs = ((text, len(list(group))) for text, group in groupby(_walk(model)))
    found = [text if times == 1 else f"{text} × {times}" for text, times in runs]
    notes = []
    if isinstance(model, AlexNet):
        found[4:6] = [f"{found[4]}, {found[5]}"]  # conv3-384 × 2, conv3-256
        notes = [
            f"Table 3 prints three 3×3 convolutions of 384 channels. That network would have {_with_384(model):,} "
            f"parameters, which Table 6 does not print; with 256 in the last one there are {count(model):,}, the "
            "printed 46.736 million. Section 4.5.2 says tanh, so tanh it is."
        ]
    columns = (
        RecipeColumn("position", "layer", lambda position, _: str(position)),
        RecipeColumn("printed", "printed", lambda _, pair: pair[0]),
        RecipeColumn("measured", "measured", lambda _, pair: pair[1]),
        RecipeColumn("equal", "as printed", lambda _, pair: "yes" if pair[0] == pair[1] else "misprint: see below"),
    )
    key, title = where.lower().replace(" ", ""), f"{where}: {thesis_numbers.NAMES[name]}"
    bench.table(key, title, columns, enumerate(zip(expected, found, strict=True), start=1), *notes)


def _walk(model: nn.Module) -> Iterator[str]:
    """Layers in the thesis's notation, in order."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            yield f"conv{layer.kernel_size[0]}-{layer.out_channels}"
        elif isinstance(layer, nn.MaxPool2d):
            yield "pool"
        elif isinstance(layer, nn.Linear):
            yield "FC"


def _with_384(model: AlexNet) -> int:
    """Parameters if the last convolution had as many channels as the one before it, as Table 3 reads."""
    convolutions = [layer for layer in model.features if isinstance(layer, nn.Conv2d)]
    first = next(layer for layer in model.classifier if isinstance(layer, nn.Linear))
    last, channels = convolutions[-1], convolutions[-2].out_channels
    more = channels - last.out_channels
    pixels = first.in_features // last.out_channels
    return count(model) + more * (last.in_channels * last.kernel_size[0] ** 2 + 1) + more * pixels * first.out_features
