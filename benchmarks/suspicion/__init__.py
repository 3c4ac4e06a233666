"""Which number of a series ranks it best: `python -m benchmarks.suspicion`."""
