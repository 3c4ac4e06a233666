"""A Q/DQ graph computed in floating point, step by step as it is written: what its INT8 layers would answer.

For artifacts whose runtime is not here (TensorRT without a GPU). ONNX Runtime is told not to replace Q/DQ by its own
integer kernels: for a graph placed for TensorRT those are slower, and on graphs with FP16 scales they were wrong
(docs/log.md).
"""

from __future__ import annotations

from typing import ClassVar

from lits_deploy.machine import cores
from lits_deploy.model_file import ModelFile
from lits_deploy.runtime import Batch, Outputs, Runtime, RuntimeInfo
from lits_deploy.runtime.onnxruntime_ import import_onnxruntime


class Simulated(Runtime):
    """An ONNX file on the CPU with every quantisation carried out in floating point."""

    name: ClassVar[str] = "simulation"

    def __init__(
        self, model: ModelFile, *, precision: str, shape: tuple[int, int, int], wanted: tuple[str, ...], max_batch: int
    ) -> None:
        super().__init__(shape=shape, max_batch=max_batch)
        ort = import_onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = cores()
        options.log_severity_level = 3
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        self._session = ort.InferenceSession(model.data, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._wanted, self._precision, self._version = list(wanted), precision, ort.__version__

    def _infer(self, batch: Batch) -> Outputs:
        values = self._session.run(self._wanted, {self._input: batch})
        return Outputs(**dict(zip(self._wanted, values, strict=True)))

    def describe(self) -> RuntimeInfo:
        """A simulation of another runtime, and it says so."""
        return RuntimeInfo(
            name=self.name, version=self._version, device="cpu", precision=self._precision, providers=("simulation",)
        )
