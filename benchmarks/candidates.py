"""What is compared: every artifact of a bundle on every runtime and device here, and the original on PyTorch.

A candidate knows how to open itself; it holds no runtime. `spec` is the same as JSON, for a fresh process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lits_deploy.backends import fits, open_runtime, targets
from lits_deploy.bundle import Bundle
from lits_deploy.errors import DeviceError
from lits_deploy.runtime import Runtime, RuntimeOptions


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One row's network on one runtime and device.

    size_bytes: of the artifact's file, or of the original's weights. tolerance: largest |Δp| that counts as the same.
    device: as the user would type it; original: True for the network before export. open: loads the network for batches
    up to a size; its second argument names outputs, in place of those of daily use. The caller closes it.
    """

    runtime: str
    device: str
    artifact: str
    precision: str
    size_bytes: int
    tolerance: float
    open: Callable[..., Runtime]
    spec: dict[str, Any] = field(default_factory=dict)
    original: bool = False

    @property
    def name(self) -> str:
        """For messages and the plot's legend."""
        what = self.runtime if self.original else f"{self.runtime} {self.artifact}"
        return what if self.device == "cpu" else f"{what} {self.device}"

    @property
    def key(self) -> tuple[str, str, str]:
        """As in its rows."""
        return self.runtime, self.device, self.artifact


def candidates_of(bundle: Bundle, threads: int, engine_cache: Path | None = None) -> list[Candidate]:
    """Every artifact on every runtime it is placed for and every device.

    One that turns out not to be there is dropped when it is opened.
    """
    found = []
    for runtime, device in targets():
        for artifact in bundle.artifacts:
            if not fits(artifact, runtime, device):
                continue
            spec = spec_of(bundle, threads, artifact.name, runtime, device, engine_cache)
            found.append(
                Candidate(
                    runtime=runtime,
                    device=device,
                    artifact=artifact.name,
                    precision=artifact.precision,
                    size_bytes=artifact.bytes,
                    tolerance=artifact.tolerance,
                    open=opener(bundle, spec),
                    spec=spec,
                )
            )
    return found


def spec_of(
    bundle: Bundle,
    threads: int,
    artifact: str | None = None,
    runtime: str = "auto",
    device: str = "auto",
    engine_cache: Path | None = None,
) -> dict[str, Any]:
    """What a fresh process gets of a bundle: the arguments of `open_runtime`, as JSON."""
    return {
        "bundle": str(bundle.folder.resolve()),
        "artifact": artifact,
        "runtime": runtime,
        "device": device,
        "threads": threads,
        "engine_cache": None if engine_cache is None else str(engine_cache.absolute()),
    }


def opener(bundle: Bundle, spec: dict[str, Any]) -> Callable[..., Runtime]:
    """`Candidate.open` for a `spec_of` this bundle."""

    def open_it(max_batch: int, wanted: tuple[str, ...] | None = None) -> Runtime:
        opened = open_runtime(
            bundle,
            runtime=spec["runtime"],
            device=spec["device"],
            artifact=bundle.artifact(spec["artifact"]),
            max_batch=max_batch,
            wanted=wanted,
            options=RuntimeOptions(
                insist=True,
                threads=spec["threads"],
                engine_cache=spec["engine_cache"] and Path(spec["engine_cache"]),
            ),
        )
        return taking(opened, max_batch)

    return open_it


def taking(runtime: Runtime, batch: int) -> Runtime:
    """A runtime that takes such batches; DeviceError, and it is closed, where the device had memory for less."""
    if runtime.max_batch < batch:
        runtime.close()
        raise DeviceError(f"The device has memory for batches of {runtime.max_batch}.", fix="a smaller batch")
    return runtime
