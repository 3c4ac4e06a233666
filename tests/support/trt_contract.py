"""All of our calls of TensorRT, made to a real binding in this process: a program for `trt/test_real_bindings.py`.

    python tests/support/trt_contract.py tensorrt|rtx

Builds, loads, runs and inspects an engine by our own code. What only a GPU could make is a Double of the binding's own
class (`pybind_double`), so a name, enum value, overload or argument that the binding lacks ends this with a traceback.
Prints what of the binding was used, and what else our sources name that it has.
"""

from __future__ import annotations

import ast
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import lits_deploy.trt
from lits_deploy.errors import LitsError
from lits_deploy.model_file import ModelFile
from lits_deploy.trt import flavour
from lits_deploy.trt.build import build, supported_targets
from lits_deploy.trt.engine import LoadedEngine
from lits_deploy.trt.flavour import Library
from lits_deploy.trt.key import OptimisationProfile
from lits_deploy.trt.prepare import inspect
from pybind_double import Module

ROOM = Path(lits_deploy.trt.__file__).parent
DOCTOR = ROOM.parent / "doctor" / "trt.py"
MODEL = ModelFile("none.onnx", b"\x08\x09")
NAMES = ("slices", "logits")


def answers(real: Any) -> dict[str, Any]:
    """What a network with one input and one output says, by call."""
    shapes = {"slices": (-1, 1, 8, 8), "logits": (-1, 3)}
    return {
        "INetworkDefinition.num_inputs": 1,
        "ITensor.name": "slices",
        "ITensor.shape": real.Dims(shapes["slices"]),
        "ICudaEngine.num_io_tensors": 2,
        "ICudaEngine.get_tensor_name": lambda index: NAMES[index],
        "ICudaEngine.get_tensor_dtype": lambda name: real.uint8 if name == "slices" else real.float16,
        "ICudaEngine.get_tensor_shape": lambda name: real.Dims(shapes[name]),
        "ICudaEngine.get_tensor_mode": lambda n: real.TensorIOMode.INPUT if n == "slices" else real.TensorIOMode.OUTPUT,
        "ICudaEngine.get_tensor_profile_shape": [real.Dims((n, 1, 8, 8)) for n in (1, 8, 16)],
        "EngineInspector.get_engine_information": "Name: conv, LayerType: conv, Inputs: [], Outputs: []",
        "OnnxParser.num_errors": 1,
        "Runtime.get_engine_validity": (real.EngineValidity.INVALID, 1) if hasattr(real, "EngineValidity") else None,
    }


def walk(library: Library, real: Any) -> set[str]:
    """Everything that we do with a library; the names that were used."""
    used = set[str]()

    def bound(**changes: Any) -> Library:
        module = Module(real, {**answers(real), **{name.replace("_", ".", 1): to for name, to in changes.items()}})
        module.used = used
        return replace(library, trt=module)

    def refused(what: str, call: Any, *given: Any) -> None:
        try:
            call(*given)
        except LitsError:
            return
        raise AssertionError(what)

    targets = ("sm86",) if library.is_rtx else ()
    assert set(targets) <= set(supported_targets(bound()))
    built = build(bound(), MODEL, OptimisationProfile(best=8, most=16), targets=targets, timing_cache=b"old")
    assert built.data == b"bytes"
    assert built.timing_cache == (b"" if library.is_rtx else b"bytes")
    build(bound(IBuilderConfig_set_timing_cache=False), MODEL, OptimisationProfile(), targets=())
    refused("a file with an unknown node", build, bound(OnnxParser_parse=False), MODEL, OptimisationProfile())

    kept: list[bytes] = []
    engine = LoadedEngine(bound(), built.data, runtime_cache=b"kernels", keep=kept.append)
    context = engine.context()
    context.bind(4, {"slices": 256, "logits": 512})
    context.use_scratch(1024, 256)
    context.enqueue(7)
    context.close()
    engine.close()
    assert (engine.max_batch, bool(kept[0])) == (16, library.is_rtx)
    refused("an engine of another GPU", LoadedEngine, bound(Runtime_deserialize_cuda_engine=None), b"engine")
    assert len(inspect(bound(), built.data)) == 1
    return used


def sources() -> list[ast.AST]:
    """Those of the modules that call TensorRT: they hold a library, or are handed what it made."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (*sorted(ROOM.glob("*.py")), DOCTOR)]
    return [tree for tree in trees if {"trt", "make"} & {node.attr for node in attributes(tree)}]


def attributes(tree: ast.AST) -> list[ast.Attribute]:
    """Everything that is read, written or called behind a dot."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]


def main(name: str) -> None:
    library = flavour.load(name)
    real, used, named = library.trt, set[str](), set[str]()
    classes = {key: value for key, value in vars(real).items() if isinstance(value, type)}
    members = set(dir(real)).union(*(dir(kind) for kind in classes.values()))
    for node in (node for tree in sources() for node in attributes(tree)):
        named |= {node.attr} & members
        match node.value:
            case ast.Name("tensorrt") if not library.is_rtx:  # an annotation
                used.add(getattr(real, node.attr).__name__)
            case ast.Attribute(attr=kind) | ast.Name(kind) if hasattr(classes.get(kind), "__members__"):
                getattr(real, kind).__members__[node.attr] if node.attr != "__members__" else None
                used.add(node.attr)
    called = walk(library, real)
    print(json.dumps({"called": sorted(called), "named": sorted(named), "used": sorted(used)}))


if __name__ == "__main__":
    main(sys.argv[1])
