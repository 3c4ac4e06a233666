"""A bundle's network, open: arrays in, raw outputs of the slices that pass the gates out."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from lits_deploy.api.parameters import parameters_named
from lits_deploy.api.paths import AnyPath, bundle_of, options_of
from lits_deploy.bundle import Bundle
from lits_deploy.contract import Task
from lits_deploy.errors import UserError
from lits_deploy.pipeline import defaults
from lits_deploy.pipeline.inference import Output, Portions
from lits_deploy.pipeline.network import open_artifact, outputs_of, suitable
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.runtime import Runtime, RuntimeInfo
from lits_deploy.scans import Frame
from lits_deploy.scans.arrays import scan_of

Opened = TypeVar("Opened", bound="OpenedBundle")


class Looked(NamedTuple):
    """Slices of an array: its window, all frames in order, and the outputs of those with pixels, by index."""

    window: str
    frames: list[Frame]
    outputs: dict[int, tuple[Output, ...]]


class OpenedBundle:
    """What a classifier and a segmenter have in common. Use as a context manager, or call `close`.

    One call at a time; several networks may be open at once.
    """

    task: ClassVar[Task]

    @parameters_named()
    def __init__(
        self, bundle: Bundle | AnyPath, *, device: str = "auto", options: ClassifyOptions | None = None
    ) -> None:
        """bundle: an opened one, or the path of a folder or zip, also s3://…. device: auto, cpu, cuda or cuda:N.
        options: everything else (runtime, precision, threads, abstain, operating_point …), as the commands have it;
        those about an output folder do not matter.

        Raises BundleError (no bundle, or one for another task), DeviceError, ContractError, MissingExtra.
        """
        self.bundle = bundle_of(bundle)
        self._artifact, self._options = suitable(self.bundle, self.task, options_of(options, device))
        self._outputs = outputs_of(self.task, self._artifact)
        self._runtime: Runtime | None = open_artifact(self.bundle, self._artifact, self._options, self.task)
        self._portions = Portions(self._runtime, self._outputs)

    @property
    def info(self) -> RuntimeInfo:
        """The runtime, its version, device and precision, as they really are. Raises UserError once it is closed."""
        return self._open.describe()

    @property
    def artifact(self) -> str:
        """Name of the bundle's model file in use."""
        return self._artifact.name

    @property
    def _open(self) -> Runtime:
        if self._runtime is None:
            raise UserError("The network is closed.", fix=f"a new {type(self).__name__}, or call it within its `with`")
        return self._runtime

    def close(self) -> None:
        """Release the network; again does nothing."""
        runtime, self._runtime = self._runtime, None
        if runtime is not None:
            runtime.close()

    def __enter__(self: Opened) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _looked_at(self, array: npt.ArrayLike) -> Looked:
        network = self._open
        scan = scan_of(array, self.bundle.manifest.contract)
        frames: list[Frame] = []
        shown: list[int] = []

        def batches() -> Iterator[npt.NDArray[np.uint8]]:
            size = self._options.batch_size or min(defaults.default_batch(network.describe().device), network.max_batch)
            while some := list(islice(scan.frames, size)):
                frames.extend(some)
                shown.extend(frame.index for frame in some if frame.pixels is not None)
                if pixels := [frame.pixels for frame in some if frame.pixels is not None]:
                    yield np.stack(pixels)

        outputs = _by_slice(self._portions, batches(), network.lanes)
        frames.sort(key=lambda frame: frame.index)
        return Looked(scan.window, frames, dict(zip(shown, outputs, strict=True)))


def _by_slice(
    portions: Portions, batches: Iterator[npt.NDArray[np.uint8]], lanes: int
) -> list[tuple[npt.NDArray[Any], ...]]:
    """The outputs of each slice, [1, …] each: as many batches at once as the network has lanes."""
    with ThreadPoolExecutor(lanes, thread_name_prefix="lits-deploy-inference") as pool:
        answered = list(pool.map(portions.infer, batches))
    return [tuple(output[n : n + 1] for output in outputs) for outputs in answered for n in range(len(outputs[0]))]
