"""Which workers a cluster has room for, of what `ray.nodes()` tells."""

from __future__ import annotations

from typing import Any

from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.sharding.ray_slots import most_common, slots_of


def node(name: str, cpus: float = 8, gpus: float = 0, *, alive: bool = True) -> dict[str, Any]:
    resources = {"CPU": cpus, "memory": 1e9, **({"GPU": gpus} if gpus else {})}
    return {"NodeID": name * 8, "NodeManagerHostname": "box", "Alive": alive, "Resources": resources if cpus else {}}


def test_one_worker_on_the_cpu_of_every_node_that_has_one_to_give() -> None:
    slots = slots_of([node("a"), node("b", cpus=0), node("c", cpus=4), node("d", alive=False)])
    assert [(slot.name, slot.device, slot.cpus, slot.gpus, slot.threads, slot.workers) for slot in slots] == [
        ("box-aaaaaa cpu:0", "cpu", 8, 0, 8, None),
        ("box-cccccc cpu:0", "cpu", 4, 0, 4, None),
    ]


def test_several_on_a_cpu_share_it() -> None:
    slots = slots_of([node("a", cpus=8), node("b", cpus=1)], cpu_workers=2)
    assert [(slot.name, slot.cpus, slot.threads, slot.workers) for slot in slots] == [
        ("box-aaaaaa cpu:0", 4, 4, 3),
        ("box-aaaaaa cpu:1", 4, 4, 3),
        ("box-bbbbbb cpu:0", 1, 1, None),
    ]


def test_where_there_are_gpus_they_do_it_alone() -> None:
    slots = slots_of([node("a", cpus=16, gpus=4), node("b"), node("c", cpus=64, gpus=1)])
    assert [(slot.name, slot.device, slot.cpus, slot.gpus, slot.workers) for slot in slots] == [
        *((f"box-aaaaaa cuda:{number}", "cuda:0", 4, 1, 3) for number in range(4)),
        ("box-cccccc cuda:0", "cuda:0", 8, 1, None),
    ]


def test_the_model_of_a_gpu_is_what_ray_calls_it() -> None:
    nodes = [node("a", gpus=1), node("b", gpus=1), node("c", gpus=1)]
    nodes[0]["Resources"]["accelerator_type:L4"] = 1.0
    nodes[1]["Labels"] = {"ray.io/accelerator-type": "H200"}
    assert [slot.gpu for slot in slots_of(nodes)] == ["L4", "H200", None]


def test_the_most_common_kind_of_hardware() -> None:
    assert most_common(["b", "a", "b"]) == "b"
    assert most_common(["b", "a"]) == most_common(["a", "b"]) == "a"
    assert most_common([]) is None


def test_cpus_on_request_although_there_are_gpus() -> None:
    assert {slot.device for slot in slots_of([node("a", gpus=4), node("b")], cpu_workers=1)} == {"cpu"}


def test_what_the_user_asked_for_stays() -> None:
    (slot,) = slots_of([node("a")])
    assert slot.options(ClassifyOptions()).threads == 8
    given = slot.options(ClassifyOptions(threads=2, workers=5))
    assert (given.device, given.threads, given.workers) == ("cpu", 2, 5)
