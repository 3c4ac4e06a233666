"""The commands of `benchmarks`: `evaluate`, `benchmark`, `choose`, `demo`. Each parses, calls and prints."""
