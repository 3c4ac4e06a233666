"""Network, optimiser and data of a run in memory, and one epoch of it. Knows no folders: `train.run` keeps them.

Two modules may be at work: the *network*, which is evaluated, kept and exported, and the *trained* one, which the
optimiser changes. They are one and the same in the thesis's recipe; otherwise the trained one may have a head for
masks, and the network may be an average of its weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lits_deploy.errors import UserError
from train import distributed
from train.average import Average
from train.compiled import Compiled
from train.config import TrainConfig
from train.data.augment import named
from train.data.dataset import SliceDataset, class_weights
from train.data.feed import IN_ORDER, Batch, Feed, Order, Sampling, half
from train.data.layout import WITHOUT_CLASS, Layout
from train.device import limit_threads
from train.loop import NotFinite, TrainSteps, cosine, run_epoch
from train.losses import Objective
from train.meter import EpochMeter
from train.mixup import Mix, draw
from train.models.registry import build, network
from train.preprocess import Preprocess


class Observer:
    """What a run tells while it goes on; the command line draws it, tests ignore it.

    part: what is going on where a run has parts, such as `fold 2 of 5`; it belongs to all that is shown.
    """

    part = ""

    def say(self, line: str) -> None:
        """A line for the user."""

    def start(self, what: str, slices: int) -> None:
        """A pass over `slices` slices begins."""

    def batch(self, meter: EpochMeter) -> None:
        """A batch is done."""

    def measure(self, epoch: int, validate: dict[str, Any], evaluate: Callable[[str], dict[str, Any]]) -> None:
        """An epoch's weights can be measured further before its checkpoint is written; changes nothing in the run.

        validate: all figures on validate (`EpochMeter.result`); evaluate: takes a split, gives the same figures on it.
        """

    def end_epoch(self, epoch: int, epochs: int, row: dict[str, Any]) -> None:
        """An epoch is done; `row` is its line of metrics.csv."""


class TrainingSession:
    """A run in memory.

    `network` is what is kept; `trained` is None where that is what the optimiser changes. A layout's validate may be
    empty: then all its patients are trained on, and no epoch is better than another. decoded: data sets that hold its
    slices already, by split.
    """

    def __init__(
        self,
        config: TrainConfig,
        layout: Layout,
        watch: Observer,
        decoded: Mapping[str, SliceDataset] = MappingProxyType({}),
    ) -> None:
        self.config, self.watch, self.split_by, self.decoded = config, watch, layout.split_by, decoded
        self.synthetic = layout.synthetic
        self.info = network(config.model)
        self.device = torch.device(config.device)
        limit_threads()
        torch.manual_seed(config.seed)
        model = build(config.model, width=config.width, channels=config.contract.channels, init=config.init)
        masks = self._masks(layout)
        if masks:
            from train.models.auxiliary import WithMasks

            model = WithMasks(model)  # type: ignore[arg-type]
        if distributed.processes() > 1:
            model = distributed.synchronise_(model, self.device)
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        inner = self.model.network if masks else self.model
        self.average = Average(inner, config.average) if config.average else None
        self.inner: nn.Module = inner
        self.network: nn.Module = inner if self.average is None else self.average.model
        self.trained = None if self.network is self.model else self.model
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimiser]
        # One fused kernel; bit-equal from run to run on a CPU.
        self.optimiser: torch.optim.Optimizer = kind(
            self.model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
        )
        self.preprocess = Preprocess(config.contract)
        self.feeds = {split: self._feed(layout, split, masks) for split in layout.splits if layout.splits[split]}
        self._say_absent()
        self.objective = self._objective()
        self.least = self._least()
        self.forward = self._forward()

    def _masks(self, layout: Layout) -> bool:
        """Whether a classifier is told where liver and lesion are, too."""
        if not self.config.masks or self.info.task == "segment":
            return False
        if not self.info.stages:
            self.watch.say(f"note: {self.info.name} takes no masks as a second target; trained on classes alone.")
            return False
        if any(sample.mask is None for sample in layout.splits["train"]):
            self.watch.say("note: this data set has classes, not masks; trained on classes alone.")
            return False
        return True

    def _say_absent(self) -> None:
        for split, feed in self.feeds.items():
            for target, count in enumerate(feed.data.class_counts):
                if count == 0:
                    name = self.config.contract.classes[target]
                    self.watch.say(
                        f"warning: {split} holds no slice of class {target} ({name}): {WITHOUT_CLASS[split]}."
                    )

    def _feed(self, layout: Layout, split: str, masks: bool) -> Feed:
        config, learn = self.config, split == "train"
        data = SliceDataset(
            layout.splits[split],
            config.contract,
            masks=self.info.task == "segment" or (masks and learn),
            decoded=self.decoded.get(split),
        )
        orders: dict[str, Order] = {"all": "shuffled", "balanced": "balanced"}
        sampling = Sampling(
            order=orders[config.sampling], augment=named(config.augment, config.contract.crop), seed=config.seed
        )
        return Feed(
            data,
            batch_size=config.batch_size,
            device=self.device,
            sampling=sampling if learn else IN_ORDER,
            workers=config.workers if learn else 0,
            part=(distributed.rank(), distributed.processes()),
        )

    def _least(self) -> int:
        """Slices that a batch of half the side needs: BatchNorm takes no mean of one pixel of one slice."""
        config, contract = self.config, self.config.contract
        side = (contract.crop or contract.size) // 2
        slices = torch.zeros(1, contract.channels, side, side, device=self.device)
        if not config.coarse or not leaves_one_pixel(self.model, slices):
            return 1
        if min(config.batch_size, len(self.feeds["train"].data)) < 2:
            raise UserError(
                f"Slices of half of {config.contract.size} pixels cannot be trained on one at a time.",
                fix="--coarse 0, or a --batch-size of 2 and more",
            )
        return 2

    def _objective(self) -> Objective:
        config, train = self.config, self.feeds["train"].data
        weight = None
        if config.class_weights == "balanced":
            segment = self.info.task == "segment"
            weight = class_weights(train.masks if segment and train.masks is not None else train.targets)
        return Objective(self.info.task, weight=weight, dice=config.dice, masks=config.masks).to(self.device)

    def _forward(self) -> Callable[..., Any]:
        compiled = self.config.compiled
        if distributed.processes() > 1:
            if compiled is True:
                raise UserError("torch.compile is for one process here.", fix="--compile off")
            ids = [self.device] if self.device.type == "cuda" else None
            return nn.parallel.DistributedDataParallel(self.model, device_ids=ids, broadcast_buffers=False)
        if compiled:
            say = self.watch.say if compiled == "auto" else None
            return Compiled(self.model, whole=self.config.batch_size, say=say)
        return self.model  # type: ignore[no-any-return]

    def evaluate(self, split: str, what: str | None = None) -> dict[str, Any]:
        """Figures of the network on a split; `what` names the pass where the split does not."""
        self.network.eval()
        feed = self.feeds[split]
        self.watch.start(what or split, len(feed.data))
        return self._pass(self.network, feed.batches())

    def learn(self, epoch: int) -> dict[str, Any]:
        """One pass over the training split."""
        config, feed = self.config, self.feeds["train"]
        torch.manual_seed((config.seed * 1_000_003 + epoch + 1) * distributed.processes() + distributed.rank())
        first = epoch * len(feed)

        def mix(step: int, count: int) -> Mix | None:
            return draw(config.mixup, (config.seed, epoch, step), count, self.device)

        def learn(loss: Tensor, step: int) -> None:
            if config.schedule == "cosine":
                for group in self.optimiser.param_groups:
                    group["lr"] = cosine(first + step, config.epochs * len(feed), config.lr)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            if self.average is not None:
                self.average.follow(self.inner, first + step)

        self.model.train()
        coarse = epoch < round(config.coarse * config.epochs)
        batches = feed.batches(epoch, self.least if coarse else 1)
        if coarse:
            batches = (half(batch) for batch in batches)
        self.watch.start(f"epoch {epoch + 1}/{config.epochs}", len(feed.data))
        return self._pass(self.forward, batches, TrainSteps(learn=learn, mix=mix))

    def _pass(
        self, model: Callable[..., Any], batches: Iterable[Batch], steps: TrainSteps | None = None
    ) -> dict[str, Any]:
        how: dict[str, Any] = {"device": self.device, "amp": self.config.amp, "progress": self.watch.batch}
        return run_epoch(model, batches, self.objective, self.preprocess, steps=steps, **how)

    def epoch(self, epoch: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Train and validate once; returns the row of metrics.csv and validate's figures, {} where it is empty.

        Raises NotFinite where a loss or a weight is not finite; the network is of no use from then on.
        """
        began = time.perf_counter()
        learned = self.learn(epoch)
        seconds = time.perf_counter() - began
        self._check_weights()
        checked = self.evaluate("validate") if "validate" in self.feeds else {}
        row: dict[str, Any] = {"epoch": epoch + 1, "seconds": seconds, "slices_per_second": learned["slices"] / seconds}
        row |= {f"train_{name}": learned[name] for name in ("loss", "accuracy")}
        names = ("loss", "accuracy", "balanced_accuracy", "liver_accuracy", "lesion_auroc")
        row |= {f"validate_{name}": checked.get(name) for name in names}
        row |= {f"validate_class{index}": value for index, value in enumerate(checked.get("class_accuracy", []))}
        row |= {f"validate_dice{index}": value for index, value in enumerate(checked.get("dice", [])) if index}
        row["split_by"] = self.split_by
        return row, checked

    def _check_weights(self) -> None:
        """Raise NotFinite for weights that are no numbers any more, though the loss before the last step was one."""
        models = [self.network] if self.trained is None else [self.network, self.trained]
        states = [value for model in models for value in model.state_dict().values() if value.is_floating_point()]
        if not torch.stack([value.isfinite().all() for value in states]).all():
            raise NotFinite("a weight is not finite after the last batch")


@torch.no_grad()
def leaves_one_pixel(model: nn.Module, x: Tensor) -> bool:
    """Whether a BatchNorm is given a single pixel of x [1, C, H, W]: in training it has no variance to divide by.

    Found by running the model, which is left in evaluation mode.
    """
    sizes: list[int] = []

    def note(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        sizes.append(inputs[0][0, 0].numel())

    hooks = [part.register_forward_pre_hook(note) for part in model.modules() if isinstance(part, _BatchNorm)]
    try:
        model.eval()(x)
    finally:
        for hook in hooks:
            hook.remove()
    return 1 in sizes
