"""Training through torch.compile: a shape compiles once, a ragged batch never, and where it fails nothing is lost."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, get_args

import pytest
import torch
from functorch.compile import make_boxed_func
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd
from torch._inductor import config as inductor
from torch._inductor.exc import TritonMissing
from torch._inductor.utils import fresh_cache

from lits_deploy.contract import InputContract
from lits_deploy.errors import UserError
from tiny_data import make_tiny_data
from train.choices import OnOff
from train.compiled import Compiled
from train.config import TrainConfig
from train.data.layout import read_layout
from train.device import compiled
from train.session import Observer, TrainingSession


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_data(tmp_path_factory.mktemp("tiny") / "data", slices=3)


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What was compiled before."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


class Lines(Observer):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


def trained(data: Path, watch: Observer, *, epochs: int = 1, **changes: Any) -> dict[str, Tensor]:
    """Weights and statistics of a U-Net after epochs of batches of 4 and 2 slices."""
    contract = InputContract(window_hu=None, size=64, crop=None)
    config = TrainConfig(model="unet", width=2, data=data, epochs=epochs, batch_size=4, contract=contract, **changes)
    session = TrainingSession(config, read_layout(data), watch)
    for epoch in range(epochs):
        session.learn(epoch)
    return session.model.state_dict()


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return all(torch.equal(ours[name], theirs[name]) for name in theirs)


def through(monkeypatch: pytest.MonkeyPatch, backend: Callable[..., Any]) -> None:
    """torch.compile hands its graphs to `backend`."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))


def test_each_side_is_compiled_once_and_a_smaller_last_batch_never(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []

    def counting(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        shapes.extend([tuple(value.shape) for value in inputs if value.shape[:2] == (4, 1)])
        return graph.forward

    settings = {"epochs": 4, "coarse": 0.5, "mixup": 0.4, "average": 0.9}
    plain = trained(data, Observer(), **settings)
    through(monkeypatch, counting)
    watch = Lines()
    compiled = trained(data, watch, **settings, compiled="auto")
    assert same(compiled, plain), "what was tried beforehand left something behind"
    assert watch.said == []
    assert shapes == [(4, 1, 32, 32), (4, 1, 64, 64)]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2


def fails_forward(_graph: Any, _inputs: Any) -> NoReturn:
    raise TritonMissing(inspect.currentframe())


def fails_running(_graph: Any, _inputs: Any) -> Callable[..., Any]:
    def run(*_: Any) -> NoReturn:
        raise OSError(2, "No such file or directory: 'gcc'")

    return run


def backward_by(compiler: Callable[..., Any]) -> Callable[..., Any]:
    return aot_autograd(fw_compiler=lambda graph, _: make_boxed_func(graph.forward), bw_compiler=compiler)  # type: ignore[no-untyped-call, no-any-return]


NO_TRITON = "TritonMissing: Cannot find a working triton installation"
NO_GCC = "FileNotFoundError: [Errno 2] No such file or directory: 'gcc'"
FAILS = {
    "forward": (fails_forward, NO_TRITON),
    "running": (fails_running, NO_GCC),
    "backward": (backward_by(fails_forward), NO_TRITON),
    "running backward": (backward_by(lambda *_: make_boxed_func(fails_running(*_))), NO_GCC),
}


@pytest.mark.parametrize("where", FAILS)
def test_where_it_fails_training_goes_on_without_it(data: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    backend, reason = FAILS[where]
    plain = trained(data, Observer())
    through(monkeypatch, backend)
    watch = Lines()
    assert same(trained(data, watch, compiled="auto"), plain), "a step was lost, or done twice"
    assert len(watch.said) == 1
    assert watch.said[0].startswith(f"note: training without torch.compile, which does not work here ({reason}")


def test_asked_for_by_name_it_must_work(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    through(monkeypatch, fails_forward)
    with pytest.raises(UserError, match=r"torch.compile does not work here.*Fix: --compile off"):
        trained(data, Observer(), compiled=True)


class Net(nn.Module):
    """Draws random numbers and counts batches; fails as told."""

    def __init__(self, fails: str = "") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3))
        self.fails = fails

    def forward(self, x: Tensor) -> Tensor:
        if self.fails:
            raise ValueError(self.fails)
        out: Tensor = self.layers(x)
        return out


def test_the_networks_own_errors_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    through(monkeypatch, lambda graph, _: graph.forward)
    said: list[str] = []
    with pytest.raises(ValueError, match="of the network"):
        Compiled(Net("of the network"), whole=4, say=said.append)(torch.ones(4, 8))
    assert said == []


def test_dropout_draws_what_it_would_have_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    through(monkeypatch, FAILS["running backward"][0])
    said: list[str] = []
    x, plain, net = torch.rand(4, 8), Net(), Net()
    torch.manual_seed(1)
    expected = plain(x)
    torch.manual_seed(1)
    assert torch.equal(Compiled(net, whole=4, say=said.append)(x), expected)
    assert same(net.state_dict(), plain.state_dict())
    assert all(weight.grad is None for weight in net.parameters())
    assert len(said) == 1


@pytest.mark.slow
def test_inductor_without_a_compiler() -> None:
    said: list[str] = []
    with fresh_cache(), inductor.patch({"cpp.cxx": ("/nonexistent/c++",)}):
        assert Compiled(Net(), whole=4, say=said.append)(torch.rand(4, 8)).shape == (4, 3)
    assert len(said) == 1
    assert "No working C++ compiler found" in said[0]


def test_auto_is_for_one_gpu(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = [torch.device("cuda", 1), torch.device("cpu")]
    found = {choice: [compiled(choice, device) for device in devices] for choice in get_args(OnOff)}
    assert found == {"auto": ["auto", False], "on": [True, True], "off": [False, False]}
    config = TrainConfig(model="unet", width=2, data=data, contract=InputContract(window_hu=None, size=64, crop=None))
    session = TrainingSession(config, read_layout(data), Observer())
    monkeypatch.setattr("train.distributed.processes", lambda: 2)
    session.config = replace(config, compiled=True)
    with pytest.raises(UserError, match=r"one process here\. Fix: --compile off"):
        session._forward()
