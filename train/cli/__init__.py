"""The commands of `train`: `train`, `data`, `models`, `reproduce`. Each parses, calls and prints."""
