"""A network's file: read once, whole in itself, and refused before any library sees it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lits_deploy import onnx_scan
from lits_deploy.contract import InputContract
from lits_deploy.doctor import network
from lits_deploy.errors import BundleError
from lits_deploy.model_file import ModelFile
from lits_deploy.sealed import Sealed
from tiny_bundle import tiny_graph

CONTRACT = InputContract(window_hu=None, size=32, crop=28)


def outside() -> TensorProto:
    """A tensor whose weights are another file's bytes."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../../../etc/passwd")
    return tensor


def plain() -> TensorProto:
    return numpy_helper.from_array(np.zeros(4, np.float32), "w")


def graph_with(tensor: TensorProto) -> onnx.GraphProto:
    return helper.make_graph([], "inner", [], [], [tensor])


def in_attribute(model: onnx.ModelProto, **values: object) -> None:
    node = model.graph.node.add(op_type="Constant")
    node.attribute.append(helper.make_attribute("value", next(iter(values.values()))))


def in_initializer(model: onnx.ModelProto, tensor: TensorProto) -> None:
    model.graph.initializer.append(tensor)


def in_node(model: onnx.ModelProto, tensor: TensorProto) -> None:
    in_attribute(model, t=tensor)


def in_list(model: onnx.ModelProto, tensor: TensorProto) -> None:
    in_attribute(model, tensors=[plain(), tensor])


def in_branch(model: onnx.ModelProto, tensor: TensorProto) -> None:
    inner = graph_with(plain())
    inner.node.add(op_type="If").attribute.append(helper.make_attribute("then_branch", graph_with(tensor)))
    in_attribute(model, g=inner)


def in_branches(model: onnx.ModelProto, tensor: TensorProto) -> None:
    in_attribute(model, graphs=[graph_with(plain()), graph_with(tensor)])


def sparse(tensor: TensorProto, *, indices: bool = False) -> onnx.SparseTensorProto:
    return onnx.SparseTensorProto(**({"indices": tensor} if indices else {"values": tensor}), dims=[4])


def in_sparse_values(model: onnx.ModelProto, tensor: TensorProto) -> None:
    model.graph.sparse_initializer.append(sparse(tensor))


def in_sparse_indices(model: onnx.ModelProto, tensor: TensorProto) -> None:
    model.graph.sparse_initializer.append(sparse(tensor, indices=True))


def in_sparse_attribute(model: onnx.ModelProto, tensor: TensorProto) -> None:
    in_attribute(model, sparse=sparse(tensor))


def in_function(model: onnx.ModelProto, tensor: TensorProto) -> None:
    node = helper.make_node("Constant", [], ["c"], value=tensor)
    model.functions.append(helper.make_function("d", "f", [], ["c"], [node], [helper.make_opsetid("", 19)]))


def in_function_default(model: onnx.ModelProto, tensor: TensorProto) -> None:
    function = model.functions.add(name="f", domain="d")
    function.attribute_proto.append(helper.make_attribute("value", tensor))


def in_training(model: onnx.ModelProto, tensor: TensorProto) -> None:
    model.training_info.add().initialization.CopyFrom(graph_with(tensor))


def in_algorithm(model: onnx.ModelProto, tensor: TensorProto) -> None:
    model.training_info.add().algorithm.CopyFrom(graph_with(tensor))


CARRIERS: list[Callable[[onnx.ModelProto, TensorProto], None]] = [
    in_initializer,
    in_node,
    in_list,
    in_branch,
    in_branches,
    in_sparse_values,
    in_sparse_indices,
    in_sparse_attribute,
    in_function,
    in_function_default,
    in_training,
    in_algorithm,
]


@pytest.mark.parametrize("put", CARRIERS, ids=lambda put: put.__name__)
def test_external_data_is_found_wherever_a_tensor_can_stand(
    put: Callable[[onnx.ModelProto, TensorProto], None],
) -> None:
    harmless, hostile = tiny_graph(CONTRACT), tiny_graph(CONTRACT)
    put(harmless, plain())
    ModelFile("m.onnx", harmless.SerializeToString())
    put(hostile, outside())
    with pytest.raises(BundleError, match="external data") as caught:
        ModelFile("m.onnx", hostile.SerializeToString())
    assert caught.value.fix
    assert "\n" not in str(caught.value)


def test_either_sign_of_external_data_is_enough() -> None:
    for change in ("data_location", "external_data"):
        model, tensor = tiny_graph(CONTRACT), outside()
        tensor.ClearField("external_data" if change == "data_location" else "data_location")
        model.graph.initializer.append(tensor)
        with pytest.raises(BundleError, match="external data"):
            ModelFile("m.onnx", model.SerializeToString())
    # Of two values of a field parsers take the last, or do not know it: the first must not hide the second.
    twice = tiny_graph(CONTRACT).SerializeToString()
    for first, second in ((0, 1), (1, 0)):
        tensor = bytes([14 << 3, first, 14 << 3, second])
        graph = bytes([5 << 3 | 2, len(tensor)]) + tensor
        with pytest.raises(BundleError, match="external data"):
            ModelFile("m.onnx", twice + bytes([7 << 3 | 2, len(graph)]) + graph)


