"""Listings of engines: what TensorRT for RTX really wrote here, and lines in the form of full TensorRT's inspector."""

from __future__ import annotations

import pytest

from lits_deploy.trt.layers import as_built, heavy_by_precision, keeps_promise, parse_listing, standalone_quantise

RTX = """Layers:
Name: __mye1446_0_myl0_0, LayerType: shape_call, Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 0, Metadata: 
Name: __myl_CastMul_myl0_1, LayerType: kgen, Inputs: [ { Name: slices, Dimensions: [-1,1,256,256], Strides: [65536,65536,256,1], StrideOrder: [3,2,1,0], Datatype: UInt8, Format: (Linear) Row major linear format }], Constants: [ { Name: c, Dimensions: [1], Datatype: Float, Format: x }], Outputs: [ { Name: a, Dimensions: [-1,1,224,224], Strides: [50176,1,224,1], Datatype: Half, Format: (NHWC) Channel major format }], TacticName: t, StreamId: 0, Metadata: [ONNX Layer: node__to_copy][ONNX Layer: node_mul_6]
Name: node_Conv_161_myl0_2, LayerType: correlation, Inputs: [ { Name: a, Dimensions: [-1,1,224,224], Datatype: Half, Format: f }], Constants: [ { Name: w, Dimensions: [64,1,7,7], Datatype: Half, Format: f }, { Name: o, Dimensions: [1], Datatype: Float, Format: f }], Outputs: [ { Name: b, Dimensions: [-1,64,110,110], Datatype: Half, Format: f }], TacticName: __myelin_CASK_STUB, StreamId: 0, Metadata: [ONNX Layer: node_Conv_161][ONNX Layer: node_relu]
Name: __mye8_0_myl0_3, LayerType: signal, Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 0, EventId: 1, Metadata: 
Name: __myl_CorrAdd_myl0_5, LayerType: runtime_fusion, Inputs: [ { Name: b, Datatype: Half }, { Name: b2, Datatype: Half }], Constants: [ { Name: w, Datatype: Half }], Outputs: [ { Name: c, Datatype: Half }], TacticName: , StreamId: 0, Metadata: [ONNX Layer: node_Conv_163][ONNX Layer: node_relu_2][ONNX Layer: node_add_85]
Name: node_Conv_9_myl0_6, LayerType: correlation, Inputs: [ { Name: q, Datatype: Int8 }], Constants: [ { Name: w, Datatype: Int8 }], Outputs: [ { Name: d, Datatype: Float }], TacticName: , StreamId: 0, Metadata: [ONNX Layer: node_Conv_9]
Name: __myl_MulAddReluMulMinMaxRounCast_myl0_7, LayerType: kgen, Inputs: [ { Name: d, Datatype: Float }], Constants: [ { Name: s, Datatype: Float }], Outputs: [ { Name: e, Datatype: Int8 }], TacticName: , StreamId: 0, Metadata: [ONNX Layer: node_relu_3][ONNX Layer: x_quantise]
Name: __myl_Conc_myl0_8, LayerType: runtime_function, Inputs: [ { Name: e, Datatype: Half }], Constants: [], Outputs: [ { Name: f, Datatype: Half }], TacticName: , StreamId: 0, Metadata: [ONNX Layer: node_cat]

I/O Tensors:
 Name: slices, IOMode: Input, DataType: UInt8, Dimensions: [-1,1,256,256]
"""  # noqa: E501, W291 - as TensorRT writes it

FULL = """Name: stem + relu, LayerType: CaskConvolution, Inputs: [ { Name: a, Location: Device, Dimensions: [-1,1,224,224], Format/Datatype: Channel major FP16 format where channel % 8 == 0 }], Outputs: [ { Name: b, Location: Device, Dimensions: [-1,64,110,110], Format/Datatype: Channel major FP16 format where channel % 8 == 0 }], ParameterType: Convolution, Kernel: [7,7], Activation: RELU, TacticName: sm86_xmma, StreamId: 0, Metadata: [ONNX Layer: node_Conv_161]\x1e[ONNX Layer: node_relu]
Name: body, LayerType: CaskGemmConvolution, Inputs: [ { Name: b, Location: Device, Dimensions: [-1,64], Format/Datatype: Thirty-two wide channel vectorized row major Int8 format }], Outputs: [ { Name: c, Location: Device, Dimensions: [-1,64], Format/Datatype: Row major linear FP32 }], ParameterType: Convolution, TacticName: x, StreamId: 0, Metadata: [ONNX Layer: node_Conv_162]
Name: pool, LayerType: CaskPooling, Inputs: [ { Name: c, Format/Datatype: Half }], Outputs: [ { Name: d, Format/Datatype: Half }], ParameterType: Pooling, TacticName: y, StreamId: 0, Metadata: 
"""  # noqa: E501, W291


def test_rtx_listing() -> None:
    layers = parse_listing(RTX.split("\n"))
    assert [layer.kind for layer in layers] == [
        "kgen",
        "correlation",
        "runtime_fusion",
        "correlation",
        "kgen",
        "runtime_function",
    ]
    first, conv, fused = layers[:3]
    assert (first.inputs, first.constants, first.outputs) == (("uint8",), ("fp32",), ("fp16",))
    assert first.nodes == ("node__to_copy", "node_mul_6")
    assert conv.constants == ("fp16", "fp32")
    assert fused.nodes == ("node_Conv_163", "node_relu_2", "node_add_85")
    assert [layer.heavy for layer in layers] == [False, True, True, True, False, False]
    assert heavy_by_precision(layers) == {"fp16": 2, "int8": 1}
    assert [layer.name for layer in standalone_quantise(layers)] == ["__myl_MulAddReluMulMinMaxRounCast_myl0_7"]
    assert as_built(layers, "build log") == {
        "source": "build log",
        "layers": 6,
        "heavy": {"fp16": 2, "int8": 1},
        "standalone_quantise": 1,
    }


def test_inspector_listing_of_full_tensorrt() -> None:
    layers = parse_listing(FULL.split("\n"))
    assert heavy_by_precision(layers) == {"fp16": 1, "int8": 1}
    assert layers[0].nodes == ("node_Conv_161", "node_relu")
    assert layers[1].outputs == ("fp32",)


def test_nothing_listed_is_not_a_broken_promise() -> None:
    assert parse_listing(["anything", "Name: cut off, LayerTy"]) == []
    assert keeps_promise({}, "fp16")


@pytest.mark.parametrize(
    ("heavy", "precision", "kept"),
    [
        ({"fp16": 20, "fp32": 1}, "fp16", True),
        ({"fp32": 21}, "fp16", False),
        ({"int8": 15, "fp16": 3}, "int8", True),
        ({"fp16": 20, "int8": 1}, "int8", False),
    ],
)
def test_an_engine_that_computes_in_something_else_is_named(heavy: dict[str, int], precision: str, kept: bool) -> None:
    assert keeps_promise(heavy, precision) is kept
