"""A row of doctor's answer, the commands that install things, and the removal of names from what people paste."""

from __future__ import annotations

import os
import platform
import pwd
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any, Literal

from lits_deploy.nvidia import gpu_here, is_jetson

State = Literal["ok", "warning", "missing", "not needed", "broken"]
Section = Literal["runtimes", "gpu", "machine", "folders", "libraries"]

OF_GPU = "of use with an NVIDIA GPU"

JETSON_INDEX = "https://pypi.jetson-ai-lab.io/jp6/cu126"
"""NVIDIA's wheels for JetPack 6: PyPI has no onnxruntime-gpu for Python 3.10 on 64-bit ARM (November 2025)."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    state: ok; warning: works, but slower or less safely than it could; missing: not installed or not there, which is
    no fault by itself; not needed: nor of any use on this machine; broken: there, and does not work.
    found: what was seen, one line. fix: what to type, or None.
    works: a runtime that gave the right answer. details: the same as numbers and names, for JSON. section: its job's.
    """

    name: str
    state: State
    found: str
    fix: str | None = None
    works: bool = False
    details: dict[str, Any] = field(default_factory=dict)
    section: Section | None = None

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary for JSON; `Check(**…)` reads it back."""
        return {"section": self.section, **asdict(self)}


def version_of(distribution: str) -> str | None:
    """The installed version of a distribution, or None."""
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(distribution)
    return None


def first_line(error: object) -> str:
    """The first line of what an error says, 300 characters at most; its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip()[:300]


def failed(error: Exception) -> str:
    """What a row says of a check that raised."""
    return f"the check itself failed: {type(error).__name__}: {first_line(error)}"


def install_command(extra: str) -> str:
    """What to type to get an extra of lits-deploy."""
    if extra == "gpu" and platform.machine() == "aarch64" and sys.version_info < (3, 11):
        return f"pip install onnxruntime-gpu --index-url {JETSON_INDEX}"
    extra = "jetson" if extra == "trt" and is_jetson() else extra  # TensorRT is JetPack's own there
    return f"pip install 'lits-deploy[{extra}]'"


def onnxruntime_command() -> str:
    """What to type to get ONNX Runtime for this machine: with CUDA where there is an NVIDIA driver."""
    return install_command("gpu" if gpu_here() else "cpu")


def without_names() -> Callable[[str], str]:
    """What takes home folder, user names and host name out of a text: people paste doctor's answer into issues.

    User names go where they are a folder of a path, host names where they are a word.
    """
    home, host = os.path.expanduser("~"), platform.node()  # noqa: PTH111 - Path.home() raises where there is none
    users = {os.environ.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER")}
    with suppress(KeyError):  # a container's user number may have no name
        users.add(pwd.getpwuid(os.getuid()).pw_name)
    rules = [(rf"{re.escape(home)}(?![\w.-])", "~")] if len(home) > 1 and home != "/root" else []
    rules += [(rf"(?<=[/\\]){re.escape(user)}(?=[/\\\s'\",:;)]|$)", "USER") for user in sorted(users - {"", "root"})]
    hosts = [name for name in (host, host.partition(".")[0]) if name not in ("", "localhost")]  # the longer one first
    rules += [(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", "HOST") for name in hosts]

    def clean(text: str) -> str:
        for pattern, name in rules:
            text = re.sub(pattern, name, text)
        return text

    return clean
