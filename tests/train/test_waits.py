"""A GPU is never waited for within an epoch, and memory for the data set is counted.

PyTorch's fake tensors stand on a GPU that is not there: they have shapes and devices and no values, so that whatever
would read one on the host raises (`.item()`, `if tensor`, torch.bincount, nonzero …). Copies from the host are watched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader

from lits_deploy.contract import InputContract
from tiny_data import make_tiny_data
from train import loop, meter, session
from train.cli import bars as cli
from train.config import TrainConfig
from train.data import augment, feed
from train.data.dataset import SliceDataset
from train.data.layout import read_layout
from train.models import auxiliary
from train.session import Observer, TrainingSession

BATCHES = 3


class Copies(TorchDispatchMode):
    """Shapes of what went from the host to the GPU: by copies that the host waits for, and by others."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[torch.Size] = []
        self.queued: list[torch.Size] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out, kwargs = func(*args, **(kwargs or {})), kwargs or {}
        copies = {torch.ops.aten._to_copy.default: 0, torch.ops.aten.copy_.default: 1}
        if func in copies and (source := args[copies[func]]).device != out.device:
            queued = kwargs.get("non_blocking") and getattr(source, "pinned", False)
            (self.queued if queued else self.waited).append(source.shape)
        return out


def really(make: Callable[..., Any]) -> Callable[..., Any]:
    """Made of real tensors: fake weights cannot be moved to another device, nor fake targets be counted."""

    def made(*args: Any, **options: Any) -> Any:
        with unset_fake_temporarily():
            return make(*args, **options)

    return made


def pin(tensor: Tensor) -> Tensor:
    tensor.pinned = True  # type: ignore[attr-defined]
    return tensor


@pytest.fixture
def _gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module, name in (
        (session, "build"),
        (session, "SliceDataset"),
        (session, "class_weights"),
        (auxiliary, "WithMasks"),
    ):
        monkeypatch.setattr(module, name, really(getattr(module, name)))
    monkeypatch.setattr(feed, "DataLoader", really(lambda *args, **options: list(DataLoader(*args, **options))))
    monkeypatch.setattr(TrainingSession, "_say_absent", lambda _: None)
    monkeypatch.setattr(loop.EpochMeter, "result", lambda _: {})
    monkeypatch.setattr(Tensor, "pin_memory", pin)
    caches: list[Any] = [augment._basis, augment._noise]
    for cache in caches:
        cache.cache_clear()
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("model", ["resnet18", "unet"])
@pytest.mark.usefixtures("_gpu")
@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor", "ignore:.*pin_memory")
def test_no_step_waits_for_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, resident: bool) -> None:
    monkeypatch.setattr(feed, "fits", lambda *_: resident)
    data = make_tiny_data(tmp_path / "data", slices=BATCHES)
    segment = model == "unet"
    config = TrainConfig(
        model=model,
        data=data,
        batch_size=2,
        width=2 if segment else None,
        device="cuda",
        augment="strong",
        mixup=0.9,
        average=0.9,
        masks=1.0,
        dice=1.0,
        class_weights="balanced",
        schedule="cosine",
        sampling="balanced",
        contract=InputContract(window_hu=None, size=64, crop=None if segment else 56),
    )
    made = TrainingSession(config, read_layout(data), Observer())

    def backward(_: Tensor) -> None:  # autograd's engine wants a real GPU
        for weight in made.model.parameters():
            weight.grad = torch.zeros_like(weight)

    monkeypatch.setattr(Tensor, "backward", backward)
    with Copies() as first:
        made.learn(0)
        made.evaluate("validate")
    assert len(first.waited) <= 2, "the noise and the spline's basis, once"
    with Copies() as second:
        made.learn(1)
        made.evaluate("validate")
    assert second.waited == []
    assert len(second.queued) >= 2 * BATCHES


def test_values_are_counted_alike_everywhere() -> None:
    values = torch.randint(0, 8, (1000,), generator=torch.Generator().manual_seed(0))
    expected = torch.bincount(values, minlength=9)
    assert torch.equal(meter.counts(values, 9), expected)
    assert torch.equal(meter.compared(values, 9), expected)
    assert meter.compared(values, 9).dtype == torch.int64


def test_the_bar_looks_at_the_loss_twice_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now, reads = 100.0, []

    class Meter:
        slices = 0

        def mean_loss(self) -> float:
            reads.append(now)
            return 1.0

    monkeypatch.setattr(cli.time, "perf_counter", lambda: now)
    bars, meter = cli.Bars(), Meter()
    bars.start("epoch 1/1", 3000)
    for _ in range(3000):
        now += 0.001
        meter.slices += 32
        bars.batch(meter)  # type: ignore[arg-type]
    assert 3 <= len(reads) <= 6


def test_a_data_set_lies_on_a_gpu_that_has_twice_the_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_tiny_data(tmp_path / "data", slices=2, patients=(1, 1, 1))
    contract = InputContract(window_hu=None, size=64, crop=None)
    data = SliceDataset(read_layout(root).splits["train"], contract, masks=True)
    assert data.bytes == 2 * 2 * 64 * 64
    for free, expected in ((4 * 2 * 64 * 64, True), (4 * 2 * 64 * 64 - 2, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, free=free: (free, 10**12))
        assert feed.fits(data, torch.device("cuda")) == expected
