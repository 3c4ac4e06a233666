"""What a training run is: frozen, and written to config.json as it is."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lits_deploy.contract import InputContract
from train.models.registry import Init

Weights = Literal["none", "balanced"]
Schedule = Literal["constant", "cosine"]
Augmentation = Literal["thesis", "upright", "strong", "crop", "none"]
Sampling = Literal["all", "balanced"]
Optimiser = Literal["adam", "adamw"]
Recipe = Literal["thesis", "strong"]

FREE = {"data", "epochs", "max_minutes", "device", "workers", "recipe"}
"""Settings that do not change the weights of an epoch."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of one run; the defaults are the thesis's (Section 5.2).

    Adam with L2 weight decay inside it, cross-entropy, 15 epochs, batch 32. max_minutes is checked at the start of an
    epoch, as for Table 8, and counts the training of every epoch so far, of those before a resume too.
    schedule: the thesis's constant learning rate, or `train.loop.cosine`.
    augment: the thesis's flips, jitter and random crop; upright: small turns and zooms in place of flips; the crop
        alone; or nothing. width is for U-Net.
    amp: bf16 autocast, decided once `auto` is resolved. compiled: through torch.compile; auto: where it works
    (`train.compiled`).
    The rest is off in the thesis's recipe (`train.settings` says what it is for): sampling: every slice once, or
    classes alike (`train.data.feed`). optimiser: adamw decouples the weight decay. average: decay of the moving average
    of weights, 0 for none. masks: weight of the masks as a classifier's second target; dice: of a U-Net's Dice loss.
    mixup: parameter of its Beta distribution (`train.mixup`), 0 for none.
    coarse: share of the epochs, the first ones, that see slices of half the side, at a quarter of the cost.
    recipe: where the settings came from; it changes nothing by itself.
    """

    model: str
    data: Path
    epochs: int = 15
    batch_size: int = 32
    lr: float = 1e-4
    weight_decay: float = 1e-5
    schedule: Schedule = "constant"
    augment: Augmentation = "thesis"
    class_weights: Weights = "none"
    init: Init = "default"
    width: int | None = None
    max_minutes: float | None = None
    seed: int = 0
    device: str = "cpu"
    amp: bool = False
    workers: int = 0
    recipe: Recipe = "thesis"
    sampling: Sampling = "all"
    optimiser: Optimiser = "adam"
    average: float = 0.0
    masks: float = 0.0
    dice: float = 0.0
    mixup: float = 0.0
    coarse: float = 0.0
    compiled: bool | Literal["auto"] = False
    contract: InputContract

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary for config.json."""
        values = dataclasses.asdict(self)
        return {**values, "data": str(self.data), "contract": self.contract.to_json()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TrainConfig:
        """Read back what `to_json` wrote; keys that are not settings (data set, versions) are left out."""
        fields = {field.name for field in dataclasses.fields(cls)}
        data = {key: value for key, value in values.items() if key in fields}
        contract = InputContract.from_json(data["contract"])
        return cls(**{**data, "data": Path(data["data"]), "contract": contract})

    def differences(self, other: TrainConfig) -> list[str]:
        """Settings that change the weights and differ; a resumed run must have none."""
        # The rate of every step, or its size, may depend on how many epochs there will be.
        free = FREE - {"epochs"} if self.schedule != "constant" or self.coarse else FREE
        names = [field.name for field in dataclasses.fields(self) if field.name not in free]
        return [n for n in names if getattr(self, n) != getattr(other, n)]
