"""Bundles of a folded run: which networks they hold, what they are held against, and two figures that stand apart."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from benchmarks.evaluation.run import evaluate
from benchmarks.evaluation.subject import open_subject
from export import graph, parity
from export.agreement import agree
from export.cam import ActivationMap, check
from export.folded import median_fold
from export.held_out import HeldOut
from export.mean_of_folds import MeanOfFolds
from export.precision import int8_cpu
from export.precision.calibration_set import from_training_patients
from export.precision.fp16 import to_fp16
from export.precision.int8_tensorrt import to_int8
from export.precision.layers import ends, heads, weighted
from export.precision.ranges import activations
from export.progress import ExportProgress
from export.run import export
from export.source import Deployed
from export.source_of_folds import from_folds, networks_of
from folded_run import make_folded_run
from lits_deploy.bundle import Bundle
from lits_deploy.cli.app import app
from lits_deploy.contract import InputContract
from lits_deploy.errors import DataError, UserError
from lits_deploy.measured import figures_of
from lits_deploy.model_file import ModelFile
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.procedure import agreement_of, cost_of, procedure_of
from lits_deploy.runtime.device import Device
from lits_deploy.runtime.onnxruntime_ import OnnxRuntime
from lits_deploy.verify import verify
from tiny_data import make_tiny_data
from tiny_network import CONTRACT, TinyNetwork, train_tiny_network
from train import checkpoint
from train.config import TrainConfig
from train.folds.folder import FINAL, fold_folder
from train.folds.run import train_folds
from train.models.registry import build
from train.out_of_fold import NAME, of_run

runner = CliRunner()
KINDS = ("best", "average", "all")


@pytest.fixture(scope="module", autouse=True)
def few_phantoms() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "MINIMUM", 8)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folds of two patients, and a final network."""
    folder = tmp_path_factory.mktemp("folds")
    data = make_tiny_data(folder / "data", slices=6, patients=(3, 1, 1), window=[-40, 160])
    contract = InputContract(window_hu=(-40.0, 160.0), crop=None, size=64)
    config = TrainConfig(model="unet", data=data, epochs=3, batch_size=4, width=2, lr=1e-2, contract=contract)
    train_folds(config, folder / "run", 2, final=True)
    return folder / "run"


