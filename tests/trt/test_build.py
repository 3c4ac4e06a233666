"""The real builder of TensorRT for RTX, on any machine: no GPU is needed to parse, optimise and compile."""

from __future__ import annotations

import _thread
import threading
import time
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from lits_deploy.errors import EngineError, MissingExtra, UserError
from lits_deploy.model_file import ModelFile
from lits_deploy.trt import build as build_module
from lits_deploy.trt.build import build, check_targets, supported_targets
from lits_deploy.trt.flavour import FLAVOURS, Library, Log, installed, load
from lits_deploy.trt.key import OptimisationProfile
from lits_deploy.trt.layers import Layer, heavy_by_precision, keeps_promise, standalone_quantise
from lits_deploy.trt.progress import Phases
from train.models.registry import NETWORKS
from trt_networks import PRECISIONS, write_networks

RTX = FLAVOURS[1]
NO_NETWORK = ModelFile("none.onnx", b"\x08\x09")

pytestmark = pytest.mark.skipif(not installed(RTX), reason="TensorRT for RTX is not installed (extra trt-rtx)")


@pytest.fixture(scope="module")
def library() -> Library:
    return load("rtx")


@pytest.fixture(scope="module")
def resnet18(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_networks(tmp_path_factory.mktemp("resnet18"), "resnet18")


@pytest.fixture(scope="module")
def unet(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_networks(tmp_path_factory.mktemp("unet"), "unet", width=4)


def nodes_with(layers: list[Layer], *texts: str) -> list[Layer]:
    """Layers that hold a node of each kind."""
    return [layer for layer in layers if all(any(word in node for node in layer.nodes) for word in texts)]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_resnet18_fuses_convolution_relu_and_addition(
    library: Library, resnet18: dict[str, Path], precision: str
) -> None:
    built = build(library, ModelFile.read(resnet18[precision]), OptimisationProfile(), targets=("sm86",))
    heavy = [layer for layer in built.layers if layer.heavy]
    assert heavy_by_precision(built.layers) == {precision: 21}  # 20 convolutions and the head
    assert len(nodes_with(heavy, "node_Conv", "node_relu")) == 20
    assert len(nodes_with(heavy, "node_Conv", "node_relu", "node_add")) == 7  # the eighth is in the mean's kernel
    assert standalone_quantise(built.layers) == []
    light = [layer for layer in built.layers if not layer.heavy]
    assert len(light) <= 5  # uint8 to floats, pooling, mean, softmax
    assert built.data[:4] == b"vtrt"
    assert len(built.data) > 20e6 * (2 if precision == "fp32" else 1)


def test_resnet18_int8_quantises_once_after_each_layer_and_never_between_convolution_and_relu(
    library: Library, resnet18: dict[str, Path]
) -> None:
    """RTX 1.7 folds nothing into INT8 convolutions, however Q/DQ stands: one kernel behind each is the best it does."""
    built = build(library, ModelFile.read(resnet18["int8"]), OptimisationProfile(), targets=("sm86",))
    assert heavy_by_precision(built.layers) == {"int8": 21}
    between = standalone_quantise(built.layers)
    assert len(between) <= 17
    for layer in between:  # each does the layer's own work too: none is there to quantise alone
        assert nodes_with([layer], "node_relu"), layer
    additions = nodes_with(built.layers, "node_add")
    assert len(additions) == 8
    assert all(nodes_with([layer], "node_relu") for layer in additions)
    assert len(built.data) < 16e6


def test_a_naive_placement_is_told_by_its_lonely_quantisers(
    library: Library, resnet18: dict[str, Path], tmp_path: Path
) -> None:
    """Q/DQ on the outputs of everything: between convolution and ReLU values are rounded for nothing."""
    import numpy as np
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Slices(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = [{"slices": np.full((1, 1, 256, 256), 90, np.uint8)}]

        def get_next(self) -> Any:
            return self.left.pop() if self.left else None

    quantize_static(
        str(resnet18["fp32"]),
        str(tmp_path / "naive.onnx"),
        Slices(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["Conv", "Gemm", "Add", "MaxPool"],
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
    )
    built = build(library, ModelFile.read(tmp_path / "naive.onnx"), OptimisationProfile(), targets=("sm86",))
    rounded_twice = [
        layer
        for layer in standalone_quantise(built.layers)
        if sum(node.endswith("_QuantizeLinear") for node in layer.nodes) > 1
    ]
    assert len(rounded_twice) > 10


def test_fp16_builds_for_turing_and_fp32_names_the_layer_that_does_not(
    library: Library, resnet18: dict[str, Path]
) -> None:
    assert heavy_by_precision(
        build(library, ModelFile.read(resnet18["fp16"]), OptimisationProfile(), targets=("sm75",)).layers
    ) == {"fp16": 21}
    with pytest.raises(EngineError, match=r"Cannot compile operation 'node_linear' for Turing.*Fix: ") as caught:
        build(library, ModelFile.read(resnet18["fp32"]), OptimisationProfile(), targets=("sm75",))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_narrow_unet_for_two_gpus_at_once(library: Library, unet: dict[str, Path], precision: str) -> None:
    shares: list[float] = []
    built = build(
        library,
        ModelFile.read(unet[precision]),
        OptimisationProfile(best=4, most=8),
        targets=("sm86", "sm89"),
        on_progress=lambda share, _phase: shares.append(share),
    )
    heavy = heavy_by_precision(built.layers)
    assert keeps_promise(heavy, precision)
    assert sum(heavy.values()) >= 17
    convolutions = [layer for layer in built.layers if layer.kind == "correlation"]
    if precision != "int8":
        assert len(nodes_with(convolutions, "node_relu")) == 14
        assert standalone_quantise(built.layers) == []
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.parametrize("precision", PRECISIONS)
def test_uint8_is_cast_from_and_to_floats_alone(unet: dict[str, Path], precision: str) -> None:
    """`uint8 conversions are only supported for {float32, float16}`, say the bindings of 10.3."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(unet[precision])).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info)}
    casts = [{types[node.input[0]], node.attribute[0].i} for node in graph.node if node.op_type == "Cast"]
    others = [cast - {TensorProto.UINT8} for cast in casts if TensorProto.UINT8 in cast]
    assert len(others) == 2, casts  # pixels and labels
    assert all(other <= {TensorProto.FLOAT, TensorProto.FLOAT16} for other in others), casts


def test_progress_adds_nested_phases_up_and_never_falls() -> None:
    shares: list[tuple[float, str]] = []
    phases = Phases(lambda share, name: shares.append((share, name)))
    phases.start("build", None, 2)
    phases.start("graph", "build", 4)
    assert phases.step("graph", 1)
    assert shares[-1] == (0.25, "graph")
    phases.finish("graph")
    assert phases.step("build", 0)
    assert shares[-1][0] == 0.5
    phases.start("timing", "build", 10)
    assert shares[-1][0] == 0.5
    phases.step("unknown", 3)
    phases.cancel()
    assert not phases.step("timing", 9)
    phases.finish("timing")
    phases.finish("build")
    assert shares[-1][0] == 1.0
    assert [share for share, _ in shares] == sorted(share for share, _ in shares)


def test_ctrl_c_ends_a_build_within_a_second_or_so(library: Library, resnet18: dict[str, Path]) -> None:
    pressed: list[float] = []

    def press(share: float, _phase: str) -> None:
        if share > 0 and not pressed:
            pressed.append(time.monotonic())
            _thread.interrupt_main()

    with pytest.raises(KeyboardInterrupt):
        build(
            library,
            ModelFile.read(resnet18["int8"]),
            OptimisationProfile(),
            targets=("sm86", "sm89"),
            on_progress=press,
        )
    assert time.monotonic() - pressed[0] < 3.0
    for thread in threading.enumerate():  # the builder gave up, and can be used again
        if thread.name == "lits-deploy-engine-build":
            thread.join(10)
    assert build(library, ModelFile.read(resnet18["fp16"]), OptimisationProfile(), targets=("sm86",)).data


def test_a_builder_that_does_not_listen_is_left_behind(monkeypatch: pytest.MonkeyPatch, library: Library) -> None:
    release = threading.Event()

    def deaf(*_: Any) -> Any:
        _thread.interrupt_main()
        release.wait(30)
        raise EngineError("too late")

    monkeypatch.setattr(build_module, "_build", deaf)
    monkeypatch.setattr(build_module, "CANCEL_S", 0.2)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        build(library, NO_NETWORK, OptimisationProfile())
    assert time.monotonic() - started < 3.0
    release.set()


def _int32_bias(path: Path) -> Path:
    """What quantisers write by default: the parser refuses a bias behind an INT32 DequantizeLinear."""
    import numpy as np
    from onnx import numpy_helper

    constants = {
        "w": np.ones((4, 1, 3, 3), np.float32),
        "b": np.ones(4, np.int32),
        "s": np.ones((), np.float32),
        "z": np.zeros((), np.int32),
    }
    nodes = [
        helper.make_node("Cast", ["slices"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("DequantizeLinear", ["b", "s", "z"], ["bias"], name="bias_dequantise"),
        helper.make_node("Conv", ["x", "w", "bias"], ["y"], name="the_conv"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("slices", TensorProto.UINT8, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4, 6, 6])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


def test_what_the_parser_refuses_is_named_in_one_line(library: Library, tmp_path: Path) -> None:
    with pytest.raises(
        EngineError, match=r"cannot parse bias\.onnx at the DequantizeLinear node bias_dequantise"
    ) as caught:
        build(library, ModelFile.read(_int32_bias(tmp_path / "bias.onnx")), OptimisationProfile(), targets=("sm86",))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    with pytest.raises(EngineError, match=r"none\.onnx has 0 inputs"):
        build(library, NO_NETWORK, OptimisationProfile(), targets=("sm86",))


def test_gpus_that_it_cannot_build_for_are_refused_by_name(library: Library) -> None:
    assert {"sm75", "sm80", "sm86", "sm89", "sm120"} <= set(supported_targets(library))
    with pytest.raises(EngineError, match="does not know sm87") as caught:
        check_targets(library, ("sm86", "sm87"))
    assert "sm75, sm80, sm86" in str(caught.value)


def test_flavours_by_name() -> None:
    assert load("rtx").is_rtx
    assert load("rtx") is load("rtx")
    with pytest.raises(UserError, match="auto, tensorrt, rtx"):
        load("tensorflow")
    if not installed(FLAVOURS[0]):
        with pytest.raises(MissingExtra, match=r"lits-deploy\[trt\]"):
            load("tensorrt")


def test_a_folder_of_type_stubs_is_not_tensorrt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if installed(FLAVOURS[0]):
        pytest.skip("full TensorRT is installed")
    (tmp_path / "tensorrt").mkdir()
    (tmp_path / "tensorrt" / "__init__.pyi").write_text("class Builder: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not installed(FLAVOURS[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_network_in_every_precision_for_every_gpu(library: Library, name: str, tmp_path: Path) -> None:
    """FP32 matrix products are refused for Turing, by name; INT8 becomes FP16 there. All else is what it is called."""
    paths = write_networks(tmp_path, name)
    for precision in PRECISIONS:
        for target in ("sm75", "sm80", "sm86", "sm89", "sm120"):
            if (precision, target) == ("fp32", "sm75") and NETWORKS[name].task == "classify":
                with pytest.raises(EngineError, match="FP32 GEMM is not supported"):
                    build(library, ModelFile.read(paths[precision]), OptimisationProfile(), targets=(target,))
                continue
            built = build(
                library, ModelFile.read(paths[precision]), OptimisationProfile(best=8, most=16), targets=(target,)
            )
            heavy = heavy_by_precision(built.layers)
            print(f"{name} {precision} {target}: {heavy}, {len(built.data) / 1e6:.1f} MB, {built.seconds:.1f} s")
            expected = "fp16" if (precision, target) == ("int8", "sm75") else precision
            assert keeps_promise(heavy, expected), (precision, target, heavy)


@pytest.mark.parametrize(
    ("lines", "lack"),
    [
        ([(1, "Error Code 2: OutOfMemory (Requested size was 411041792 bytes.)")], "Requested size was 411041792"),
        (
            [
                (2, "Requested amount of GPU memory (8589934592 bytes) could not be allocated."),
                (1, "Error Code 10: Could not find any implementation for node conv due to insufficient workspace."),
            ],
            "8589934592 bytes",
        ),
        ([(2, "Skipping tactic 0x1 due to insufficient memory"), (1, "Unsupported data type")], None),
        ([(1, "an illegal memory access was encountered")], None),
    ],
)
def test_a_build_that_found_no_memory_is_told_apart(lines: list[tuple[int, str]], lack: str | None) -> None:
    found = build_module._lack_of_memory(Log(lines))
    assert (lack in str(found)) if lack else found is None
