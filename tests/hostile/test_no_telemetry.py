"""No command looks a host up, reaches one, or leaves an id in the home folder, whatever the environment says.

`no_network.c` is compiled and preloaded into every process of a command.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest

from tiny_bundle import make_tiny_bundle
from tiny_data import make_tiny_data
from tiny_unet import make_tiny_unet
from worlds import SIZE, Series

ROOT = Path(__file__).parents[2]
LIBRARY = Path(__file__).with_name("no_network.c")

OURS = (".cache/lits-deploy/", ".cache/matplotlib/", ".config/matplotlib/")
"""What a command may leave in the home folder: remembered settings, engines, and matplotlib's list of fonts."""

QUICK = {
    "verify": "verify bundle",
    "classify": "classify bundle scans --out classified",
    "segment": "segment unet scans --out segmented --masks png",
    "doctor": "doctor",
}
LONG = {
    "benchmark": "benchmark bundle --data data --batch-sizes 1 --quick",
    "evaluate": "evaluate bundle --data data",
    "train": "train --data data --out run --model unet --width 2 --epochs 1 --batch-size 4",
    "export": "export run --fp16 --int8",
    "evaluate the run": "evaluate run --data data --out evaluated",
    "benchmark both": "benchmark run-bundle --against run --data data --batch-sizes 1 --quick --out compared",
}


@dataclass(frozen=True)
class World:
    """folder: where commands run. library: to be preloaded."""

    folder: Path
    library: Path

    def run(self, *arguments: str) -> tuple[subprocess.CompletedProcess[str], str, list[str]]:
        """The command's end, what it tried to reach, and the files it left in an empty home folder."""
        home, log = self.folder / "home", self.folder / "network.log"
        shutil.rmtree(home, ignore_errors=True)
        log.unlink(missing_ok=True)
        home.mkdir()
        environment = {
            "HOME": str(home),
            "PATH": os.defpath,
            "LD_PRELOAD": str(self.library),
            "NO_NETWORK_LOG": str(log),
            "ORT_DISABLE_TELEMETRY": "0",
            "CI": "false",
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, env=environment, capture_output=True, text=True
        )
        left = [path.relative_to(home).as_posix() for path in sorted(home.rglob("*")) if path.is_file()]
        return done, log.read_text() if log.exists() else "", left


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler: a library is preloaded that refuses the network")
    folder = tmp_path_factory.mktemp("world")
    library = folder / "no_network.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(LIBRARY), "-ldl"], check=True)
    make_tiny_bundle(folder / "bundle")
    make_tiny_unet(folder / "unet", size=SIZE)
    Series(name="ct", count=2, step=2.0).write(folder / "scans")
    make_tiny_data(folder / "data", window=[-40, 160])
    return World(folder, library)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("import socket; socket.getaddrinfo('example.org', 443)", "getaddrinfo example.org"),
        ("import ctypes; exit(not ctypes.CDLL(None).gethostbyname(b'example.org'))", "gethostbyname example.org"),
        (
            "import ctypes; exit(ctypes.CDLL(None).res_query(b'example.org', 1, 1, None, 0) < 0)",
            "res_query example.org",
        ),
        ("import socket; socket.create_connection(('192.0.2.1', 443), 1)", "192.0.2.1"),
        ("import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'', ('192.0.2.1', 53))", "192.0.2.1"),
    ],
)
def test_the_library_sees_what_a_process_tries(world: World, code: str, text: str) -> None:
    done, tried, _ = world.run("-c", code)
    assert done.returncode == 1
    assert text in tried


def test_the_libraries_would_leave_ids_and_look_hosts_up(world: World) -> None:
    """Else the tests below could not fail. Imported without us; older versions of ONNX Runtime send nothing."""
    if "openvino-telemetry" not in {found.name for found in metadata.distributions()}:
        pytest.skip("needs openvino-telemetry, which OpenVINO brings")
    _, tried, left = world.run("-c", "import openvino")
    assert "getaddrinfo" in tried
    assert left


@pytest.mark.parametrize("command", [pytest.param(arguments, id=name) for name, arguments in QUICK.items()])
def test_nothing_is_sent_and_no_id_is_left(world: World, command: str) -> None:
    done, tried, left = world.run("-m", "lits_deploy", *command.split())
    assert done.returncode == 0, done.stderr
    assert tried == ""
    assert left == []


@pytest.mark.slow
def test_nor_by_commands_that_train_export_and_measure(world: World) -> None:
    for name, command in LONG.items():
        done, tried, left = world.run("-m", "lits_deploy", *command.split())
        assert done.returncode == 0, f"{name}: {done.stderr}"
        assert tried == "", name
        assert [path for path in left if not path.startswith(OURS)] == [], name


def test_a_program_that_uses_the_package_is_covered_too(world: World) -> None:
    """Libraries that are imported after ours, by anybody in the process or its children."""
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import onnxruntime'], check=True)"
    done, tried, left = world.run("-c", f"import lits_deploy, onnxruntime, openvino; {child}")
    assert done.returncode == 0, done.stderr
    assert tried == ""
    assert left == []
