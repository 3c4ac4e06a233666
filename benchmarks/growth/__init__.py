"""How the cost of a plan and of a merge grows with the number of files: `python -m benchmarks.growth`."""
