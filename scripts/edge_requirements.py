"""Pin what an edge box installs: a requirements file a target in deploy/requirements/, every wheel by its hash.

    python -m pip install uv
    python scripts/edge_requirements.py [TARGET …]

uv resolves, for it answers the markers of another Python and machine; pip says which wheel it would take there, and its
hash. Run it again to take in newer releases, read the difference, and try the result as docs/jetson.md says.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import tomllib

ROOT = Path(__file__).parent.parent
OUT = ROOT / "deploy" / "requirements"
GLIBC = 35
"""Of Ubuntu 22.04, the oldest system that is meant: 2.35."""

TARGETS = {
    # name: Python, machine, extras of lits-deploy
    "jetpack6": ("3.10", "aarch64", ("jetson",)),
    "jetpack7": ("3.12", "aarch64", ("jetson",)),
    "pc-py310-x86_64": ("3.10", "x86_64", ("cpu", "openvino")),
    "pc-py311-x86_64": ("3.11", "x86_64", ("cpu", "openvino")),
    "pc-py312-x86_64": ("3.12", "x86_64", ("cpu", "openvino")),
    "pc-py310-aarch64": ("3.10", "aarch64", ("cpu", "openvino")),
    "pc-py311-aarch64": ("3.11", "aarch64", ("cpu", "openvino")),
}


def wanted(extras: tuple[str, ...]) -> list[str]:
    """Requirements of lits-deploy with these extras, as pyproject.toml has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["dependencies"] + [line for extra in extras for line in project["optional-dependencies"][extra]]


def resolve(requirements: list[str], python: str, machine: str, folder: Path) -> list[str]:
    """`name==version` of everything that these bring on that machine."""
    (folder / "wanted.txt").write_text("\n".join(requirements) + "\n")
    options = f"--only-binary :all: --python-version {python} --python-platform {machine}-manylinux_2_{GLIBC}"
    command = [
        *["uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"],
        *options.split(),
        str(folder / "wanted.txt"),
    ]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.split()


def wheels(pins: list[str], python: str, machine: str, folder: Path) -> list[tuple[str, str, str]]:
    """`name==version`, file and SHA-256 of the wheel that pip takes for each."""
    (folder / "pins.txt").write_text("\n".join(pins) + "\n")
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC, 16, -1)] + [f"manylinux2014_{machine}"]
    # --ignore-requires-python: it would ask this Python.
    options = "--quiet --dry-run --ignore-installed --no-deps --ignore-requires-python --only-binary=:all:"
    command = [sys.executable, *["-m", "pip", "install"], *options.split(), "--implementation", "cp"]
    command += ["--python-version", python, *(part for name in platforms for part in ("--platform", name))]
    files = {"--target": "nothing", "--report": "report.json", "--requirement": "pins.txt"}
    command += [part for option, name in files.items() for part in (option, str(folder / name))]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    found = []
    for item in json.loads((folder / "report.json").read_text())["install"]:
        name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
        wheel = item["download_info"]
        file, sha256 = wheel["url"].rpartition("/")[2], wheel["archive_info"]["hashes"]["sha256"]
        found.append((f"{name}=={item['metadata']['version']}", file, sha256))
    assert len(found) == len(pins), f"{len(pins)} pins, {len(found)} wheels"
    return sorted(found)


def main(names: list[str]) -> None:
    OUT.mkdir(exist_ok=True)
    for name in names or TARGETS:
        python, machine, extras = TARGETS[name]
        with tempfile.TemporaryDirectory() as folder:
            pins = resolve(wanted(extras), python, machine, Path(folder))
            found = wheels(pins, python, machine, Path(folder))
        lines = [
            f"# lits-deploy[{','.join(extras)}], Python {python}, {machine}, glibc 2.{GLIBC} or newer.",
            f"# Made by scripts/edge_requirements.py {name}; used as docs/jetson.md says.",
        ]
        for pin, file, sha256 in found:
            lines += [f"# {file}", f"{pin} --hash=sha256:{sha256}"]
        (OUT / f"{name}.txt").write_text("\n".join(lines) + "\n")
        print(f"{name}: {len(found)} wheels")


if __name__ == "__main__":
    main(sys.argv[1:])