@pytest.mark.parametrize("embed_mode", [0, 1])
def test_a_providers_compiled_engine_is_no_network(embed_mode: int) -> None:
    model = tiny_graph(CONTRACT)
    node = helper.make_node(
        "EPContext", [], ["y"], domain="com.microsoft", embed_mode=embed_mode, ep_cache_context="../engine.bin"
    )
    model.graph.node.append(node)
    with pytest.raises(BundleError, match="EPContext"):
        ModelFile("m.onnx", model.SerializeToString())


def test_the_walker_knows_every_message_that_can_hold_a_tensor() -> None:
    """A field that a new onnx has and the walker does not is refused; one that it takes for plain must be plain."""
    for message, fields in onnx_scan.FIELDS.items():
        for field in getattr(onnx, message).DESCRIPTOR.fields:
            inside = field.message_type.name if field.message_type is not None else ""
            expected = inside if inside in onnx_scan.FIELDS else ""
            assert fields.get(field.number) == expected, f"{message}.{field.name}"

    def holds_tensors(kind: object, seen: frozenset[str] = frozenset()) -> bool:
        inner = [f.message_type for f in kind.fields if f.message_type is not None]  # type: ignore[attr-defined]
        return any(k.name == "TensorProto" or (k.name not in seen and holds_tensors(k, seen | {k.name})) for k in inner)

    plain_kinds = {
        field.message_type.name: field.message_type
        for message in onnx_scan.FIELDS
        for field in getattr(onnx, message).DESCRIPTOR.fields
        if field.message_type is not None and field.message_type.name not in onnx_scan.FIELDS
    }
    assert [name for name, kind in plain_kinds.items() if holds_tensors(kind)] == []


GOOD = tiny_graph(CONTRACT).SerializeToString()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no ONNX file"),
        (b"nothing", "no ONNX file"),
        (GOOD[:-1], "damaged"),
        (GOOD + b"\xff", "damaged"),
        (GOOD + b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "damaged"),
        (GOOD + bytes([7 << 3, 1]), "damaged"),  # a graph that is a number
        (GOOD + bytes([7 << 3 | 3]), "damaged"),  # a group, which protobuf has given up
        (GOOD + bytes([15 << 3 | 2, 0]), "field 15, which is not known"),
        (b"\x08\x09\x12\x04ORTM" + GOOD, "ONNX Runtime's own format"),
        (b"\x08\x09\x12\x04TFL3" + GOOD, "TensorFlow Lite's format"),
    ],
)
def test_what_is_no_whole_onnx_file_is_refused_in_one_line(data: bytes, says: str) -> None:
    with pytest.raises(BundleError, match=says) as caught:
        ModelFile("m.onnx", data)
    assert "\n" not in str(caught.value)


def test_a_walk_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = b""
    for _ in range(40):  # a graph in a node in a graph …
        for field in (6, 5, 1):
            length = len(inner)
            inner = bytes([field << 3 | 2, length & 0x7F | 0x80, length >> 7]) + inner
    length = len(inner)
    with pytest.raises(BundleError, match="too deep"):
        ModelFile("m.onnx", b"\x08\x09" + bytes([7 << 3 | 2, length & 0x7F | 0x80, length >> 7]) + inner)
    monkeypatch.setattr(onnx_scan, "MOST_FIELDS", 20)
    with pytest.raises(BundleError, match="more than 20 fields"):
        ModelFile("m.onnx", GOOD)


def test_a_file_is_read_once_and_hashed(tmp_path: Path) -> None:
    assert ModelFile.read(network.MODEL, network.MODEL_SHA256).data == network.MODEL.read_bytes()
    with pytest.raises(BundleError, match="altered"):
        ModelFile.read(network.MODEL, "0" * 64)
    with pytest.raises(BundleError, match="cannot be read"):
        ModelFile.read(tmp_path / "none.onnx")
    (tmp_path / "link.onnx").symlink_to(network.MODEL)
    os.mkfifo(tmp_path / "pipe.onnx")  # nobody writes to it: opening it must not wait
    for name in ("link.onnx", "pipe.onnx"):
        with pytest.raises(BundleError, match="cannot be read"):
            ModelFile.read(tmp_path / name)
    with pytest.raises(BundleError, match="cannot be read"):
        ModelFile.read(Path("/dev/zero"))


def test_a_file_in_memory_is_whole_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(GOOD)
    with ModelFile.read(path) as model:
        assert isinstance(model.content, Sealed)
        path.write_bytes(b"another")
        assert isinstance(model.source, str)
        assert Path(model.source).read_bytes() == bytes(model.view) == model.data == GOOD
    assert model.size == len(GOOD)
    with pytest.raises(ValueError, match="closed"):
        _ = model.source
    assert ModelFile("m.onnx", GOOD).source == GOOD


def test_a_refused_file_is_refused_sealed_too() -> None:
    with pytest.raises(BundleError, match="damaged"):
        ModelFile.of("m.onnx", [GOOD, b"\xff"])
