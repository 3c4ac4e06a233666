"""Architectures, data, loop and recipes of the thesis. The package itself imports no torch."""