@pytest.fixture(scope="module")
def bundles(run: Path) -> dict[str, Bundle]:
    made = {}
    for kind in KINDS:
        result = runner.invoke(app, ["export", str(run), "--from", kind], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        assert "the procedure, out of fold, data: 24 slices of 4 patients" in result.output
        made[kind] = Bundle.open(run.with_name(f"run-{kind}-bundle"))
    return made


def labels_of(bundle: Bundle, slices: Any) -> Any:
    contract = bundle.manifest.contract
    with OnnxRuntime(
        ModelFile.read(bundle.folder / "model.onnx"),
        device=Device("cpu"),
        precision="fp32",
        shape=contract.shape,
        wanted=("probabilities",),
        max_batch=len(slices),
    ) as runtime:
        return runtime.infer(slices).probabilities


def test_every_kind_proves_itself(bundles: dict[str, Bundle]) -> None:
    for bundle in bundles.values():
        assert bundle.problems() == []
        problems, checks = verify(bundle.folder)
        assert not problems
        assert checks
        assert all(check.passed for check in checks)
        (artifact,) = bundle.manifest.artifacts
        assert (artifact.parity["passed"], artifact.parity["flipped"]) == (True, 0)


def test_the_average_is_the_mean_of_the_folds(bundles: dict[str, Bundle], run: Path) -> None:
    slices = np.random.default_rng(0).integers(0, 256, (3, 1, 64, 64)).astype(np.uint8)
    original = from_folds(run, "average")
    assert original.folded is not None
    with torch.inference_mode():
        each = [one.module(torch.from_numpy(slices))[0].numpy() for one in networks_of(original.folded)]
    got = labels_of(bundles["average"], slices)
    assert np.abs(got - np.mean(each, axis=0)).max() < 1e-5
    assert np.abs(each[0] - each[1]).max() > 1e-3, "the folds differ"
    assert bundles["average"].manifest.model["networks"] == 2
    found = cost_of(bundles["average"].manifest.metrics)
    assert found is not None
    assert found["ratio"] == pytest.approx(found["ms_per_slice"] / found["one_network_ms"])
    assert not list(bundles["average"].folder.glob("one*"))


def test_the_best_is_measured_on_its_own_patients_and_no_other_has_any(bundles: dict[str, Bundle], run: Path) -> None:
    number, _ = median_fold(of_run(run))
    of_file = figures_of(bundles["best"].manifest.metrics, "fp32", "validate")
    assert of_file is not None
    assert (of_file["patients"], of_file["left_out"]) == (2, 0)
    assert of_file["data"] == f"data, fold {number} of 2 (held out)"
    for kind in ("average", "all"):
        assert figures_of(bundles[kind].manifest.metrics, "fp32", "validate") is None
    folds = {kind: bundle.manifest.training["folds"] for kind, bundle in bundles.items()}
    assert [(folds[kind]["taken"], folds[kind]["fold"]) for kind in KINDS] == [
        ("best", number),
        ("average", None),
        ("all", None),
    ]
    assert folds["best"]["held_out"] == median_fold(of_run(run))[1]
    assert "checkpoint_sha256" not in bundles["average"].manifest.training


def test_the_two_figures_stand_apart(bundles: dict[str, Bundle], run: Path) -> None:
    answers = of_run(run)
    for kind, bundle in bundles.items():
        found = procedure_of(bundle.manifest.metrics)
        assert found is not None
        assert (found["folds"], found["patients"], found["slices"]) == (2, 4, 24)
        assert answers.pixels is not None
        matrix = answers.pixels.sum(axis=0)
        dice = 2 * matrix[1, 1] / (matrix[1].sum() + matrix[:, 1].sum())
        value, (low, high), (worst, most) = found["shown"]["Dice liver"]
        assert value == pytest.approx(dice)
        assert low <= value <= high
        assert worst <= value <= most
        card = (bundle.folder / "README.md").read_text()
        this, procedure = card.index("### This file, on patients that"), card.index("### The procedure, out of fold")
        assert this < procedure
        assert "Of no file: this way of training, out of fold, data: 24 slices of 4 patients" in card
        shown = " ".join(runner.invoke(app, ["bundle", "inspect", str(bundle.folder)]).output.split())
        assert "the procedure, out of fold, data: 24 slices of 4 patients" in shown
        assert "this file, on data/test, 6 slices of 1 patient" in shown
        none = "On patients of train and validate: none. All of them taught it."
        assert (none in card[this:procedure]) == (kind != "best")
        assert ("none, all of them taught it" in shown) == (kind != "best")
        assert ("What the average costs:" in card) == ("this file takes" in shown) == (kind == "average")
        assert ("it agrees with the folds" in card) == ("this file gives the class" in shown) == (kind == "all")
    best = (bundles["best"].folder / "README.md").read_text()
    assert "These patients chose neither its weights nor its epoch." in best
    assert "neither the luckiest nor the unluckiest" in best


def test_whoever_was_trained_on_is_known(bundles: dict[str, Bundle], run: Path) -> None:
    for kind, marks in (("best", 0), ("average", 1), ("all", 1)):
        subject = open_subject(bundles[kind].folder, ClassifyOptions(runtime="onnxruntime", device="cpu"))
        test = evaluate(subject, run.with_name("data"), draws=10).document["marks"]
        assert test == []
        validate = evaluate(subject, run.with_name("data"), split="validate", draws=10).document["marks"]
        trained = [mark for mark in validate if "was trained on 1 of the 1 patients" in mark]
        assert len(trained) >= marks


def test_an_average_has_seen_what_any_of_its_networks_has(run: Path) -> None:
    original = from_folds(run, "average")
    assert original.folded is not None
    assert original.seen is not None
    for one in networks_of(original.folded):
        assert one.seen is not None
        taught = set(one.seen.splits["train"].tolist())
        assert taught < set(original.seen.splits["train"].tolist())


def test_gates_and_int8_ranges_keep_to_the_patients_of_the_fold(run: Path) -> None:
    best, average = (HeldOut(from_folds(run, kind)) for kind in ("best", "average"))
    own = {sample.patient for sample in best.gated}
    folded = best.original.folded
    assert folded is not None
    assert folded.layout is not None
    assert own == set(folded.layout.patients("validate"))
    assert best.note() == "checked on 12 slices only"
    data = best.original.data
    assert data is not None
    chosen = from_training_patients(best, data, count=6).record
    assert not own & set(chosen["patients"])
    assert chosen["data"] == "data, training patients"
    assert "trained on, for there are no others" in (average.note() or "")
    assert not {one.patient for one in average.gate_slices()} & set(
        from_training_patients(average, data, count=6).record["patients"]
    )


def test_a_network_that_disagrees_with_the_folds_is_not_let_through(run: Path) -> None:
    original = from_folds(run, "all")
    assert original.folded is not None
    folds = networks_of(original.folded)
    found = agree(HeldOut(original), folds, ExportProgress())
    assert found.least <= found.same <= 1
    assert found.origin == "data/test and data, training patients"
    broken = build("unet", width=2).eval()
    with torch.no_grad():
        for parameter in broken.parameters():
            parameter.mul_(-3)
    module = Deployed(broken, original.contract, "segment").eval()
    with pytest.raises(DataError, match="gives another class than the mean of the folds") as caught:
        agree(HeldOut(dataclasses.replace(original, module=module)), folds, ExportProgress())
    assert "--from average" in caught.value.fix


def test_the_agreement_is_on_record(bundles: dict[str, Bundle]) -> None:
    found = agreement_of(bundles["all"].manifest.metrics)
    assert found is not None
    assert (found["slices"], len(found["folds"])) == (18, 2)
    assert agreement_of(bundles["best"].manifest.metrics) is None


def test_the_median_fold_is_taken_not_the_luckiest(tmp_path: Path) -> None:
    answers = make_folded_run(tmp_path / "run")
    number, figures = median_fold(answers)
    assert figures[number - 1] == sorted(figures)[1]
    assert len(set(figures)) == 3


def test_what_is_missing_or_does_not_go_together(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    for arguments, says in (
        (["--checkpoint", "best"], "were chosen on the patients"),
        (["--weights", "x.pt"], "are for runs, not for --weights"),
    ):
        with pytest.raises(UserError, match=says):
            runner.invoke(app, ["export", str(copy), "--from", "best", *arguments], catch_exceptions=False)
    with pytest.raises(UserError, match="not a folded run"):
        runner.invoke(app, ["export", str(copy / "fold-1"), "--from", "best"], catch_exceptions=False)
    shutil.rmtree(copy / FINAL)
    with pytest.raises(DataError, match="no network that was trained on all patients") as caught:
        runner.invoke(app, ["export", str(copy), "--from", "all"], catch_exceptions=False)
    assert "train --folds 2` command with --final --resume" in caught.value.fix
    shutil.copy(fold_folder(copy, 1) / "last.safetensors", fold_folder(copy, 2) / "last.safetensors")
    with pytest.raises(DataError, match="answers out of fold of other checkpoints"):
        from_folds(copy, "best")
    (copy / NAME).unlink()
    with pytest.raises(DataError, match="no answers out of fold yet"):
        from_folds(copy, "average")


def test_a_final_network_of_other_epochs_is_not_the_folds(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    last = copy / FINAL / "last.safetensors"
    model = build("unet", width=2)
    record = checkpoint.load(last, model)
    checkpoint.save(last, model, {**record, "epoch": 9})
    with pytest.raises(DataError, match="was trained for 9 epochs, and the folds for 3"):
        from_folds(copy, "all")


def test_without_the_training_data_phantoms_stand_in(run: Path, tmp_path: Path) -> None:
    original = dataclasses.replace(from_folds(run, "best", tmp_path / "nowhere"))
    assert original.folded is not None
    assert original.folded.layout is None
    assert HeldOut(original).origin == "phantoms"
    moved = shutil.copytree(run.with_name("data"), tmp_path / "moved")
    again = from_folds(run, "best", moved).folded
    assert again is not None
    assert again.layout is not None
    next(iter(sorted(moved.glob("train/images/*")))).unlink()
    changed = from_folds(run, "best", moved).folded
    assert changed is not None
    assert changed.layout is None


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Two small classifiers in one graph, and the file."""
    folder = tmp_path_factory.mktemp("pair")
    data = make_tiny_data(folder / "data", slices=6, window=[-40, 160])
    original = train_tiny_network(data, steps=40)
    torch.manual_seed(5)
    mean = MeanOfFolds([original.module.network, TinyNetwork().eval()])
    original = dataclasses.replace(original, module=Deployed(mean, CONTRACT, "classify").eval())
    graph.write_onnx(original, folder / "mean.onnx")
    return folder / "mean.onnx", original


def answers(model: onnx.ModelProto, slices: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"slices": slices})[0]


def test_other_precisions_leave_each_last_layer_and_the_mean_alone(pair: tuple[Path, Any]) -> None:
    path, original = pair
    model = onnx.load(path)
    last = heads(model)
    assert [model.graph.node[index].op_type for index in last] == ["Gemm", "Gemm"]
    assert len(weighted(model)) == 8
    slices = np.random.default_rng(1).integers(0, 256, (6, 1, 256, 256)).astype(np.uint8)
    expected = answers(model, slices)
    with torch.inference_mode():
        assert np.abs(expected - original.module(torch.from_numpy(slices))[1].numpy()).max() < 1e-5
    half = to_fp16(model)
    after = {model.graph.node[index].op_type for index in ends(model) if index > last[0]}
    assert after & {"ReduceLogSumExp", "LogSoftmax", "Softmax", "Log", "Exp"}
    assert np.abs(answers(half, slices) - expected).max() < 5e-3
    seen = activations(model, slices)
    for eight in (int8_cpu.to_int8(model, seen), to_int8(model, seen)):
        quantised = {name for node in eight.graph.node if node.op_type == "QuantizeLinear" for name in node.input[:1]}
        outputs = {name for index in last for name in model.graph.node[index].output}
        assert quantised
        assert not quantised & outputs
        assert np.abs(answers(eight, slices) - expected).max() < 0.1


@pytest.mark.slow
def test_an_average_of_resnets_has_a_map(tmp_path: Path) -> None:
    contract = InputContract(window_hu=None, crop=56, size=64)
    networks = []
    for seed in range(2):
        torch.manual_seed(seed)
        networks.append(build("resnet18").eval())
    mean = MeanOfFolds(networks)
    x = torch.rand(2, 1, 56, 56)
    with torch.inference_mode():
        logits, cam = ActivationMap(mean)(x)
        each = [ActivationMap(network)(x) for network in networks]
        assert torch.allclose(logits, mean(x), atol=1e-5)
        assert torch.allclose(logits.softmax(1), torch.stack([one.softmax(1) for one, _ in each]).mean(0), atol=1e-6)
        assert torch.allclose(cam, torch.stack([one for _, one in each]).mean(0))
    torch.save(networks[0].state_dict(), tmp_path / "one.pt")
    from export.source import of_weights
    from export.weights import read_weights

    original = of_weights(read_weights(tmp_path / "one.pt"), "resnet18", width=None, contract=contract)
    original = dataclasses.replace(original, module=Deployed(mean, contract, "classify", cam=True).eval())
    graph.write_onnx(original, tmp_path / "mean.onnx")
    slices = np.random.default_rng(1).integers(0, 256, (4, 1, 64, 64)).astype(np.uint8)
    with OnnxRuntime(
        ModelFile.read(tmp_path / "mean.onnx"),
        device=Device("cpu"),
        precision="fp32",
        shape=contract.shape,
        wanted=("cam",),
        max_batch=4,
    ) as runtime:
        check(original.module, original.module.outputs, runtime, slices)
    assert not any(isinstance(layer, nn.BatchNorm2d) and layer.training for layer in mean.modules())


@pytest.mark.slow
def test_a_folded_classifier_with_all_precisions(tmp_path: Path) -> None:
    data = make_tiny_data(tmp_path / "data", slices=9, patients=(3, 1, 1), window=[-40, 160])
    contract = InputContract(window_hu=(-40.0, 160.0), crop=56, size=64)
    train_folds(
        TrainConfig(model="resnet18", data=data, epochs=1, batch_size=4, contract=contract), tmp_path / "run", 2
    )
    arguments = ["export", str(tmp_path / "run"), "--from", "average", "--fp16", "--int8", "--allow-failing"]
    result = runner.invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    bundle = Bundle.open(tmp_path / "run-average-bundle")
    assert {artifact.name for artifact in bundle.manifest.artifacts} == {"fp32", "fp16", "int8-cpu", "int8-trt"}
    assert all(check.passed for check in verify(bundle.folder)[1])
    assert "trained on, for there are no others" in bundle.manifest.artifacts[1].gate["note"]
    assert json.loads((bundle.folder / "manifest.json").read_text())["model"]["networks"] == 2
    assert export(from_folds(tmp_path / "run", "best"), tmp_path / "best").manifest.training["folds"]["taken"] == "best"
