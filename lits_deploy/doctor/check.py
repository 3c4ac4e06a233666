"""A row of doctor's answer, the commands that install things, and the removal of names from what people paste."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import platform
import pwd
import re
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, Literal

from lits_deploy.nvidia import gpu_here
from lits_deploy.nvidia import is_jetson as is_jetson

State = Literal["ok", "warning", "missing", "broken"]
Section = Literal["runtimes", "gpu", "machine", "folders", "libraries"]

JETSON_INDEX = "https://pypi.jetson-ai-lab.io/jp6/cu126"
"""NVIDIA's wheels for JetPack 6: PyPI has no onnxruntime-gpu for Python 3.10 on 64-bit ARM (November 2025)."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at.

    state: ok; warning: works, but slower or less safely than it could; missing: not installed or not there, which is
    no fault by itself; broken: there, and does not work. found: what was seen, one line. fix: what to type, or None.
    works: a runtime that gave the right answer. details: the same as numbers and names, for JSON.
    """

    section: Section
    name: str
    state: State
    found: str
    fix: str | None = None
    works: bool = False
    details: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary for JSON; `Check(**…)` reads it back."""
        return dataclasses.asdict(self)


def row(
    section: Section, name: str, state: State, found: str, fix: str | None = None, details: dict[str, Any] | None = None
) -> Check:
    """A `Check` in one line; modules call it with their section filled in."""
    return Check(section=section, name=name, state=state, found=found, fix=fix, details=details or {})


def version_of(distribution: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def first_line(error: object, most: int = 300) -> str:
    """The first line of what an error says, `most` characters at most; its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip()[:most]


def install_command(extra: str) -> str:
    """What to type to get an extra of lits-deploy."""
    if extra == "gpu" and platform.machine() == "aarch64" and sys.version_info < (3, 11):
        return f"pip install onnxruntime-gpu --index-url {JETSON_INDEX}"
    extra = "jetson" if extra == "trt" and is_jetson() else extra  # TensorRT is JetPack's own there
    return f"pip install 'lits-deploy[{extra}]'"


def onnxruntime_command() -> str:
    """What to type to get ONNX Runtime for this machine: with CUDA where there is an NVIDIA driver."""
    return install_command("gpu" if gpu_here() else "cpu")


def is_installed(module: str) -> bool:
    """True where a module is found; nothing is imported (a package above it is, where the name has a dot)."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


class Private:
    """Takes home folder, user names and host name out of texts: people paste doctor's answer into issues."""

    def __init__(self) -> None:
        home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
        self._home = home if len(home) > 1 and home != "/root" else None
        users = {os.environ.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER")}
        with suppress(KeyError):  # a container's user number may have no name
            users.add(pwd.getpwuid(os.getuid()).pw_name)
        self._users = sorted(name for name in users - {"", "root"})
        host = platform.node()
        self._hosts = sorted({host, host.partition(".")[0]} - {"", "localhost"}, key=len, reverse=True)

    def text(self, text: str) -> str:
        """The text without them. User names go where they are a folder of a path, host names where they are a word."""
        if self._home is not None:
            text = re.sub(rf"{re.escape(self._home)}(?![\w.-])", "~", text)
        for user in self._users:
            text = re.sub(rf"(?<=[/\\]){re.escape(user)}(?=[/\\\s'\",:;)]|$)", "USER", text)
        for host in self._hosts:
            text = re.sub(rf"(?<![\w.-]){re.escape(host)}(?![\w-])", "HOST", text)
        return text

    def check(self, check: Check) -> Check:
        """The same row without them."""
        fix = check.fix and self.text(check.fix)
        return dataclasses.replace(check, found=self.text(check.found), fix=fix, details=self._value(check.details))

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self._value(item) for key, item in value.items()}
        return [self._value(item) for item in value] if isinstance(value, (list, tuple)) else value
