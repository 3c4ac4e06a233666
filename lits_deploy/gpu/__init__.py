"""The dozen CUDA calls that TensorRT needs around it, behind one small seam.

`seam` says what they are, `bindings` makes them through cuda-python, `recording` is a GPU in memory that writes down
what it was told, so that streams, events, padding and the order of freeing are tested on any machine. Knows nothing
about networks.
"""
