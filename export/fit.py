"""Whether weights fit a network; where not, which names differ and the network that they would fit.

Networks are built on PyTorch's meta device for that, which has shapes and no values: all of them take a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from export.weights import Weights, some
from lits_deploy.errors import DataError
from train.models.registry import NETWORKS, UNET_WIDTH, build

_COUNTER = "num_batches_tracked"
"""A buffer of BatchNorm that counts training batches: PyTorch before 0.4.1 had none, and inference needs none."""

_TORCHVISION = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "alexnet", "vgg16", "vgg19")
"""What people have who did not train with us."""


def fill(model: nn.Module, weights: Weights, what: str) -> tuple[str, ...]:
    """Copy weights into a network, all names and shapes matching; returns what else was done.

    what: the network in words. DataError names the first differences and the network that the weights would fit.
    """
    apart = _Apart.of(model, weights.tensors)
    if apart.names:
        sentence, fix = _propose(weights.tensors)
        raise DataError(f"{weights.path} does not fit {what}: it {apart.text}. {sentence}", fix=fix)
    counters = [name for name in model.state_dict() if name.endswith(_COUNTER) and name not in weights.tensors]
    model.load_state_dict(weights.tensors, strict=False)
    return (f"set {len(counters)} missing {_COUNTER} to 0",) if counters else ()


@dataclass(frozen=True, kw_only=True)
class _Apart:
    """Names that keep weights from a network: missing, unknown, of another shape or kind, equal here and not there."""

    missing: list[str]
    unknown: list[str]
    other: dict[str, str]
    untied: list[str]
    agreeing: int

    @property
    def names(self) -> list[str]:
        """All of them."""
        return [*self.missing, *self.unknown, *self.other, *self.untied]

    @property
    def text(self) -> str:
        """The first of each kind, as the end of `it …`."""
        parts = []
        if self.missing:
            parts.append(f"lacks {some(self.missing)}")
        if self.unknown:
            parts.append(f"has the unknown {some(self.unknown)}")
        if self.other:
            parts.append("has " + some([f"{name} as {how}" for name, how in self.other.items()], 2))
        if self.untied:
            parts.append(f"has other numbers in {some(self.untied)}, which share theirs with another block")
        return " and ".join(parts) + (f" ({len(self.names)} tensors in all)" if len(self.names) > 1 else "")

    @classmethod
    def of(cls, model: nn.Module, tensors: dict[str, Tensor]) -> _Apart:
        first: dict[int, str] = {}  # tied blocks: one tensor of several names, of which a file may hold one or all
        missing, other, untied, agreeing = [], {}, [], 0
        known = model.state_dict(keep_vars=True)
        for name, value in known.items():
            original = first.setdefault(id(value), name)
            found = tensors.get(name)
            if found is None:
                if original == name and not name.endswith(_COUNTER):
                    missing.append(name)
            elif found.shape != value.shape:
                other[name] = f"{list(found.shape)}, not {list(value.shape)}"
            elif found.is_floating_point() != value.is_floating_point():
                other[name] = str(found.dtype).removeprefix("torch.")
            elif original != name and original in tensors and not torch.equal(found, tensors[original]):
                untied.append(name)
            else:
                agreeing += not name.endswith(_COUNTER)
        unknown = [name for name in tensors if name not in known]
        return cls(missing=missing, unknown=unknown, other=other, untied=untied, agreeing=agreeing)


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """A network of the registry as these weights would need it; its head and how far it is from them."""

    options: str
    head: str
    apart: _Apart

    @classmethod
    def of(cls, name: str, tensors: dict[str, Tensor]) -> _Candidate:
        model = _on_meta(name)
        parameters = dict(model.named_parameters())
        first = tensors.get(next(key for key, value in parameters.items() if value.ndim == 4))
        channels, width = 1, UNET_WIDTH
        if first is not None and first.ndim == 4:
            channels = first.shape[1] if first.shape[1] % 2 else 1  # an even number has no slice in the middle
            width = first.shape[0] if name == "unet" else width
        if (channels, width) != (1, UNET_WIDTH):
            model = _on_meta(name, channels, width)
        options = f"--model {name}" + (f" --width {width}" if width != UNET_WIDTH else "")
        options += f" --channels {channels}" if channels > 1 else ""
        head = [key for key, value in model.named_parameters() if value.ndim > 1][-1].rpartition(".")[0]
        return cls(options=options, head=head, apart=_Apart.of(model, tensors))


def _propose(tensors: dict[str, Tensor]) -> tuple[str, str]:
    """A sentence on what the weights are, and the fix."""
    candidates = [_Candidate.of(name, tensors) for name in NETWORKS]
    if fitting := [candidate.options for candidate in candidates if not candidate.apart.names]:
        three = " (three slices, not the colours of a picture)" if "--channels 3" in fitting[0] else ""
        return f"It would fit {' or '.join(fitting)}{three}.", fitting[0]
    for candidate in candidates:
        head = {f"{candidate.head}.weight", f"{candidate.head}.bias"}
        if set(candidate.apart.names) == head == set(candidate.apart.other):  # only the number of classes differs
            classes = len(tensors[f"{candidate.head}.weight"])
            return (
                f"It would fit {candidate.options}, but its {candidate.head} answers {classes} classes, not 3.",
                "give weights trained for no liver, liver, liver with lesion",
            )
    if name := _torchvision_name(tensors):
        classes = len(tensors[[key for key, value in tensors.items() if value.ndim > 1][-1]])
        return (
            f"It is torchvision's {name} with {classes} classes, which is none of the thesis's networks.",
            "train one of them: `lits-deploy models` lists them, `lits-deploy train` trains",
        )
    best = max(candidates, key=lambda candidate: (candidate.apart.agreeing, -len(candidate.apart.missing)))
    sentence = "No network of ours has such tensors."
    if agreeing := best.apart.agreeing:
        total = agreeing + len(best.apart.names)
        sentence = f"No network fits; the nearest is {best.options}: {agreeing} of {total} tensors agree."
    return sentence, "give weights of a network that `lits-deploy models` lists"


def _on_meta(name: str, channels: int = 1, width: int = UNET_WIDTH) -> nn.Module:
    with torch.device("meta"):
        return build(name, channels=channels, width=width if name == "unet" else None)


def _torchvision_name(tensors: dict[str, Tensor]) -> str | None:
    """The torchvision network that has these names, and most shapes."""
    from torchvision.models import get_model

    names = {name for name in tensors if not name.endswith(_COUNTER)}
    for name in _TORCHVISION:
        with torch.device("meta"):
            model = cast(nn.Module, get_model(name, weights=None))
        known = {key: value for key, value in model.state_dict().items() if not key.endswith(_COUNTER)}
        if names == known.keys() and sum(tensors[n].shape == known[n].shape for n in names) >= len(names) - 3:
            return name
    return None
