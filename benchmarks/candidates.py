"""What is compared: every artifact of a bundle on every runtime and device here, and the original on PyTorch.

A candidate knows how to open itself; it holds no runtime. `spec` is the same as JSON, for a fresh process.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lits_deploy.backends import fits, open_runtime, places
from lits_deploy.bundle import Artifact, Bundle
from lits_deploy.errors import DeviceError
from lits_deploy.runtime import Runtime


class Opener(Protocol):
    """Opens a runtime for batches up to `max_batch`; `wanted`: outputs, None for those of daily use."""

    def __call__(self, max_batch: int, wanted: tuple[str, ...] | None = None) -> Runtime:
        """Load the network; the caller closes it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One row's network on one runtime and device.

    size_bytes: of the artifact's file, or of the original's weights. tolerance: largest |Δp| that counts as the same.
    device: as the user would type it; original: True for the network before export.
    """

    runtime: str
    device: str
    artifact: str
    precision: str
    size_bytes: int
    tolerance: float
    open: Opener
    spec: dict[str, Any] = field(default_factory=dict)
    original: bool = False

    @property
    def name(self) -> str:
        """For messages and the plot's legend."""
        what = self.runtime if self.original else f"{self.runtime} {self.artifact}"
        return what if self.device == "cpu" else f"{what} {self.device}"


def candidates_of(bundle: Bundle, threads: int, engine_cache: Path | None = None) -> list[Candidate]:
    """Every artifact on every runtime it is placed for and every device.

    One that turns out not to be there is dropped when it is opened.
    """
    return [
        Candidate(
            runtime=runtime, device=device, artifact=artifact.name, precision=artifact.precision,
            size_bytes=artifact.bytes, tolerance=artifact.tolerance,
            open=opener(bundle, artifact, runtime, device, threads, engine_cache),
            spec={
                "kind": "bundle", "bundle": str(bundle.folder.resolve()), "artifact": artifact.name,
                "runtime": runtime, "device": device, "threads": threads,
                "engine_cache": None if engine_cache is None else str(engine_cache.absolute()),
            },
        )
        for runtime, device in places()
        for artifact in bundle.artifacts
        if fits(artifact, runtime, device)
    ]  # fmt: skip


def opener(
    bundle: Bundle, artifact: Artifact, runtime: str, device: str, threads: int, engine_cache: Path | None = None
) -> Opener:
    """`open_runtime` for one artifact on one runtime and device."""

    def open_it(max_batch: int, wanted: tuple[str, ...] | None = None) -> Runtime:
        opened = open_runtime(
            bundle,
            runtime=runtime,
            device=device,
            artifact=artifact,
            max_batch=max_batch,
            insist=True,
            threads=threads,
            wanted=wanted,
            engine_cache=engine_cache,
        )
        return taking(opened, max_batch)

    return open_it


def taking(runtime: Runtime, batch: int) -> Runtime:
    """A runtime that takes such batches; DeviceError, and it is closed, where the device had memory for less."""
    if runtime.max_batch < batch:
        runtime.close()
        raise DeviceError(f"The device has memory for batches of {runtime.max_batch}.", fix="a smaller batch")
    return runtime
