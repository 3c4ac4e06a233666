"""--fp16 and --int8 on a tiny network: what the files hold, that they are gated, and that bad ones are caught."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from typer.testing import CliRunner

from export import gate, graph, held_out, parity
from export.cli.artifacts import show_artifacts
from export.held_out import HeldOut
from export.precision import add, make
from export.precision.add import WantedPrecisions, add_precisions, calibration_slices
from export.precision.calibration_set import CalibrationSet
from export.precision.fp16 import overflow
from export.precision.make import ArtifactRecipe, Simulated
from export.precision.ranges import METHODS, Activation, Method, activations
from export.progress import ExportProgress
from export.run import export
from export.source import Original, of_weights
from export.weights import read_weights
from lits_deploy.backends import choose, open_runtime
from lits_deploy.bundle import Bundle, Manifest
from lits_deploy.cli.app import app
from lits_deploy.errors import BundleError, DataError, UserError
from lits_deploy.files import sha256_file
from lits_deploy.goldens import read_golden
from lits_deploy.measured import figures_of
from lits_deploy.model_file import ModelFile
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.run import run_folder
from lits_deploy.runtime import Device
from lits_deploy.verify import verify
from tiny_data import make_tiny_data
from tiny_network import CONTRACT, train_tiny_network
from train.data import load, masks
from train.data.layout import read_layout
from train.models.registry import NETWORKS, build, network

Patch = pytest.MonkeyPatch


@pytest.fixture(scope="module")
def patched() -> Iterator[Patch]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "MINIMUM", 8)  # phantoms take a second a patient
        yield patch


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    data = tmp_path_factory.mktemp("precision") / "data"
    make_tiny_data(data, slices=12, patients=(2, 2, 1), window=[-40, 160])
    return train_tiny_network(data)


@pytest.fixture(scope="module")
def held(original: Original) -> HeldOut:
    return HeldOut(original)


@pytest.fixture(scope="module")
def reads() -> Counter[Path | int]:
    """How often the export of `bundle` decoded each file and made each phantom."""
    return Counter()


@pytest.fixture(scope="module")
def bundle(
    original: Original, patched: Patch, reads: Counter[Path | int], tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    def counted(read: Callable[..., Any], which: int) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            reads[given[which]] += 1
            return read(*given)

        return call

    folder = tmp_path_factory.mktemp("bundle")
    wanted = WantedPrecisions(fp16=True, int8=True, report=folder / "gates")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "load_slice", counted(load.load_slice, 0))
        patch.setattr(masks, "read_labels", counted(masks.read_labels, 0))
        patch.setattr(held_out, "make_phantom", counted(held_out.make_phantom, 1))
        return export(original, folder / "bundle", slices=8, wanted=wanted)


def test_each_held_out_file_is_decoded_once_and_each_phantom_made_once(
    bundle: Bundle, original: Original, reads: Counter[Path | int]
) -> None:
    assert original.data is not None
    samples = [s for split in ("validate", "test") for s in read_layout(original.data).splits[split]]
    held_out = {path for one in samples for path in (one.image, one.mask) if path} | {0}
    assert held_out <= set(reads)
    assert {reads[path] for path in held_out} == {1}, "whatever the number of artifacts, gates and figures"
    assert max(reads.values()) == 2, "training slices that calibrate, and are of the reference"


@pytest.fixture
def again(held: HeldOut, bundle: Bundle, tmp_path: Path) -> Callable[..., tuple[Manifest, Path]]:
    """Make the precisions once more in a folder of its own, from the FP32 file that the bundle has or another one."""

    def run(
        model: onnx.ModelProto | None = None, calibration: CalibrationSet | None = None, **wanted: Any
    ) -> tuple[Manifest, Path]:
        onnx.save(model or onnx.load(bundle.folder / "model.onnx"), tmp_path / "model.onnx")
        first = dataclasses.replace(bundle.artifact(), sha256=sha256_file(tmp_path / "model.onnx"))
        base = dataclasses.replace(bundle.manifest, artifacts=(first,))
        chosen = WantedPrecisions(**wanted)
        used = calibration or calibration_slices(held, chosen)
        return add_precisions(held, tmp_path, base, used, chosen, ExportProgress(), base_answers={})[0], tmp_path

    return run


def test_bundle_holds_each_precision_with_its_verdict_and_nothing_of_a_patient(bundle: Bundle) -> None:
    placed = {artifact.name: artifact.runtimes for artifact in bundle.manifest.artifacts}
    assert placed == {
        "fp32": (),
        "fp16": (),
        "int8-cpu": ("onnxruntime", "openvino"),
        "int8-trt": ("tensorrt",),
    }
    assert {path.name for path in bundle.folder.iterdir()} == {
        "manifest.json",
        "manifest.sha256",
        "model.onnx",
        "model.fp16.onnx",
        "model.int8-cpu.onnx",
        "model.int8-trt.onnx",
        "golden.npz",
        "README.md",
    }
    for artifact in bundle.manifest.artifacts[1:]:
        record = artifact.gate
        assert record["passed"], record["failures"]
        assert record["origin"] == "data/validate"
        assert "24 slices only" in record["note"]
        assert record["limits"] == gate.DEFAULTS[artifact.precision].to_json()
        assert all(figures["slices"] == 24 for figures in record["runtimes"].values())
        assert artifact.parity["slices"] == 24
    assert set(bundle.artifact("int8-trt").gate["runtimes"]) == {"simulation"}
    for artifact in bundle.manifest.artifacts:
        for split, slices in (("validate", 24), ("test", 12)):
            figures = figures_of(bundle.manifest.metrics, artifact.name, split)
            assert figures is not None
            assert figures["slices"] == slices
            assert figures["runtime"] == artifact.parity["runtime"], "the one it was checked on"
    line = figures_of(bundle.manifest.metrics, "int8-cpu", "test")
    assert line is not None
    assert f"| int8-cpu | {line['accuracy']:.3f} | " in (bundle.folder / "README.md").read_text()
    assert "onnxruntime" in bundle.artifact("int8-cpu").gate["runtimes"]
    assert bundle.artifact("fp16").gate["range"]["passed"]
    for name in ("int8-cpu", "int8-trt"):
        record = bundle.artifact(name).quantisation
        assert set(record["tried"]) == set(METHODS)
        assert record["tried"][record["ranges"]] == min(record["tried"].values())
    assert (bundle.folder.parent / "gates" / "gate-fp16-flipped.csv").read_text().startswith("slice,patient,runtime")
    card = (bundle.folder / "README.md").read_text()
    assert "| int8-trt | model.int8-trt.onnx | int8 | tensorrt |" in card
    assert "INT8 ranges come from 24 slices of 2 training patients (data/train" in card


def test_calibration_list_is_in_the_manifest(bundle: Bundle) -> None:
    record = bundle.manifest.calibration_set
    assert record["data"] == "data/train"
    assert record["patients"] == ["000", "001"]
    assert record["classes"] == [8, 8, 8]
    assert len(set(record["names"])) == record["slices"] == 24
    assert len(record["sha256"]) == 64


def test_verify_tries_each_artifact_where_it_belongs(bundle: Bundle) -> None:
    problems, checks = verify(bundle.folder)
    assert problems == []
    assert checks
    assert all(check.passed for check in checks), checks
    assert "int8-trt" not in {check.artifact for check in checks}, "ONNX Runtime answers it wrongly"
    said = CliRunner().invoke(app, ["verify", str(bundle.folder)], catch_exceptions=False)
    assert said.exit_code == 0
    assert "int8-trt: not tried, it is for tensorrt" in said.output


def test_fp16_is_half_between_its_ends(bundle: Bundle) -> None:
    model = onnx.load(bundle.folder / "model.fp16.onnx")
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*inferred.value_info, *inferred.output, *inferred.input)}
    types |= {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "Relu", "Add"):
            assert {types[name] for name in node.input} == {TensorProto.FLOAT16}, node.name
        if node.op_type in ("Softmax", "Mul"):
            assert types[node.input[0]] == TensorProto.FLOAT, node.name
    assert {value.name: value.type.tensor_type.elem_type for value in model.graph.output} == {
        "logits": TensorProto.FLOAT,
        "probabilities": TensorProto.FLOAT,
    }
    users = [node.op_type for node in model.graph.node if "slices" in node.input]
    assert users == ["Cast"]
    assert bundle.artifact("fp16").bytes < 0.8 * bundle.artifact("fp32").bytes


def test_int8_for_tensorrt_is_symmetric_per_channel_with_its_shortcuts_quantised(bundle: Bundle) -> None:
    model = onnx.load(bundle.folder / "model.int8-trt.onnx")
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    maker = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert constants[node.input[1]].dtype == np.float16
            assert constants[node.input[2]].dtype == np.int8
            assert not constants[node.input[2]].any()
        if node.op_type == "Conv":
            assert maker[node.input[0]].op_type == "DequantizeLinear", "its input is quantised"
            weight = maker[node.input[1]]
            assert constants[weight.input[1]].shape == constants[weight.input[0]].shape[:1], "a scale for each channel"
            assert constants[node.input[2]].dtype == np.float16, "the parser refuses INT32 biases"
        if node.op_type == "Add":
            assert [maker[name].op_type for name in node.input].count("DequantizeLinear") == 1, "the shortcut alone"
        if node.op_type == "Gemm":
            assert node.input[1] in constants, "the last layer stays FP16"


def test_int8_for_cpus_cannot_overflow_16_bits_without_vnni(bundle: Bundle) -> None:
    model = onnx.load(bundle.folder / "model.int8-cpu.onnx")
    weights = [numpy_helper.to_array(t) for t in model.graph.initializer if t.data_type == TensorProto.INT8 and t.dims]
    filters = [weight for weight in weights if weight.ndim == 4]
    assert len(filters) == 3
    assert max(int(np.abs(weight.astype(int)).max()) for weight in filters) * 255 * 2 <= 32_767


def test_simulation_agrees_with_integer_kernels(bundle: Bundle) -> None:
    slices, _ = read_golden(bundle)
    artifact = bundle.artifact("int8-cpu")
    options: dict[str, Any] = {"precision": "int8", "shape": (1, 256, 256), "wanted": ("probabilities",)}
    with (
        Simulated(bundle.read(artifact), device=Device("cpu"), max_batch=16, **options) as simulated,
        open_runtime(bundle, runtime="onnxruntime", artifact=artifact, device="cpu") as real,
    ):
        expected, got = simulated.infer(slices).probabilities, real.infer(slices).probabilities
    assert expected is not None
    assert got is not None
    assert np.abs(expected - got).max() < 0.02


def test_a_file_is_not_opened_on_a_runtime_it_is_not_for(bundle: Bundle) -> None:
    with pytest.raises(
        BundleError, match=r"int8-trt is placed for tensorrt.*not for onnxruntime on cpu.*--artifact fp32 or fp16"
    ):
        open_runtime(bundle, runtime="onnxruntime", device="cpu", artifact=bundle.artifact("int8-trt"))


def test_precision_names_the_file_for_the_runtime(bundle: Bundle) -> None:
    assert choose(bundle, "int8", runtime="onnxruntime", device="cpu")[0].name == "int8-cpu"
    assert choose(bundle, "fp16", device="cpu")[0].name == "fp16"
    only_ort = dataclasses.replace(bundle.artifact("int8-cpu"), runtimes=("onnxruntime",))
    less = Bundle(bundle.folder, dataclasses.replace(bundle.manifest, artifacts=(bundle.artifact(), only_ort)), "")
    assert choose(less, "int8", device="cpu") == (only_ort, "onnxruntime", "cpu"), "whatever auto stands for here"
    with pytest.raises(BundleError, match=r"has no precision `fp16`.*fp32, int8, or .*--fp16"):
        choose(less, "fp16", runtime="onnxruntime", device="cpu")


def test_calibrated_on_darkness_the_int8_files_stay_out(
    again: Callable[..., tuple[Manifest, Path]],
) -> None:
    noise = np.random.default_rng(0).integers(0, 12, (8, *CONTRACT.shape), dtype=np.uint8)
    record = {"data": "noise", "slices": 8, "patients": [], "names": []}
    added, folder = again(calibration=CalibrationSet(slices=noise, record=record), int8=True)
    assert [artifact.name for artifact in added.artifacts] == ["fp32"]
    assert set(added.left_out) == {"int8-cpu", "int8-trt"}
    assert any("accuracy" in line for line in added.left_out["int8-cpu"]["gate"]["failures"])
    assert list(folder.glob("model.int8*")) == []


def swapped(recipe: ArtifactRecipe) -> ArtifactRecipe:
    """The recipe with classes 0 and 2 exchanged in the last layer."""

    def make_swapped(
        model: onnx.ModelProto, seen: Mapping[str, Activation], method: Method = "max", /
    ) -> onnx.ModelProto:
        wrong = onnx.ModelProto()
        wrong.CopyFrom(model)
        for tensor in wrong.graph.initializer:
            if tensor.name.startswith("network.head."):
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[[2, 1, 0]], tensor.name))
        return recipe.make(wrong, seen, method)

    return dataclasses.replace(recipe, make=make_swapped)


def test_shuffled_classes_are_caught_and_marked_where_they_are_allowed(
    original: Original,
    bundle: Bundle,
    again: Callable[..., tuple[Manifest, Path]],
    patched: Patch,
    tmp_path: Path,
    monkeypatch: Patch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(add, "recipes", lambda **_: [swapped(make.FP16)])
    added, _ = again(fp16=True)
    failures = " ".join(added.left_out["fp16"]["gate"]["failures"])
    assert "flipped" in failures
    assert "lesions_lost 0." in failures, "some lesion slices that the original finds are lost"

    wanted = WantedPrecisions(fp16=True, allow_failing=True, report=tmp_path / "report")
    bad = export(original, tmp_path / "bad", slices=8, wanted=wanted)
    assert not bad.artifact("fp16").gate["passed"]
    assert "**fp16 failed** (in the bundle)" in (bad.folder / "README.md").read_text()
    rows = (tmp_path / "report" / "gate-fp16-flipped.csv").read_text().splitlines()
    assert len(rows) > 16, "classes 0 and 2 are two thirds of 24 slices"
    assert (tmp_path / "report" / "gate-fp16-flipped.png").stat().st_size > 1_000
    said = CliRunner().invoke(app, ["verify", str(bad.folder)], catch_exceptions=False).output
    assert "warning: fp16 FAILED its gate at export" in said
    show_artifacts(bad)
    assert "FAILED, allowed" in capsys.readouterr().out
    assert original.data is not None
    summary = run_folder(
        bad,
        [original.data / "test" / "images"],
        tmp_path / "out",
        options=ClassifyOptions(precision="fp16", runtime="onnxruntime", device="cpu", workers=1),
    )
    assert summary.slices == 12
    assert any("fp16 FAILED its gate" in warning for warning in summary.warnings)


def test_fp16_overflow_is_found_although_a_cpu_hides_it(
    bundle: Bundle, again: Callable[..., tuple[Manifest, Path]]
) -> None:
    model = onnx.load(bundle.folder / "model.onnx")  # the same function, one layer's values 2¹⁶ times as large
    for tensor in model.graph.initializer:
        factor = {"network.end.0.weight": 2.0**14, "network.end.0.bias": 2.0**14, "network.head.weight": 2.0**-14}
        if tensor.name in factor:
            values = numpy_helper.to_array(tensor) * np.float32(factor[tensor.name])
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    added, _ = again(model, fp16=True, int8=True)
    assert {artifact.name for artifact in added.artifacts} == {"fp32", "int8-cpu"}, "integers scale along"
    for name in ("fp16", "int8-trt"):
        assert any("FP16 range" in line for line in added.left_out[name]["gate"]["failures"])


def test_int8_without_training_data_is_refused(original: Original) -> None:
    bare = dataclasses.replace(original, data=None)
    with pytest.raises(DataError, match="--calibration DATA"):
        calibration_slices(HeldOut(bare), WantedPrecisions(int8=True))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--int8", "--calibration", "DATA:test"], "come from training patients"),
        (["--int8", "--calibration", "nowhere"], "no data at nowhere"),
        (["--fp16", "--gate", "fp16.flips=0.1"], "is not a gate limit"),
        (["--int8", "--gate", "int8.accuracy=many"], "names no number"),
        (["--int8", "--gate", "int8.accuracy=99"], "is not a share"),
        (["--allow-failing"], "go with --fp16 or --int8"),
    ],
)
def test_mistakes_name_the_fix(arguments: list[str], says: str, tmp_path: Path, patched: Patch) -> None:
    torch.save(build("unet", width=2).state_dict(), tmp_path / "w.pt")
    bare = ["export", "--weights", str(tmp_path / "w.pt"), "--model", "unet", "--width", "2"]
    with pytest.raises(UserError, match=says) as caught:
        CliRunner().invoke(app, [*bare, *arguments], catch_exceptions=False)
    assert caught.value.fix


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_in_every_precision(name: str, tmp_path: Path) -> None:
    """Random weights: the files load, answer near FP32, and are of the size that the precision promises."""
    torch.manual_seed(0)
    contract = dataclasses.replace(CONTRACT, crop=network(name).crop)
    torch.save(build(name).state_dict(), tmp_path / "w.pt")
    original = of_weights(read_weights(tmp_path / "w.pt"), name, width=None, contract=contract)
    graph.write_onnx(original, tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    slices = np.random.default_rng(0).integers(0, 256, (2, 1, 256, 256)).astype(np.uint8)
    expected = parity.original_probabilities(original, slices)
    seen = activations(model, slices, histograms=False)
    assert overflow(model, seen)["passed"]
    for recipe, share in zip(make.recipes(with_fp16=True, with_int8=True), (0.51, 0.28, 0.28), strict=True):
        path = tmp_path / recipe.file
        onnx.save(recipe.make(model, seen), path)
        assert path.stat().st_size < share * (tmp_path / "model.onnx").stat().st_size + 20_000
        options: dict[str, Any] = {"precision": recipe.precision, "shape": (1, 256, 256), "max_batch": 2}
        with Simulated(ModelFile.read(path), device=Device("cpu"), wanted=("probabilities",), **options) as simulated:
            got = simulated.infer(slices).probabilities
        assert got is not None
        assert np.abs(got - expected).max() < (0.002 if recipe.precision == "fp16" else 0.05), recipe.name


def test_an_export_that_leaves_a_file_out_exits_1_and_says_why(
    bundle: Bundle, tmp_path: Path, monkeypatch: Patch
) -> None:
    failed = bundle.artifact("int8-cpu")
    record = {**failed.gate, "passed": False, "failures": ["onnxruntime: accuracy 0.9 (≥ 0.99)"]}
    kept = tuple(artifact for artifact in bundle.manifest.artifacts if artifact != failed)
    left_out = {"int8-cpu": {"bytes": failed.bytes, "gate": record}}
    manifest = dataclasses.replace(bundle.manifest, artifacts=kept, left_out=left_out)
    monkeypatch.setattr("export.run.export", lambda *_, **__: Bundle(bundle.folder, manifest, bundle.sha256))
    torch.save(build("unet", width=2).state_dict(), tmp_path / "w.pt")
    arguments = ["export", "--weights", str(tmp_path / "w.pt"), "--model", "unet", "--width", "2", "--fp16"]
    said = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert said.exit_code == 1
    assert "left out" in said.output
    assert "int8-cpu: onnxruntime: accuracy 0.9 (≥ 0.99)" in said.output
