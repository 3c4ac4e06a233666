"""`export --weights`: what people have is taken, and said; what is no weights, or of another network, is one line."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from typer.testing import CliRunner

from export.source import Original, from_run, open_weights
from fake_training import FakeTraining
from lits_deploy.cli.app import app
from lits_deploy.contract import InputContract
from lits_deploy.errors import DataError, UserError
from tiny_data import make_tiny_data
from train import checkpoint
from train.config import TrainConfig
from train.models.registry import build

Declared = dict[str, Any]
UNET = Declared(model="unet", width=2, size=64, window=(-160.0, 240.0))
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    torch.manual_seed(3)
    return build("unet", width=2).state_dict()


def prefixed(prefix: str) -> Callable[[State], Any]:
    return lambda state: {prefix + name: value for name, value in state.items()}


def inner(state: State) -> State:
    """A part that was wrapped on its own, as the ImageNet example wraps `features`."""
    return {name.replace("down.0.", "down.module.0._orig_mod."): value for name, value in state.items()}


HAVE: dict[str, tuple[Callable[[State], Any], str]] = {
    "plain": (dict, ""),
    "dataparallel": (prefixed("module."), "cut `module.` off the names"),
    "compiled": (prefixed("_orig_mod."), "cut `_orig_mod.` off the names"),
    "both": (prefixed("module._orig_mod."), "cut `module.` and `_orig_mod.` off the names"),
    "both, turned": (prefixed("_orig_mod.module."), "cut `_orig_mod.` and `module.` off the names"),
    "inner": (inner, "cut `module.` and `_orig_mod.` off the names"),
    "wrapper": (prefixed("backbone.net."), "cut `backbone.` and `net.` off the names"),
    "average": (
        lambda s: {"n_averaged": torch.tensor(9), **prefixed("module.")(s)},
        "left out n_averaged: the weights are averages | cut `module.` off the names",
    ),
    "state_dict": (lambda s: {"state_dict": s, "epoch": 3}, "took `state_dict`, left out epoch"),
    "model": (lambda s: {"epoch": 3, "loss": torch.tensor(0.5), "model": s}, "took `model`, left out epoch, loss"),
    "nested": (
        lambda s: {"model": {"state_dict": prefixed("module.")(s)}},
        "took `model` | took `state_dict` | cut `module.` off the names",
    ),
    "another key": (lambda s: {"ema": s, "step": 1}, "took `ema`, left out step"),
    "two keys": (lambda s: {"model_ema": {}, "model": s, "old": s}, "took `model`, left out model_ema, old"),
    "beside": (lambda s: {**s, "epoch": 3}, "left out epoch, which are no tensors"),
    "old": (
        lambda s: {name: value for name, value in s.items() if not name.endswith("num_batches_tracked")},
        "set 14 missing num_batches_tracked to 0",
    ),
    "double": (
        lambda s: {n: v.double() if v.is_floating_point() else v for n, v in s.items()},
        "converted from float64 to float32",
    ),
    "parameters": (lambda s: {n: nn.Parameter(v) if v.is_floating_point() else v for n, v in s.items()}, ""),
    "numpy": (lambda s: {"state_dict": s, "best": np.float64(0.9)}, "took `state_dict`, left out best"),
    "objects": (
        lambda s: {"model": s, "args": Namespace(out=Path("/tmp"), lr=np.float32(1)), "when": np.arange(3)},
        "took `model`, left out args, when",
    ),
}


@pytest.mark.parametrize("kind", HAVE)
def test_what_people_have_is_taken_and_reported(kind: str, state: State, tmp_path: Path) -> None:
    make, adapted = HAVE[kind]
    torch.save(make(state), tmp_path / "w.pt")
    original = open_weights(tmp_path / "w.pt", **UNET)
    assert same(original, state)
    assert " | ".join(original.training.get("adapted", ())) == adapted


def same(original: Original, state: State) -> bool:
    found = original.module.network.state_dict()
    return all(
        torch.equal(found[name], value) for name, value in state.items() if not name.endswith("num_batches_tracked")
    )


def test_formats_before_zip_and_safetensors_are_taken(state: State, tmp_path: Path) -> None:
    torch.save({"state_dict": state}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert same(open_weights(tmp_path / "old.pth", **UNET), state)
    save_file({f"module.{name}": value for name, value in state.items()}, tmp_path / "w.safetensors")
    assert same(open_weights(tmp_path / "w.safetensors", **UNET), state)


class Fires:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path, call: Any) -> None:
        self.path, self.call = path, call

    def __reduce__(self) -> Any:
        return self.call, (str(self.path),)


@pytest.mark.parametrize("call", [open, eval])
def test_nothing_of_a_pickle_is_called(call: Any, state: State, tmp_path: Path) -> None:
    argument = tmp_path / "fired" if call is open else f"__import__('os').mkdir({str(tmp_path / 'fired')!r})"
    torch.save({"state_dict": state, "args": Fires(argument, call)}, tmp_path / "w.pt")
    assert same(open_weights(tmp_path / "w.pt", **UNET), state)
    assert not (tmp_path / "fired").exists()


def test_modules_that_pytorch_blocks_refuse_the_file(state: State, tmp_path: Path) -> None:
    torch.save({"state_dict": state, "args": Fires(tmp_path / "fired", os.mkdir)}, tmp_path / "w.pt")
    assert "nothing else is unpickled" in refused(tmp_path / "w.pt")
    assert not (tmp_path / "fired").exists()


def run_of(folder: Path) -> Path:
    """A run whose checkpoints hold a U-Net of width 2, on slices of 64 pixels, no window recorded."""
    data = make_tiny_data(folder / "data", slices=1)
    contract = InputContract(window_hu=None, crop=None, size=64)
    FakeTraining()(TrainConfig(model="unet", width=2, data=data, epochs=4, contract=contract), folder / "run")
    return folder / "run"


def test_checkpoints_of_ours_know_what_they_are(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    for name, rest in (("best", ""), ("last", "; left out optimiser")):
        original = open_weights(run / f"{name}.safetensors", window=(-160.0, 240.0))
        assert same(original, from_run(run).module.network.state_dict())
        assert (original.width, original.contract.size) == (2, 64)
        assert original.contract.window_hu == (-160.0, 240.0)
        assert original.training["window"] == "declared at export"
        assert original.training["adapted"] == [f"a checkpoint of lits-deploy{rest}"]
        assert original.training["checkpoint_sha256"] == from_run(run, choice=name).training["checkpoint_sha256"]
    for declared, says in (
        (Declared(model="resnet18"), "was trained with model unet, not resnet18. Fix: leave --model out"),
        (Declared(width=4), "was trained with width 2, not 4. Fix: leave --width out"),
        (Declared(size=256), "was trained with size 64, not 256. Fix: leave --size out"),
        (Declared(channels=3), "was trained with channels 1, not 3. Fix: leave --channels out"),
    ):
        with pytest.raises(DataError) as error:
            open_weights(run / "best.safetensors", **declared)
        assert says in str(error.value)


def test_a_checkpoint_by_the_command_points_to_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(tmp_path)
    monkeypatch.setattr("export.run.export", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    result = CliRunner().invoke(app, ["export", "--weights", str(run / "best.safetensors")])
    assert "best.safetensors: a checkpoint of lits-deploy\n" in result.output
    assert f"note: `lits-deploy export {run}` also records the data and figures" in result.output


def refused(path: Path, declared: Declared = UNET) -> str:
    with pytest.raises(UserError) as error:
        open_weights(path, **declared)
    assert error.value.fix
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (lambda s: build("unet", width=2), "a whole pickled object (train.models.unet.UNet)"),
        (lambda s: {"state": 1}, "is not a plain state dict, and holds none. Fix: where the network was"),
        (lambda s: [s], "is not a plain state dict, and holds none"),
        (lambda s: {"old": s, "new": s}, "holds several state dicts: old, new. Fix: save one of them alone"),
        (lambda s: {**s, **prefixed("module.")(s)}, "twice, with and without a prefix"),
        (lambda s: {**s, "head.bias": s["head.bias"].to_sparse()}, "holds head.bias, which is torch.sparse_coo"),
        (lambda s: {**s, "head.bias": s["head.bias"].to("meta")}, "holds head.bias, which is without values"),
        (lambda s: {**s, "head.bias": s["head.bias"].to(torch.complex64)}, "holds head.bias, which is torch.complex64"),
        (
            lambda s: {**s, "head.bias": torch.quantize_per_tensor(s["head.bias"], 0.1, 0, torch.qint8)},
            "holds head.bias, which is quantised",
        ),
        (lambda s: {**s, "head.bias": s["head.bias"].to(torch.int8)}, "has head.bias as int8"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_what_holds_no_usable_weights_is_one_line(
    found: Callable[[State], Any], says: str, state: State, tmp_path: Path
) -> None:
    torch.save(found(state), tmp_path / "w.pt")
    assert says in refused(tmp_path / "w.pt")


def test_files_that_are_none_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"no tensors")
    assert "is not a safetensors file" in refused(tmp_path / "w.safetensors")
    assert f"is a folder. Fix: lits-deploy export {tmp_path}" in refused(tmp_path)
    assert "There is no file" in refused(tmp_path / "w.pt")


@pytest.mark.parametrize(("number", "what"), [(float("nan"), "NaN"), (float("-inf"), "infinite numbers")])
def test_weights_that_are_not_finite_are_refused_before_anything_is_built(
    number: float, what: str, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {**state, "bottom.0.weight": torch.full_like(state["bottom.0.weight"], number)}
    torch.save(broken, tmp_path / "w.pt")
    monkeypatch.setattr("export.source.build", lambda *_, **__: pytest.fail("a network was built"))
    assert f"holds {what} in bottom.0.weight (1 of {len(state)} tensors" in refused(tmp_path / "w.pt")


def test_a_run_whose_weights_are_not_finite_is_refused(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    model, record = build("unet", width=2), checkpoint.read_record(run / "best.safetensors")
    nn.init.constant_(model.get_submodule("head").bias, float("nan"))  # type: ignore[arg-type]
    checkpoint.save(run / "best.safetensors", model, record)
    with pytest.raises(DataError, match=r"best\.safetensors holds NaN in head\.bias \(1 of"):
        from_run(run)
    assert from_run(run, choice="last")
    assert "holds NaN in head.bias" in refused(run / "best.safetensors", Declared())


def head_of(state: State, name: str, classes: int) -> State:
    ends = {f"{name}.{end}": state[f"{name}.{end}"][:1] for end in ("weight", "bias")}
    return {**state, **{key: value.expand(classes, *value.shape[1:]).clone() for key, value in ends.items()}}


NAMED: dict[str, tuple[Declared, Callable[[], State], tuple[str, ...]]] = {
    "another model": (
        Declared(model="resnet18"),
        lambda: build("resnet34").state_dict(),
        (
            "does not fit resnet18: it lacks stem.0.bias, stages.0.0.body.0.bias, stages.0.0.body.3.bias … and has the "
            "unknown stages.0.2.body.0.weight",
            "It would fit --model resnet34. Fix: --model resnet34",
        ),
    ),
    "channels": (
        Declared(model="resnet34-plain"),
        lambda: build("resnet34-plain", channels=3).state_dict(),
        (
            "has stem.0.weight as [64, 3, 7, 7], not [64, 1, 7, 7]. It",
            "Fix: --model resnet34-plain --channels 3",
            "three slices, not the colours",
        ),
    ),
    "width": (
        Declared(model="unet"),
        lambda: build("unet", width=4).state_dict(),
        ("does not fit unet: it has down.0.0.weight as [4, 1, 3, 3], not [64, 1, 3, 3]", "Fix: --model unet --width 4"),
    ),
    "classes": (
        Declared(model="resnet34"),
        lambda: head_of(build("resnet34").state_dict(), "head", 1000),
        ("It would fit --model resnet34, but its head answers 1000 classes, not 3.",),
    ),
    "untied": (
        Declared(model="resnet34-tied"),
        lambda: build("resnet34").state_dict(),
        ("has other numbers in stages.0.1.body.0.weight", "Fix: --model resnet34"),
    ),
    "nothing": (
        Declared(model="unet", width=2),
        lambda: {"a.weight": torch.zeros(1), "b.weight": torch.zeros(1)},
        ("has the unknown a.weight, b.weight", "No network of ours has such tensors"),
    ),
    "one tensor lost": (
        Declared(model="unet", width=2),
        lambda: {n: v for n, v in build("unet", width=2).state_dict().items() if n != "head.bias"},
        ("lacks head.bias", "No network fits; the nearest is --model unet --width 2: "),
    ),
}


@pytest.mark.parametrize("kind", NAMED)
def test_a_mismatch_names_the_first_names_and_the_model_they_would_fit(kind: str, tmp_path: Path) -> None:
    declared, make, says = NAMED[kind]
    torch.save(make(), tmp_path / "w.pt")
    line = refused(tmp_path / "w.pt", declared)
    for part in says:
        assert part in line


def test_torchvision_networks_are_called_by_name(tmp_path: Path) -> None:
    from torchvision.models import resnet18

    torch.save(resnet18(num_classes=2).state_dict(), tmp_path / "w.pt")
    line = refused(tmp_path / "w.pt", Declared(model="resnet18"))
    assert "It is torchvision's resnet18 with 2 classes, which is none of the thesis's networks." in line


def test_tied_weights_come_with_all_names_or_with_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build("resnet34-tied")
    torch.save(model.state_dict(), tmp_path / "all.pt")
    torch.save(checkpoint._unshared(model), tmp_path / "one.pt")
    for name in ("all.pt", "one.pt"):
        assert same(open_weights(tmp_path / name, model="resnet34-tied"), model.state_dict())


def test_a_size_that_a_network_cannot_take(tmp_path: Path, state: State) -> None:
    torch.save(state, tmp_path / "w.pt")
    assert "cannot be halved five times" in refused(tmp_path / "w.pt", Declared(model="unet", width=2, size=100))
    original = open_weights(tmp_path / "w.pt", **UNET)
    assert original.contract.crop is None
    with pytest.raises(UserError, match="--model, --width, --channels and --size go with --weights"):
        CliRunner().invoke(app, ["export", "--size", "128"], catch_exceptions=False)
