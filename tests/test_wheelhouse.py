"""The wheelhouse of a Jetson, downloaded from the package index by the very lines of docs/jetson.md."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
import tomllib
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

ROOT = Path(__file__).parent.parent
BOX = {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "aarch64", "os_name": "posix"}


def documented_commands() -> str:
    """From the `cp` to the end of the `pip download` for JetPack 6."""
    text = (ROOT / "docs" / "jetson.md").read_text()
    (block,) = re.findall(r"^For a Jetson with JetPack 6.*?\n\n((?: {4}.*\n)+)", text, re.MULTILINE)
    return str(block)


def run(commands: str, folder: Path) -> subprocess.CompletedProcess[str]:
    shell = f'set -e\npython() {{ "{sys.executable}" "$@"; }}\n{commands}'
    return subprocess.run(["bash", "-c", shell], cwd=folder, capture_output=True, text=True, timeout=1200)


def requirements(wheel: Path) -> list[Requirement]:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        metadata = Parser().parsestr(archive.read(name).decode())
    return [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]


@pytest.mark.slow
@pytest.mark.parametrize(("jetpack", "python"), [("6", "3.10"), ("7", "3.12")])
def test_the_wheelhouse_of_a_jetson_downloads_and_lacks_nothing(jetpack: str, python: str, tmp_path: Path) -> None:
    commands = documented_commands()
    assert "jetpack6.txt" in commands
    assert "--python-version 310" in commands
    commands = commands.replace("jetpack6", f"jetpack{jetpack}").replace("310", python.replace(".", ""))
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    if run("python -m pip download --quiet --no-deps --dest probe mdurl==0.1.2", tmp_path).returncode != 0:
        pytest.skip("no package index can be reached")
    done = run(commands, tmp_path)
    assert done.returncode == 0, done.stderr
    wheels = sorted((tmp_path / "wheelhouse").iterdir())
    versions = {parse_wheel_filename(wheel.name)[0]: parse_wheel_filename(wheel.name)[1] for wheel in wheels}
    assert len(versions) == len(wheels) == (tmp_path / "requirements.txt").read_text().count("--hash=sha256:")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    own = map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["jetson"]])
    box = {**BOX, "python_version": python, "python_full_version": f"{python}.12", "extra": ""}
    for wanted in (*own, *(wanted for wheel in wheels for wanted in requirements(wheel))):
        if wanted.marker is None or wanted.marker.evaluate(box):
            found = versions.get(canonicalize_name(wanted.name))
            assert found is not None, f"{wanted} is wanted and not in the wheelhouse"
            assert wanted.specifier.contains(found, prereleases=True), f"{wanted}, and the wheelhouse has {found}"
