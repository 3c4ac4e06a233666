"""The command of `export`: parse, call, print. Importing it needs neither PyTorch nor ONNX."""
