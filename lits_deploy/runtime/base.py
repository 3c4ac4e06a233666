"""The seam every runtime stands behind: uint8 slices in, `Outputs` out.

Validation happens here once; the work is in `_infer`. Knows nothing about bundles, files or folders.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from lits_deploy.errors import BundleError, ContractError
from lits_deploy.runtime import memory

Batch = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What a graph returned for N slices; None for an output it does not have or was not asked for.

    logits, probabilities: float32 [N, 3] (classifier) or probabilities [N, 3, S, S] (U-Net); labels: uint8 [N, S, S];
    cam: float32 [N, h, w], class-activation map of class 2 (`manifest.model["cam"]` says where its cells lie).
    counts: int32 [N, 2], of a pair: pixels that its U-Net calls liver (lesions included) and lesion; −1 where it did
    not look (`fusion`).
    """

    logits: npt.NDArray[np.float32] | None = None
    probabilities: npt.NDArray[np.float32] | None = None
    labels: npt.NDArray[np.uint8] | None = None
    cam: npt.NDArray[np.float32] | None = None
    counts: npt.NDArray[np.int32] | None = None


@dataclass(frozen=True, kw_only=True)
class RuntimeInfo:
    """What really runs: `providers` are those in use after loading, not those asked for.

    profile: batches that a TensorRT engine was built for (`trt.key.Profile`), which its answers depend on; engine: the
    SHA-256 of its file.
    """

    name: str
    version: str
    device: str
    precision: str
    providers: tuple[str, ...]
    profile: str | None = None
    engine: str | None = None


@dataclass(frozen=True, kw_only=True)
class RuntimeOptions:
    """What a network may take of this machine, and how it is opened there.

    threads, lanes: on a CPU; `lanes` calls of `infer` may be under way at once, each on its share of the threads (0:
    every core that this process may use). memory_limit_mib: on a CPU, what loading may take beside the weights, and a
    batch for each of its slices. insist: batches as large as asked for are tried on a GPU in any case (see
    `trt.open.open_tensorrt`). engine_cache: folder where TensorRT finds its engine, or builds it first, which may take
    minutes; None: `trt.cache.default_folder`.
    """

    threads: int = 0
    lanes: int = 1
    memory_limit_mib: int = memory.DEFAULT_MIB
    insist: bool = False
    engine_cache: Path | None = None


DEFAULTS = RuntimeOptions()


class Runtime(ABC):
    """A loaded network. Use as a context manager; `infer` takes up to `max_batch` slices, ragged batches allowed."""

    name: ClassVar[str]

    def __init__(self, *, shape: tuple[int, int, int], max_batch: int, lanes: int = 1) -> None:
        """lanes: calls of `infer` that may be under way at once, from threads of their own."""
        self.shape, self.max_batch, self.lanes = shape, max_batch, lanes

    def infer(self, batch: Batch) -> Outputs:
        """Run uint8 [N, C, H, W], 1 ≤ N ≤ max_batch, in any memory layout, read-only or not; it is left as it is.

        Raises ContractError, DeviceOutOfMemory, DeviceError, and BundleError where the network fails while it runs: no
        library's own exception leaves here.
        """
        if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[1:] != self.shape:
            got, want = f"{batch.dtype} {list(batch.shape)}", f"uint8 [N, {', '.join(map(str, self.shape))}]"
            raise ContractError(f"The network takes {want}, not {got}.", fix="prepare slices with lits_deploy.scans")
        if not 1 <= len(batch) <= self.max_batch:
            raise ContractError(f"{len(batch)} slices in a batch of 1…{self.max_batch}.", fix="split the batch")
        outputs = self._infer(batch)
        for name, values in vars(outputs).items():
            if values is not None and (values.ndim < 2 or len(values) != len(batch)):
                raise BundleError(
                    f"The network answers {len(batch)} slices with `{name}` of {list(values.shape)}.",
                    fix="export again",
                )
        return outputs

    @abstractmethod
    def _infer(self, batch: Batch) -> Outputs: ...

    @abstractmethod
    def describe(self) -> RuntimeInfo:
        """Name, version, device, precision and the providers actually in use."""

    def close(self) -> None:  # noqa: B027 - a runtime may have nothing to release
        """Release the device; called once by the context manager."""

    def __enter__(self) -> Runtime:
        return self

    def __exit__(self, *_: object) -> Any:
        self.close()
