"""Export: what the graph looks like, that the gate bites, that the bundle proves itself."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from benchmarks.evaluation.run import evaluate
from benchmarks.evaluation.subject import open_subject
from export import graph, parity
from export.progress import ExportProgress
from export.run import export
from export.source import Deployed, Original, from_run, of_weights
from export.weights import read_weights
from lits_deploy.bundle import Bundle
from lits_deploy.contract import InputContract
from lits_deploy.errors import BundleError, DataError, OutputError, ParityError
from lits_deploy.measured import figures_of
from lits_deploy.model_file import ModelFile
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.runtime.device import Device
from lits_deploy.runtime.onnxruntime_ import OnnxRuntime
from lits_deploy.verify import verify
from tiny_data import make_tiny_data
from train.config import TrainConfig
from train.data.layout import SPLITS
from train.data.seen import of_bundle, of_run
from train.models.registry import NETWORKS, build, network
from train.run import train

UNET = InputContract(window_hu=(-40.0, 160.0), crop=None)
CLASSIFIER = InputContract(window_hu=None)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    data = make_tiny_data(folder / "data", window=[-40, 160])
    train(TrainConfig(model="unet", data=data, epochs=1, batch_size=4, width=2, contract=UNET), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def bundle(run: Path) -> Bundle:
    return export(from_run(run), run.parent / "bundle")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> tuple[Original, Path]:
    """A ResNet18 with random weights and BatchNorm statistics, and its ONNX file."""
    folder = tmp_path_factory.mktemp("classifier")
    torch.manual_seed(0)
    model = build("resnet18")
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.2, 0.2)  # type: ignore[arg-type]
            nn.init.uniform_(layer.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    torch.save(model.state_dict(), folder / "weights.pt")
    original = of_weights(read_weights(folder / "weights.pt"), "resnet18", width=None, contract=CLASSIFIER)
    graph.write_onnx(original, folder / "model.onnx")
    return original, folder / "model.onnx"


def runtime(path: Path, max_batch: int = 16, shape: tuple[int, int, int] = (1, 256, 256)) -> OnnxRuntime:
    return OnnxRuntime(
        ModelFile.read(path),
        device=Device("cpu"),
        precision="fp32",
        shape=shape,
        wanted=("probabilities",),
        max_batch=max_batch,
    )


def test_graph_casts_first_has_dynamic_batch_and_no_path_of_this_machine(classifier: tuple[Original, Path]) -> None:
    _, path = classifier
    model = onnx.load(path)
    slices = model.graph.input[0]
    assert (slices.name, slices.type.tensor_type.elem_type) == ("slices", onnx.TensorProto.UINT8)
    assert slices.type.tensor_type.shape.dim[0].dim_param
    users = [node for node in model.graph.node if "slices" in node.input]
    assert [node.op_type for node in users] == ["Cast"], "TensorRT takes uint8 only where a Cast follows directly"
    assert [output.name for output in model.graph.output] == ["logits", "probabilities"]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}, "folded"
    properties = {p.key: p.value for p in model.metadata_props}
    assert InputContract.from_json(json.loads(properties["contract"])) == CLASSIFIER
    assert str(Path(__file__).parents[2]).encode() not in path.read_bytes()
    assert list(path.parent.glob("*.data")) == []


def test_classifier_agrees_with_pytorch_at_any_batch(classifier: tuple[Original, Path]) -> None:
    original, path = classifier
    named = (
        [str(i) for i in range(7)],
        np.random.default_rng(0).integers(0, 256, (7, 1, 256, 256)).astype(np.uint8),
    )
    for batch in (1, 3, 7):
        with runtime(path, batch) as opened:
            assert parity.gate(original, opened, named, 1e-4).passed


def test_the_gate_bites_and_says_where(classifier: tuple[Original, Path]) -> None:
    original, path = classifier
    other = build("resnet18").eval()
    other.load_state_dict(original.module.network.state_dict())
    with torch.no_grad():
        other.get_submodule("head").bias += torch.tensor([0.0, 0.01, 0.0])  # type: ignore[operator]
    changed = dataclasses.replace(original, module=Deployed(other, CLASSIFIER, "classify").eval())
    named = (["first", "second"], np.random.default_rng(1).integers(0, 256, (2, 1, 256, 256)).astype(np.uint8))
    with runtime(path) as opened, pytest.raises(ParityError, match=r"(?s)does not compute.*second: original \["):
        parity.gate(changed, opened, named, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_exports_and_agrees(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    contract = dataclasses.replace(CLASSIFIER, crop=network(name).crop)
    model = build(name)
    torch.save(model.state_dict(), tmp_path / "w.pt")
    original = of_weights(read_weights(tmp_path / "w.pt"), name, width=None, contract=contract)
    graph.write_onnx(original, tmp_path / "model.onnx")
    named = (["a", "b"], np.random.default_rng(0).integers(0, 256, (2, 1, 256, 256)).astype(np.uint8))
    with runtime(tmp_path / "model.onnx", 2) as opened:
        assert parity.gate(original, opened, named, 1e-4).passed


def test_bundle_records_what_was_done(bundle: Bundle, run: Path) -> None:
    manifest = bundle.manifest
    artifact = bundle.artifact()
    assert manifest.task == "segment"
    assert manifest.model == {"name": "unet", "parameters": 7_817, "source": "Section 4.7; channels ours", "width": 2}
    assert manifest.contract == UNET
    assert artifact.parity["slices"] >= 256
    assert artifact.parity["passed"]
    assert artifact.parity["origin"] == "data/validate and phantoms"
    assert manifest.metrics["in_training"]["test"]["slices"] == 4
    figures = evaluate(
        open_subject(bundle.folder, ClassifyOptions(runtime="onnxruntime")), run.parent / "data", draws=1
    ).document
    measured = figures_of(manifest.metrics, "fp32", "test")
    assert measured is not None
    assert measured["slices"] == 4
    for name in ("dice", "iou"):
        assert measured[name] == [region[name]["global"]["value"] for region in figures["figures"]["regions"][:3]]
    assert measured["confusion"] == figures["figures"]["confusion_pixels"]
    assert measured["pixel_error"] == figures["figures"]["pixel_error"]["value"]
    assert manifest.training["dataset"]["split_by"] == "patient"
    assert {path.name for path in bundle.folder.iterdir()} == {
        "manifest.json",
        "manifest.sha256",
        "model.onnx",
        "golden.npz",
        "README.md",
        "seen.bin",
    }
    card = (bundle.folder / "README.md").read_text()
    assert "Not a medical device" in card
    assert "train: 8 slices of 2 patients" in card
    assert "/" + run.parent.name not in (bundle.folder / "manifest.json").read_text(), "no path of this machine"


def test_the_bundle_knows_what_it_was_trained_on(bundle: Bundle, run: Path) -> None:
    (exported, own) = of_bundle(bundle), of_run(run)
    assert exported is not None
    assert own is not None
    assert {split: exported.keys(split) for split in SPLITS} == {split: own.keys(split) for split in SPLITS}
    assert len(exported.keys("train")) == 8


def test_export_says_which_patients_of_validate_and_test_it_was_trained_on(run: Path, tmp_path: Path) -> None:
    data = shutil.copytree(run.parent / "data", tmp_path / "anew")
    for kind in ("images", "masks"):
        for path in sorted((data / "train" / kind).glob("volume-000*")):
            path.rename(data / "validate" / kind / path.name.replace("-000", "-555"))
        for path in sorted((data / "test" / kind).glob("*")):
            path.unlink()
        for path in sorted((data / "train" / kind).glob("volume-001*")):
            shutil.copy(path, data / "test" / kind / path.name.replace("-001", "-666"))
    lines: list[str] = []
    bundle = export(
        dataclasses.replace(from_run(run), data=data), tmp_path / "bundle", observer=ExportProgress(say=lines.append)
    )
    first, second = (line for line in lines if line.startswith("WARNING"))
    assert "trained on 1 of the 2 validate patients (555): nothing is fitted or measured on them" in first
    assert "trained on 1 of the 1 test patients (666)" in second
    assert figures_of(bundle.manifest.metrics, "fp32", "test") is None, "nobody is left to measure it on"
    measured = figures_of(bundle.manifest.metrics, "fp32", "validate")
    assert measured is not None
    assert (measured["slices"], measured["patients"], measured["left_out"]) == (4, 1, 1)


def test_verify_passes_and_finds_one_flipped_byte_in_any_file(bundle: Bundle, tmp_path: Path) -> None:
    problems, checks = verify(bundle.folder)
    assert problems == []
    assert checks
    assert all(check.passed and check.verdict["slices"] == 4 for check in checks)
    names = sorted(path.name for path in bundle.folder.iterdir())
    rng = np.random.default_rng(0)
    for name in names:
        copy = tmp_path / name
        shutil.copytree(bundle.folder, copy)
        data = bytearray((copy / name).read_bytes())
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        (copy / name).write_bytes(data)
        try:
            found, _ = verify(copy)
        except BundleError as error:
            found = [error.message]
        assert found, f"a flipped bit in {name} was not found"


def test_verify_finds_missing_and_foreign_files(bundle: Bundle, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle.folder, copy)
    (copy / "extra.bin").write_bytes(b"x")
    (copy / "golden.npz").unlink()
    with pytest.raises(BundleError, match=r"extra.bin in .* is not in the manifest"):
        verify(copy)
    (copy / "extra.bin").unlink()
    (problem,) = verify(copy)[0]
    assert "golden.npz is missing" in problem


def test_verify_command_runs_without_torch(bundle: Bundle) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['onnx'] = None\n"
        f"sys.argv[1:] = ['verify', {str(bundle.folder)!r}]\n"
        "from lits_deploy.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("verified\n")


def test_an_existing_folder_is_not_overwritten_by_accident(bundle: Bundle, run: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="exists already"):
        export(from_run(run), bundle.folder)
    (tmp_path / "letters").write_text("precious")
    with pytest.raises(OutputError, match="not a bundle"):
        export(from_run(run), tmp_path, overwrite=True)
    (tmp_path / "manifest.json").write_text("{}")  # a web extension has one, too
    for there in (tmp_path, tmp_path / "letters"):
        with pytest.raises(OutputError, match="not a bundle"):
            export(from_run(run), there, overwrite=True)
    assert (tmp_path / "letters").exists()


def test_a_failed_export_leaves_nothing(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = np.full((4, 3, 256, 256), 0.9, np.float32)
    monkeypatch.setattr(parity, "original_probabilities", lambda original, slices: wrong[: len(slices)])
    with pytest.raises(ParityError):
        export(from_run(run), tmp_path / "out" / "bundle")
    assert not (tmp_path / "out").exists()


def test_weights_are_loaded_weights_only(tmp_path: Path) -> None:
    torch.save(build("unet", width=2), tmp_path / "module.pt")  # a pickled module, not a state dict
    with pytest.raises(DataError, match="not a plain state dict"):
        of_weights(read_weights(tmp_path / "module.pt"), "unet", width=2, contract=UNET)
    torch.save({"state": 1}, tmp_path / "other.pt")
    with pytest.raises(DataError, match="not a plain state dict"):
        of_weights(read_weights(tmp_path / "other.pt"), "unet", width=2, contract=UNET)
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(DataError, match="not a plain state dict"):
        of_weights(read_weights(tmp_path / "text.pt"), "unet", width=2, contract=UNET)


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a training run"):
        from_run(tmp_path)
