"""Checkpoint → bundle: the graph, the parity gate, the goldens, the model card."""
