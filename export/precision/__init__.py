"""Other precisions of an exported graph: FP16, and INT8 once for CPUs and once for TensorRT."""
