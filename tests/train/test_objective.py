"""Losses, the head for masks and the average of weights: values worked out by hand or against a library."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from train.average import Average
from train.data.feed import Batch
from train.losses import Objective, dice_loss, one_hot
from train.models.auxiliary import CELL, FIRST, WithMasks, cells
from train.models.registry import NETWORKS, build
from train.settings import RECIPES


def batch(targets: Tensor, masks: Tensor | None) -> Batch:
    slices = torch.zeros(len(targets), 1, 224, 224, dtype=torch.uint8)
    return Batch(slices=slices, targets=targets, masks=masks, share=float(len(targets)))


def test_dice_loss_of_a_perfect_and_of_a_wrong_map() -> None:
    target = torch.tensor([[[0, 1], [2, 2]]])
    perfect = 40.0 * one_hot(target, 3)
    assert dice_loss(perfect, one_hot(target, 3)) == pytest.approx(0.0, abs=1e-5)
    wrong = 40.0 * one_hot((target + 1) % 3, 3)
    # liver: found 1, wanted 1, none in common: 1 − 1/3; tumour: found 1, wanted 2: 1 − 1/4
    assert dice_loss(wrong, one_hot(target, 3)) == pytest.approx((2 / 3 + 3 / 4) / 2)


def test_the_thesis_s_objective_is_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, targets, weight = torch.randn(4, 3), torch.tensor([0, 1, 2, 2]), torch.tensor([1.0, 2.0, 5.0])
    loss, _, target = Objective("classify", weight=weight)(logits, batch(targets, None))
    assert loss == nn.functional.cross_entropy(logits, targets, weight=weight)
    assert target is targets
    maps, masks = torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 8, 8), dtype=torch.uint8)
    loss, _, target = Objective("segment")(maps, batch(targets[:2], masks))
    assert loss == nn.functional.cross_entropy(maps, masks.long())
    with_dice, _, _ = Objective("segment", dice=0.5)(maps, batch(targets[:2], masks))
    assert with_dice == pytest.approx(float(loss + 0.5 * dice_loss(maps, one_hot(masks.long(), 3))))


def test_cells_lie_where_the_stages_look() -> None:
    masks = torch.zeros(1, 224, 224, dtype=torch.uint8)
    start = FIRST + 10 * CELL
    masks[0, start : start + CELL, start : start + CELL] = 1
    masks[0, start, start] = 2
    shares = cells(masks, 54)
    assert shares.shape == (1, 3, 54, 54)
    assert torch.allclose(shares.sum(dim=1), torch.ones(1, 54, 54))
    assert shares[0, :, 10, 10].tolist() == pytest.approx([0.0, 15 / 16, 1 / 16])
    assert shares[0, 0].sum() == 54 * 54 - 1
    # The centre of what cell (10, 10) of the first stage depends on, by its gradient, is the centre of that cell.
    network = build("resnet18").eval()
    x = torch.rand(1, 1, 224, 224, requires_grad=True)
    network.pool(network.stem(x))[0, :, 10, 10].sum().backward()  # type: ignore[operator]
    assert x.grad is not None
    seen = torch.nonzero(x.grad[0, 0]).float()
    centre = (seen.amin(dim=0) + seen.amax(dim=0)) / 2
    assert (centre - (start + (CELL - 1) / 2)).abs().max() <= 1.0


@pytest.mark.parametrize(("name", "side"), [("resnet18", 224), ("resnet50", 224), ("resnet18", 112)])
def test_the_head_leaves_the_network_as_it_is(name: str, side: int) -> None:
    network = build(name).eval()
    with_masks = WithMasks(network).eval()  # type: ignore[arg-type]
    x = torch.rand(1, 1, side, side)
    with torch.no_grad():
        logits, maps = with_masks(x)
        assert torch.equal(logits, network(x))
    assert maps.shape == (1, 3, 54, 54) if side == 224 else (1, 3, 26, 26)
    assert cells(torch.zeros(1, side, side, dtype=torch.uint8), maps.shape[-1]).shape == maps.shape
    assert sum(p.numel() for p in with_masks.network.parameters()) == NETWORKS[name].parameters


def test_masks_reach_the_features() -> None:
    torch.manual_seed(0)
    model = WithMasks(build("resnet18"))  # type: ignore[arg-type]
    masks = torch.zeros(2, 224, 224, dtype=torch.uint8)
    masks[0, 60:120, 50:100] = 1
    given = batch(torch.tensor([1, 0]), masks)
    objective = Objective("classify", masks=1.0)
    loss, logits, _ = objective(model(torch.rand(2, 1, 224, 224)), given)
    assert loss > nn.functional.cross_entropy(logits, given.targets)
    (loss - nn.functional.cross_entropy(logits, given.targets)).backward()
    assert model.network.head.weight.grad is None or model.network.head.weight.grad.abs().sum() == 0
    assert all(stage[0].body[0].weight.grad.abs().sum() > 0 for stage in model.network.stages)  # type: ignore[index,union-attr]


def test_average_follows_and_forgets_its_beginning() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    average = Average(model, 0.9)
    with torch.no_grad():
        model[0].weight.fill_(1.0)  # type: ignore[union-attr,operator]
    start = float(average.model[0].weight)  # type: ignore[index]
    average.follow(model, 0)
    assert float(average.model[0].weight) == pytest.approx(1.0 + 0.1 * (start - 1.0))  # type: ignore[index]
    late = Average(model, 0.9)
    with torch.no_grad():
        model[0].weight.fill_(2.0)  # type: ignore[union-attr,operator]
    model[1].num_batches_tracked += 7  # type: ignore[union-attr,operator]
    late.follow(model, 10_000)
    assert float(late.model[0].weight) == pytest.approx(1.1)  # type: ignore[index]
    assert late.model[1].num_batches_tracked == 7  # type: ignore[index]
    assert not any(parameter.requires_grad for parameter in late.model.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_thesis_s_recipe_is_the_defaults(name: str) -> None:
    assert RECIPES["thesis"](NETWORKS[name]) == {}
    strong = RECIPES["strong"](NETWORKS[name])
    assert ("dice" in strong) == (name == "unet")
    assert strong.get("channels", 1) == (1 if name == "unet" else 3)
    assert strong.get("size", 256) == (256 if name == "alexnet" else 128)
