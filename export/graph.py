"""Module + contract → one ONNX file."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

import torch

from export.source import Original
from lits_deploy.errors import MissingExtra
from lits_deploy.files import canonical_json

OPSET = 20
"""What the dynamo exporter writes; FP16 scales need at least 19."""

MAX_BATCH = 4096
"""Upper end of the dynamic batch dimension."""


def write_onnx(original: Original, path: Path) -> None:
    """Export with a dynamic batch, weights inside the file, contract and class names in its metadata.

    Raises MissingExtra without onnx or onnxscript.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch's exporter needs it and does not say so early
    except ImportError as error:
        raise MissingExtra(str(error.name), "export") from error
    shape = original.contract.shape
    example = torch.zeros((2, *shape), dtype=torch.uint8)
    with contextlib.ExitStack() as quiet:  # the exporter warns about its own internals
        quiet.enter_context(warnings.catch_warnings())
        quiet.enter_context(contextlib.redirect_stdout(io.StringIO()))
        quiet.callback(logging.disable, logging.root.manager.disable)
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        program = torch.onnx.export(
            original.module,
            (example,),
            input_names=["slices"],
            output_names=list(original.module.outputs),
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=MAX_BATCH)},),
            optimize=True,
        )
        assert program is not None
        model = program.model_proto
    model.producer_name, model.producer_version = "lits-deploy", ""
    model.graph.doc_string = model.doc_string = ""
    for node in model.graph.node:  # stack traces of the machine that exported
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    properties = {"contract": canonical_json(original.contract.to_json()), "model": original.info.name}
    onnx.helper.set_model_props(model, properties)
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, str(path))
