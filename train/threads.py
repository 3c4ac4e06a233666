"""How many threads PyTorch computes with."""

from __future__ import annotations

import torch

from lits_deploy.machine import cores


def limit_threads() -> None:
    """No more threads than a cgroup's quota has cores for: PyTorch goes by the affinity and OMP_NUM_THREADS alone."""
    torch.set_num_threads(min(torch.get_num_threads(), cores()))
