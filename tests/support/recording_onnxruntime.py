"""ONNX Runtime with a GPU, played by a module that records what it was asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

CUDA = "CUDAExecutionProvider"


class FakeOrt:
    """Gives sessions with the providers in `gives`; remembers what was asked for."""

    __version__, __file__, cuda_version = "1.31.1", "/nowhere/onnxruntime/__init__.py", "13.0"

    def __init__(self, gives: list[str], fails: str | Exception | None = None) -> None:
        self.gives, self.fails = gives, fails
        self.refuses: Exception | None = None
        self.asked: list[Any] = []
        self.config: dict[str, str] = {}
        self.values: list[Any] = []
        self.preloaded = False
        outer = self

        class OrtValue:
            @staticmethod
            def ortvalue_from_numpy(array: np.ndarray, kind: str, index: int) -> Any:
                value = SimpleNamespace(array=array.copy(), where=(kind, index), updates=0)

                def update_inplace(new: np.ndarray) -> None:
                    value.array[:] = new
                    value.updates += 1

                value.update_inplace = update_inplace
                outer.values.append(value)
                return value

        self.OrtValue = OrtValue

    def SessionOptions(self) -> Any:  # noqa: N802
        return SimpleNamespace(add_session_config_entry=self.config.__setitem__)

    def preload_dlls(self) -> None:
        self.preloaded = True

    def get_available_providers(self) -> list[str]:
        return ["TensorrtExecutionProvider", CUDA, "CPUExecutionProvider"]

    def set_default_logger_severity(self, _severity: int) -> None:
        pass

    def InferenceSession(self, _model: bytes, _options: Any, providers: list[Any], **_: Any) -> Any:  # noqa: N802
        self.asked = providers
        if self.refuses is not None:
            raise self.refuses
        return FakeSession(self)


class FakeSession:
    def __init__(self, ort: FakeOrt) -> None:
        self.ort = ort

    def get_providers(self) -> list[str]:
        return self.ort.gives

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="slices")]

    def io_binding(self) -> Any:
        binding = SimpleNamespace(outputs=[])
        binding.bind_ortvalue_input = lambda _name, value: setattr(binding, "input", value)
        binding.bind_output = lambda name, kind, index: binding.outputs.append((name, kind, index))
        binding.copy_outputs_to_cpu = lambda: [
            np.repeat(binding.input.array.reshape(len(binding.input.array), -1)[:, :1], 3, axis=1).astype(np.float32)
            for _ in binding.outputs
        ]
        return binding

    def run_with_iobinding(self, _binding: Any) -> None:
        if self.ort.fails:
            raise self.ort.fails if isinstance(self.ort.fails, Exception) else RuntimeError(self.ort.fails)

    def run(self, _wanted: Any, _inputs: Any) -> None:
        self.run_with_iobinding(None)
