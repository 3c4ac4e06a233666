"""Does an ONNX file hold the whole network? Looked up in its bytes, before any library parses them.

A tensor may name another file by path, anywhere on the machine, and runtimes read it: then the bundle's hash does not
cover the network, and a stranger's bundle reads what it likes. So do nodes that carry a provider's compiled engine.
The edge has no `onnx` package, and its checkers came after the fact; this walks the protobuf fields by onnx.proto
(ONNX 1.23). It is strict: a field that it does not know might name a file, so it is refused. Knows nothing about
shapes or what the network computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap
from typing import NamedTuple

from lits_deploy.errors import BundleError

MOST_FIELDS = 4_000_000
"""Fields in a file: a network of 200 layers has 30,000. Bounds the time of a walk to seconds."""

MOST_DEPTH = 24
"""Messages in messages; one graph inside another takes three."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# Message → field number → message inside it; "" for what can name no file.
_LEAF = dict.fromkeys
FIELDS: dict[str, dict[int, str]] = {
    "ModelProto": {
        **_LEAF([1, 2, 3, 4, 5, 6, 8, 14, 26], ""),
        7: "GraphProto",
        20: "TrainingInfoProto",
        25: "FunctionProto",
    },
    "GraphProto": {
        **_LEAF([2, 10, 11, 12, 13, 14, 16], ""),
        1: "NodeProto",
        5: "TensorProto",
        15: "SparseTensorProto",
    },
    "NodeProto": {**_LEAF([1, 2, 3, 4, 6, 7, 8, 9, 10], ""), 5: "AttributeProto"},
    "AttributeProto": {
        **_LEAF([1, 2, 3, 4, 7, 8, 9, 13, 14, 15, 20, 21], ""),
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "TensorProto": _LEAF([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16], ""),
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto", 3: ""},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto", 3: "", 4: ""},
    "FunctionProto": {**_LEAF([1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14], ""), 7: "NodeProto", 11: "AttributeProto"},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # of TensorProto
_OP_TYPE = 4  # of NodeProto

_ENGINES = frozenset({b"EPContext"})
"""Operators whose content a provider loads as its own compiled engine, from a file or from inside."""

_OTHER_FORMATS = {b"ORTM": "ONNX Runtime's own format", b"TFL3": "TensorFlow Lite's format"}


def check_self_contained(data: bytes | mmap, name: str) -> None:
    """BundleError where an ONNX file reaches for another one, holds a compiled engine, or is no ONNX file.

    name: of the file, for the message.
    """
    if other := _OTHER_FORMATS.get(data[4:8]):  # libraries look here, whatever else the bytes may be
        raise _refused(name, f"it is in {other}")
    if data[:1] != b"\x08":  # ModelProto.ir_version, which every writer puts first
        raise _refused(name, "it is no ONNX file")
    left = MOST_FIELDS
    view = memoryview(data)
    # An explicit stack: a file nests as deep as it likes, Python's does not.
    waiting = [("ModelProto", 0, len(data), 0)]
    while waiting:
        message, start, end, depth = waiting.pop()
        if depth > MOST_DEPTH:
            raise _refused(name, "its graphs lie in each other too deep")
        known = FIELDS[message]
        for field in _fields(view, start, end, name):
            left -= 1
            if left < 0:
                raise _refused(name, f"it has more than {MOST_FIELDS:,} fields")
            inside = known.get(field.number)
            if inside is None:
                raise _refused(name, f"its {message} has the field {field.number}, which is not known here")
            if inside:
                if field.kind != _BYTES:
                    raise _refused(name, f"it is damaged ({message}, field {field.number})")
                waiting.append((inside, field.start, field.end, depth + 1))
            elif message == "TensorProto" and field.number in (_EXTERNAL_DATA, _DATA_LOCATION):
                # Which of several values counts differs from parser to parser: only the default, zero, will do.
                if field.number == _EXTERNAL_DATA or field.kind != _VARINT or field.value:
                    raise _refused(name, "it keeps weights in another file (external data), which its hash leaves out")
            elif (message, field.number) == ("NodeProto", _OP_TYPE) and bytes(
                view[field.start : field.end]
            ) in _ENGINES:
                raise _refused(name, "it holds a compiled engine (EPContext), not a network")


class _Field(NamedTuple):
    """One field on the wire. value: of a varint; start, end: of the bytes of the others."""

    number: int
    kind: int
    value: int
    start: int
    end: int


def _fields(view: memoryview, at: int, end: int, name: str) -> Iterator[_Field]:
    while at < end:
        key, at = _varint(view, at, end, name)
        number, kind = key >> 3, key & 7
        value, start = 0, at
        if kind == _VARINT:
            value, at = _varint(view, at, end, name)
        elif kind == _BYTES:
            length, start = _varint(view, at, end, name)
            at = start + length
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise _refused(name, f"it is damaged (wire type {kind})")
        if at > end or number == 0:
            raise _refused(name, "it is damaged (a field runs past its end)")
        yield _Field(number, kind, value, start, at)


def _varint(view: memoryview, at: int, end: int, name: str) -> tuple[int, int]:
    """A number of at most ten bytes, and where it ends."""
    value = shift = 0
    while at < end and shift < 70:
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise _refused(name, "it is damaged (a number has no end)")


def _refused(name: str, why: str) -> BundleError:
    return BundleError(f"{name} is refused: {why}.", fix="export the network again, into one ONNX file")
