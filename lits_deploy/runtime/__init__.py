"""The seam that every runtime stands behind, and the two that need no engine: ONNX Runtime and OpenVINO.

TensorRT is `lits_deploy.trt`; which of them runs an artifact here is `lits_deploy.backends`'.
"""

from lits_deploy.runtime.base import Batch, Outputs, Runtime, RuntimeInfo, RuntimeOptions
from lits_deploy.runtime.device import Device

__all__ = ["Batch", "Device", "Outputs", "Runtime", "RuntimeInfo", "RuntimeOptions"]
