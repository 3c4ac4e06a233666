"""Every network by name: what it is, how many parameters it has, where the thesis says so. Imports no torch.

The parameter counts are facts about the thesis (Tables 5 and 6), not measurements: a test holds them against the real
networks, and each builder's module says what makes its count so.
"""

from __future__ import annotations

import dataclasses
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lits_deploy.contract import Task
from lits_deploy.errors import UserError

if TYPE_CHECKING:
    from torch import nn

Init = Literal["default", "kaiming"]
UNET_WIDTH = 64


@dataclass(frozen=True, kw_only=True)
class Network:
    """One line of the registry.

    parameters: exact count with default options; crop: side of the centre crop the network sees, None for the whole
    256×256 slice; builder: `module:function` in train.models.
    """

    name: str
    task: Task
    parameters: int
    crop: int | None
    source: str
    builder: str

    @property
    def input(self) -> str:
        """Shape of one network input, as text."""
        side = self.crop or 256
        return f"1×{side}×{side}"

    @property
    def stages(self) -> bool:
        """Whether it gives the maps of its stages, for the masks as a second target (`train.models.auxiliary`)."""
        return self.builder.startswith("resnet:")

    @property
    def any_size(self) -> bool:
        """Whether it takes slices of half the side too: AlexNet's first linear layer fixes the side of its maps."""
        return self.name != "alexnet"

    def to_json(self) -> dict[str, Any]:
        """For `lits-deploy models --json`."""
        values = dataclasses.asdict(self)
        del values["builder"], values["crop"]
        return {**values, "input": self.input}


def _network(
    name: str, parameters: int, source: str, builder: str, task: Task = "classify", crop: int | None = 224
) -> Network:
    return Network(name=name, task=task, parameters=parameters, crop=crop, source=source, builder=builder)


NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        _network("alexnet", 46_736_067, "Table 3, 6", "alexnet:AlexNet"),
        _network("vgg19", 139_581_379, "Table 6", "vgg:vgg19"),
        _network("resnet18", 11_176_579, "Table 5, 6", "resnet:resnet18"),
        _network("resnet34", 21_279_939, "Table 5, 6", "resnet:resnet34"),
        _network("resnet50", 23_507_971, "Table 5, 6", "resnet:resnet50"),
        _network("resnet152", 58_143_683, "Table 5, 6", "resnet:resnet152"),
        _network("resnet34-plain", 21_106_115, "Figure 6-8", "resnet:resnet34_plain"),
        _network("resnet34-tied", 11_097_795, "Section 5.1.2, printed code", "resnet:resnet34_tied"),
        _network("unet", 7_701_955, "Section 4.7; channels ours", "unet:UNet", task="segment", crop=None),
    )
}


def network(name: str) -> Network:
    """The network of that name; UserError lists the names there are."""
    if name not in NETWORKS:
        raise UserError(f"There is no network `{name}`.", fix=f"choose one of: {', '.join(NETWORKS)}")
    return NETWORKS[name]


def build(name: str, *, width: int | None = None, channels: int = 1, init: Init = "default") -> nn.Module:
    """A freshly initialised network in training mode, weights from torch's global random state.

    width: channels of the U-Net's first stage (UNET_WIDTH by default); UserError for other networks. channels: of the
    input, where the thesis has one.
    init: `default` is PyTorch's; `kaiming` draws every convolution and linear weight from a Kaiming normal (Section
    5.3; which layers is our choice) and sets their biases to zero.
    """
    chosen = network(name)
    module, function = chosen.builder.split(":")
    factory = getattr(importlib.import_module(f"train.models.{module}"), function)
    if width is not None and name != "unet":
        raise UserError(f"--width is for unet; {name} has the thesis's widths.", fix="leave --width out")
    built: nn.Module = factory(width or UNET_WIDTH, channels=channels) if name == "unet" else factory(channels=channels)
    if init == "kaiming":
        from train.models.init import kaiming_

        kaiming_(built)
    return built
