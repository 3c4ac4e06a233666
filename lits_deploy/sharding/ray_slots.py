"""Which workers a Ray cluster has room for: one a GPU of every node, or so many on the CPU of every node.

Plain arithmetic over what `ray.nodes()` tells; imports no Ray.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lits_deploy.sharding.targets import Room

_MOST_CPUS = 8
"""CPUs that are set aside for the decoders of a GPU."""


@dataclass(frozen=True, kw_only=True)
class Slot(Room):
    """Room on a node. node: its id; machine: its name for people, which tells nodes of one host apart.

    cpus, gpus: that Ray sets aside. gpu: its model, as Ray names it.
    """

    node: str
    machine: str
    number: int
    cpus: int
    gpus: int = 0
    gpu: str | None = None

    @property
    def name(self) -> str:
        """Of the worker."""
        return f"{self.machine} {self.device.partition(':')[0]}:{self.number}"


def slots_of(nodes: Iterable[Mapping[str, Any]], cpu_workers: int = 0) -> list[Slot]:
    """All that the nodes which are alive have room for, those of a node together.

    cpu_workers: so many on the CPU of every node; 0: one a GPU where any node has one, else one on every CPU.
    """
    alive = [node for node in nodes if node["Alive"]]
    if cpu_workers == 0 and any(_count(node, "GPU") for node in alive):
        return [slot for node in alive for slot in _on_gpus(node)]
    return [slot for node in alive for slot in _on_cpus(node, max(1, cpu_workers))]


def most_common(kinds: Iterable[str]) -> str | None:
    """Of kinds of hardware, one a slot; None without any. Which one of equals does not depend on their order."""
    counted = Counter(kinds)
    return min(counted, key=lambda kind: (-counted[kind], kind), default=None)


def _on_gpus(node: Mapping[str, Any]) -> list[Slot]:
    gpus = _count(node, "GPU")
    share = min(_MOST_CPUS, _count(node, "CPU") // gpus) if gpus else 0
    workers = max(1, share - 1) if 0 < share <= 4 else None
    # Ray shows each worker its own GPU, and that one alone.
    return _on(node, gpus, device="cuda:0", cpus=share, gpus=1, workers=workers, gpu=_model(node))


def _on_cpus(node: Mapping[str, Any], workers: int) -> list[Slot]:
    count = min(workers, _count(node, "CPU"))  # none on a node that has no CPU to give, as many heads have not
    share = _count(node, "CPU") // count if count else 0
    decoders = max(1, min(4, share - 1)) if count > 1 else None
    return _on(node, count, device="cpu", cpus=share, threads=share, workers=decoders)


def _on(node: Mapping[str, Any], count: int, **each: Any) -> list[Slot]:
    return [Slot(node=node["NodeID"], machine=_machine(node), number=number, **each) for number in range(count)]


def _count(node: Mapping[str, Any], kind: str) -> int:
    return int(node["Resources"].get(kind, 0))


def _model(node: Mapping[str, Any]) -> str | None:
    labelled: str | None = (node.get("Labels") or {}).get("ray.io/accelerator-type")
    kinds = (name.partition(":")[2] for name in node["Resources"] if name.startswith("accelerator_type:"))
    return labelled or next(kinds, None)


def _machine(node: Mapping[str, Any]) -> str:
    host = node.get("NodeManagerHostname") or node.get("NodeManagerAddress") or "node"
    return f"{host}-{node['NodeID'][:6]}"
