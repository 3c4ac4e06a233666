"""Device names as users type them: `auto`, `cpu`, `cuda`, `cuda:1`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from lits_deploy.errors import DeviceError


@dataclass(frozen=True)
class Device:
    """A kind of device and its index; prints as `cpu` or `cuda:0`."""

    kind: Literal["cpu", "cuda"]
    index: int = 0

    def __str__(self) -> str:
        return "cpu" if self.kind == "cpu" else f"cuda:{self.index}"

    @classmethod
    def parse(cls, text: str, *, auto: Device) -> Device:
        """Read `auto` (becomes `auto`), `cpu`, `cuda` or `cuda:N`; DeviceError for anything else."""
        if text == "auto":
            return auto
        if text == "cpu":
            return cls("cpu")
        if match := re.fullmatch(r"cuda(?::(\d+))?", text):
            return cls("cuda", int(match[1] or 0))
        raise DeviceError(f"`{text}` is not a device.", fix="use auto, cpu, cuda or cuda:N")
