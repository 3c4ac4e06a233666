"""What the builder made of a network: each layer with the types it computes in and the ONNX nodes it swallowed.

Read from the listing that TensorRT itself writes, one line a layer: the inspector's on a machine with a GPU, else the
verbose build log. An exporter that only *asked* for FP16 wrote FP32 engines for months (roboflow/rf-detr#1453); so the
record says what was built. The listing's words differ between versions; an unknown word makes a layer count as light.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_LINE = re.compile(r"^Name: (?P<name>.*?), LayerType: (?P<kind>[^,]*), Inputs: \[(?P<rest>.*)$")
_TYPE = re.compile(r"Datatype: ([^,}\]]+)")
_NODE = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
_HEAVY_KIND = re.compile(r"conv|correlation|gemm|matrix|fully", re.IGNORECASE)
_HEAVY_FUSION = re.compile(r"Corr|Conv|Fc|Gemm|MatMul", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of an engine.

    inputs, constants, outputs: types in words of ours (`fp32`, `fp16`, `int8`, `uint8`, …). nodes: ONNX nodes in it.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    constants: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[str, ...]

    @property
    def heavy(self) -> bool:
        """A convolution or matrix product, fused with its neighbours or not: where the time goes."""
        if self.kind.startswith("runtime_") or self.kind == "fusion":
            return _HEAVY_FUSION.search(self.name) is not None
        return _HEAVY_KIND.search(self.kind) is not None

    @property
    def precision(self) -> str:
        """Type of the data it multiplies: of its first input, else of its first constant."""
        return next(iter(self.inputs + self.constants), "none")


def parse_listing(lines: Iterable[str]) -> list[Layer]:
    """Layers of a listing; lines that are none are skipped, synchronisation between streams too."""
    found = []
    for line in lines:
        match = _LINE.match(line)
        if match is None or match["kind"] in ("signal", "wait", "shape_call"):
            continue
        inputs, _, rest = match["rest"].partition("], Outputs: [")
        inputs, _, constants = inputs.partition("], Constants: [")
        outputs, _, tail = ("", "", rest) if rest.startswith("]") else rest.partition("}]")
        found.append(
            Layer(
                name=match["name"],
                kind=match["kind"],
                inputs=_types(inputs),
                constants=_types(constants),
                outputs=_types(outputs),
                nodes=tuple(_NODE.findall(tail)),
            )
        )
    return found


def heavy_by_precision(layers: list[Layer]) -> dict[str, int]:
    """Number of heavy layers by the precision they compute in, most first."""
    return dict(Counter(layer.precision for layer in layers if layer.heavy).most_common())


def standalone_quantise(layers: list[Layer]) -> list[Layer]:
    """Kernels between heavy layers that turn floats into int8: bias, ReLU, addition and rounding in one, at best.

    One at the network's input is as it should be: uint8 pixels come in. TensorRT for RTX 1.7 writes one behind every
    INT8 convolution, however the Q/DQ nodes stand (docs/tensorrt.md), so an int8 engine moves more memory there than
    an FP16 one; with FP16 there are none. Full TensorRT is said to fold them into the convolution (not tried here).
    """
    floats = {"fp32", "fp16"}
    return [layer for layer in layers if not layer.heavy and "int8" in layer.outputs and floats & set(layer.inputs)]


def as_built(layers: list[Layer], source: str) -> dict[str, Any]:
    """For the record: `source` of the listing, number of layers, heavy ones by precision, stand-alone quantisers."""
    return {
        "source": source,
        "layers": len(layers),
        "heavy": heavy_by_precision(layers),
        "standalone_quantise": len(standalone_quantise(layers)),
    }


def keeps_promise(heavy: dict[str, int], precision: str) -> bool:
    """True where at least half of the heavy layers compute in what the artifact is called, or none was listed.

    Half: a U-Net's up-convolutions and a first layer with one channel stay in a wider type in int8. TF32 is no type of
    data: its layers are listed as FP32.
    """
    total = sum(heavy.values())
    return total == 0 or 2 * heavy.get("fp32" if precision == "tf32" else precision, 0) >= total


def _types(text: str) -> tuple[str, ...]:
    return tuple(_type(word) for word in _TYPE.findall(text))


def _type(word: str) -> str:
    for pattern, name in (
        (r"uint8", "uint8"),
        (r"int8", "int8"),
        (r"int4", "int4"),
        (r"int64", "int64"),
        (r"int32", "int32"),
        (r"bfloat16|bf16", "bf16"),
        (r"half|fp16|float16", "fp16"),
        (r"fp8|float8", "fp8"),
        (r"float|fp32", "fp32"),
        (r"bool", "bool"),
    ):
        if re.search(pattern, word, re.IGNORECASE):
            return name
    return word.strip().lower()
