"""Training speed of each network beside a plain PyTorch loop, in one run on the same hardware.

    python -m benchmarks.training_speed [--data DATA] [--networks NAME …] [--batch 32] [--out FILE.json]

    plain      decoded slices in memory, torchvision transforms, DataLoader (the better of 0 and 2 workers by trial),
               FP32, Adam (`benchmarks.training_speed`)
    plain_cl   the same in channels_last
    fp32       `lits-deploy train` without autocast: slices resident, augmentation in batches, channels_last, fused Adam
    bf16       the same with bf16 autocast
    compiled   the same through torch.compile (with --compile)

Candidates take turns, in an order that moves on by one each round; each is built, warmed up by one epoch of the
few slices that are measured on, and then timed for whole epochs until --seconds have passed. A rate is the median of
the rounds, a ratio the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from benchmarks.machine import MachineRecord as Record
from lits_deploy.contract import InputContract
from lits_deploy.files import write_json
from lits_deploy.printable import say
from lits_deploy.program import run_program
from train.config import TrainConfig
from train.data.dataset import SliceDataset
from train.data.layout import Layout, read_layout
from train.models.registry import NETWORKS, Network, build, network
from train.phantom import write_phantoms
from train.session import Observer, TrainingSession


class AugmentedSlices(Dataset[tuple[Tensor, Tensor]]):
    """Augmented float slices [1, S, S] with their class, or label map."""

    def __init__(self, data: SliceDataset, crop: int | None) -> None:
        self.data = data
        steps: list[v2.Transform] = [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(), v2.ColorJitter(0.2, 0.2)]
        if crop is not None:
            steps.append(v2.RandomCrop(crop))
        self.transform = v2.Compose([*steps, v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True)])

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = tv_tensors.Image(self.data.images[index])
        if self.data.masks is None:
            return self.transform(image).as_subclass(Tensor), self.data.targets[index]
        image, mask = self.transform(image, tv_tensors.Mask(self.data.masks[index]))
        return image.as_subclass(Tensor), mask.as_subclass(Tensor).long()


class PlainTraining:
    """A network and its loop; `epoch` trains once over the slices."""

    def __init__(
        self, info: Network, data: SliceDataset, device: torch.device, width: int | None, batch: int, workers: int = 0
    ) -> None:
        torch.manual_seed(0)
        self.device, self.format = device, torch.contiguous_format
        model: Any = build(info.name, width=width)
        self.model: nn.Module = model.to(device)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=1e-4, weight_decay=1e-5)
        self.loss = nn.CrossEntropyLoss()
        self.loader: DataLoader[Any] = DataLoader(
            AugmentedSlices(data, None if info.task == "segment" else 224),
            batch_size=batch,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
            multiprocessing_context="fork" if workers else None,
        )

    def channels_last(self) -> PlainTraining:
        """The same in the layout that convolutions are fastest in."""
        self.format = torch.channels_last
        self.model.to(memory_format=self.format)
        return self

    def epoch(self) -> float:
        """Train on every slice once; returns the mean loss of the batches."""
        self.model.train()
        losses = []
        for images, targets in self.loader:
            x = images.to(self.device, non_blocking=True, memory_format=self.format)
            y = targets.to(self.device, non_blocking=True)
            self.optimiser.zero_grad()
            loss = self.loss(self.model(x), y)
            loss.backward()
            self.optimiser.step()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())


SCHEMA = 2
OURS: dict[str, dict[str, Any]] = {"fp32": {}, "bf16": {"amp": True}, "compiled": {"amp": True, "compiled": True}}

Epoch = Callable[[], Any]


class SpeedComparison:
    """The candidates for one network on a few slices."""

    def __init__(self, name: str, layout: Layout, device: torch.device, *, batch: int, width: int | None) -> None:
        self.info, self.layout, self.device, self.batch = network(name), layout, device, batch
        self.width = width if name == "unet" else None
        self.contract = InputContract(window_hu=layout.window_hu, crop=self.info.crop)
        masks = self.info.task == "segment"
        self.data = SliceDataset(layout.splits["train"], self.contract, masks=masks)
        self.workers = 0

    def build(self, candidate: str) -> Epoch:
        """A function that trains one epoch."""
        if candidate.startswith("plain"):
            plain = PlainTraining(self.info, self.data, self.device, self.width, self.batch, self.workers)
            return (plain.channels_last() if candidate == "plain_cl" else plain).epoch
        config = TrainConfig(
            model=self.info.name,
            data=self.layout.root,
            batch_size=self.batch,
            width=self.width,
            device=str(self.device),
            contract=self.contract,
        )
        return partial(TrainingSession(replace(config, **OURS[candidate]), self.layout, Observer()).learn, 0)

    def rate(self, candidate: str, seconds: float) -> float:
        """Slices per second over whole epochs, after one that is not timed."""
        epoch = self.build(candidate)
        epoch()
        self._wait()
        began, done = time.perf_counter(), 0
        while done == 0 or time.perf_counter() - began < seconds:
            epoch()
            done += len(self.data)
        self._wait()
        seconds = time.perf_counter() - began
        del epoch
        gc.collect()
        return done / seconds

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def run(self, candidates: list[str], *, rounds: int, seconds: float) -> dict[str, Any]:
        """Every candidate in every round."""
        trials: dict[int, float] = {}
        for self.workers in (0, 2):
            trials[self.workers] = self.rate("plain", 0.0)
        self.workers = max(trials, key=trials.__getitem__)
        rates: dict[str, list[float]] = {candidate: [] for candidate in candidates}
        for number in range(rounds):
            shift = number % len(candidates)
            for candidate in candidates[shift:] + candidates[:shift]:
                rates[candidate].append(self.rate(candidate, seconds))
        peers = [candidate for candidate in candidates if candidate.startswith("plain")]
        return {
            "network": self.info.name + (f" (width {self.width})" if self.width else ""),
            "plain_workers": self.workers,
            "slices_per_second": {candidate: median(found) for candidate, found in rates.items()},
            "rounds": rates,
            "ratios": {
                f"{candidate}/{peer}": median(a / b for a, b in zip(rates[candidate], rates[peer], strict=True))
                for candidate in candidates
                for peer in peers
                if candidate not in peers
            },
        }


def few(layout: Layout, count: int) -> Layout:
    """The first `count` slices for training, and one of the others, which are not used."""
    splits = {split: samples[: count if split == "train" else 1] for split, samples in layout.splits.items()}
    return Layout(layout.root, splits, layout.declared)


def measure(given: argparse.Namespace, data: Path) -> dict[str, Any]:
    """The record of one comparison."""
    device = torch.device(given.device)
    candidates = ["plain", "plain_cl", "fp32", "bf16"] + (["compiled"] if given.compile else [])
    layout = few(read_layout(data), given.slices)
    record, found = Record(), []
    for name in given.networks:
        comparison = SpeedComparison(name, layout, device, batch=given.batch, width=given.width)
        found.append(comparison.run(candidates, rounds=given.rounds, seconds=given.seconds))
        say(line(found[-1]))
    return record.document(
        "training speed",
        SCHEMA,
        threads=torch.get_num_threads(),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        batch=given.batch,
        slices=len(layout.splits["train"]),
        networks=found,
    )


def line(found: dict[str, Any]) -> str:
    """One network as text."""
    rates = ", ".join(f"{name} {rate:.1f}" for name, rate in found["slices_per_second"].items())
    ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in found["ratios"].items())
    return f"{found['network']}: slices/s {rates}; ratios {ratios} (plain with {found['plain_workers']} workers)"


def main() -> int:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description="Training speed beside a plain PyTorch loop.")
    parser.add_argument("--data", type=Path, help="training layout; phantoms are made without it")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=["resnet18"], metavar="NAME")
    parser.add_argument("--width", type=int, help="of the U-Net")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--slices", type=int, default=96, help="in the epoch that is timed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="least time of each candidate in each round")
    parser.add_argument("--compile", action="store_true", help="measure torch.compile too")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lits-deploy-training-") as temporary:
        if given.data is None:
            write_phantoms(Path(temporary), 1 + given.slices // 20, 0)
        record = measure(given, given.data or Path(temporary))
    for note in record["notes"]:
        say(f"note: {note}")
    if given.out is not None:
        write_json(given.out, record)
    return 0


if __name__ == "__main__":
    run_program(main)
