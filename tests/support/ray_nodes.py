"""A Ray cluster of several nodes on this machine, in a process of its own; tests import no Ray."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

_SCRIPT = """
import json, os, sys
from ray._common.utils import get_default_ray_temp_dir
from ray.cluster_utils import Cluster
os.makedirs(get_default_ray_temp_dir(), exist_ok=True)  # the address is noted there, wherever the nodes' folder is
setup = json.loads(sys.argv[1])
head = {"num_cpus": 0, "include_dashboard": False, "temp_dir": setup["folder"]}
if setup["client_port"]:
    head |= {"ray_client_server_port": setup["client_port"], "min_worker_port": 20000, "max_worker_port": 29999}
cluster = Cluster(initialize_head=True, head_node_args=head)
pids = []
for environment in setup["nodes"]:
    node = cluster.add_node(num_cpus=1, env_vars=environment)
    pids.append(node.all_processes["raylet"][0].process.pid)
print(json.dumps([cluster.address, pids]), flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@dataclass(frozen=True)
class RayNodes:
    """address: of the cluster's head; raylets: of the nodes, by their process numbers; client_port: Ray Client's."""

    address: str
    raylets: Sequence[int]
    client_port: int
    environment: dict[str, str]

    def workers(self, node: int) -> list[psutil.Process]:
        """What runs on a node besides Ray: our processes, and their decode workers."""
        return [one for one in psutil.Process(self.raylets[node]).children(recursive=True) if _ours(one)]

    def kill(self, node: int) -> None:
        """All of a node, as a power cut would."""
        raylet = psutil.Process(self.raylets[node])
        for process in (raylet, *raylet.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.kill()


@contextmanager
def ray_nodes(*environments: dict[str, str], client: bool = False) -> Iterator[RayNodes]:
    """A head without CPUs and a node of one CPU for each of these environments. client: with a Ray Client server."""
    folder = tempfile.mkdtemp(prefix="ry", dir="/tmp")  # names of sockets must be short
    port = 0
    if client:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
    environment = os.environ | {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
        "RAY_worker_niceness": "0",  # or what else runs here comes first
    }
    setup = {"folder": folder, "nodes": environments, "client_port": port}
    command = [sys.executable, "-c", _SCRIPT, json.dumps(setup)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as cluster:
        try:
            assert cluster.stdout is not None
            for line in cluster.stdout:
                if line.startswith("["):
                    break
            else:
                raise AssertionError("the cluster did not start")
            address, raylets = json.loads(line)
            yield RayNodes(address, raylets, port, environment | {"RAY_ADDRESS": address})
        finally:
            cluster.communicate()
    shutil.rmtree(folder, ignore_errors=True)


def _ours(process: psutil.Process) -> bool:
    try:
        return "lits_deploy" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False
