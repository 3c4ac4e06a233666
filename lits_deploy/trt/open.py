"""From an artifact to a running engine: found or built, proven on this GPU, loaded.

The order is the gate: hash against record, record against key, goldens, and only then is the runtime handed out.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lits_deploy import nvidia
from lits_deploy.bundle import Artifact, Bundle
from lits_deploy.errors import DeviceError, UserError
from lits_deploy.nvidia import Trouble
from lits_deploy.printable import printable
from lits_deploy.runtime.device import Device
from lits_deploy.trt import bindings, flavour
from lits_deploy.trt.build import OnProgress, supported_targets
from lits_deploy.trt.cache import EngineCache, side_name
from lits_deploy.trt.cuda import Cuda, Gpu
from lits_deploy.trt.engine import Engine, LoadedEngine
from lits_deploy.trt.flavour import Library
from lits_deploy.trt.gate import prove
from lits_deploy.trt.key import Profile
from lits_deploy.trt.prepare import Prepared, keep_proof, prepare
from lits_deploy.trt.record import EngineRecord
from lits_deploy.trt.room import largest_that_fits
from lits_deploy.trt.runtime import TensorRt

Load = Callable[[Library, bytes, bytes], Engine]
"""(library, engine, what RTX compiled before) → the loaded engine."""


def tensorrt_trouble() -> Trouble | None:
    """Why TensorRT does not compute on the first GPU here; None where nothing speaks against it.

    Asked once in a process; imports nothing where there is no GPU. TensorRT for RTX lists the GPUs it is made for; on
    another (a data centre's sm90, a Jetson) it is tried only when it is asked for by name.
    """
    return _tried() if nvidia.gpu_here() else nvidia.NO_GPU


@functools.cache
def _tried() -> Trouble | None:
    if not flavour.installed():
        return Trouble("TensorRT is not installed", "pip install 'lits-deploy[trt]'")
    if found := nvidia.trouble("TensorRT", 0):
        return found
    try:
        gpu = bindings.open_cuda().describe(0)
        library = flavour.load("auto")
    except UserError as error:
        return Trouble(error.message.rstrip("."), error.fix or "lits-deploy doctor")
    if library.is_rtx and gpu.sm not in supported_targets(library):
        return Trouble(f"{library} is not made for {gpu.name}", "--runtime tensorrt tries it all the same")
    return nvidia.memory_trouble()


def open_tensorrt(
    bundle: Bundle,
    artifact: Artifact,
    *,
    device: Device,
    wanted: tuple[str, ...],
    max_batch: int,
    insist: bool = False,
    flavour_name: str = "auto",
    engine_cache: Path | None = None,
    say: Callable[[str], None] | None = None,
    on_progress: OnProgress = lambda _share, _phase: None,
    cuda: Cuda | None = None,
    load: Load | None = None,
) -> TensorRt:
    """An artifact on TensorRT: with the engine of the cache that is for this very GPU, driver and file, or a new one.

    It takes batches of up to `max_batch` or, where the GPU's memory holds no more, fewer: no more than its default
    profile has, unless `insist` has a larger one tried first. engine_cache: its folder; None: the user's. say: gets a
    line when an engine is built or proven, and why, and when batches are smaller; None logs it as a warning. cuda,
    load: for tests.
    Raises DeviceError without a GPU and where its memory holds no engine, MissingExtra without a library, EngineError
    where it cannot be built or fails its goldens.
    """
    if device.kind != "cuda":
        raise DeviceError(
            f"TensorRT runs on an NVIDIA GPU, not on the {device}.", fix="--device cuda or --runtime auto"
        )
    say = say or _log
    cuda = cuda or bindings.open_cuda()
    gpu = cuda.describe(device.index)
    library = flavour.load(flavour_name)
    cache = EngineCache(engine_cache)
    cuda.set_device(device.index)
    room = Profile.for_gpu(bundle.manifest.task, gpu.memory_bytes)
    most = max_batch if insist else min(max_batch, room.most)
    if most < max_batch:
        say(f"{gpu.name} has {gpu.memory_bytes / 2**30:.1f} GiB: batches up to {most}")
    first = room if most <= room.most else Profile.up_to(most)
    opener = _Opener(bundle, artifact, device, library, cache, cuda, gpu, load or _load)

    def attempt(profile: Profile) -> TensorRt:
        prepared = prepare(
            bundle, artifact, library=library, gpu=gpu, use_gpu=partial(cuda.set_device, device.index), profile=profile,
            cache=cache, say=say, on_progress=on_progress,
            at_least=most if profile == first else None,  # the larger one that was found does not fit
        )  # fmt: skip
        opener.prove(prepared, say)
        return opener.open(prepared, wanted, min(most, profile.most))

    return largest_that_fits(first, attempt, what=f"the engine of {artifact.name}", cuda=cuda, say=say)


def prove_engine(
    bundle: Bundle, artifact: Artifact, prepared: Prepared, *, library: Library, cache: EngineCache, cuda: Cuda,
    device: Device, say: Callable[[str], None], load: Load | None = None,
) -> EngineRecord:  # fmt: skip
    """Run the goldens through an engine of this machine, unless they have passed here before; its record."""
    gpu = cuda.describe(device.index)
    return _Opener(bundle, artifact, device, library, cache, cuda, gpu, load or _load).prove(prepared, say)


class _Opener:
    """What loading an engine takes, apart from the engine."""

    def __init__(
        self, bundle: Bundle, artifact: Artifact, device: Device, library: Library, cache: EngineCache, cuda: Cuda,
        gpu: Gpu, load: Load,
    ) -> None:  # fmt: skip
        self._bundle, self._artifact, self._device, self._library = bundle, artifact, device, library
        self._cache, self._cuda, self._gpu, self._load = cache, cuda, gpu, load

    def prove(self, prepared: Prepared, say: Callable[[str], None]) -> EngineRecord:
        """Keeps the proof in the record. Raises EngineError where the goldens fail."""
        record = prepared.record
        if record.proven_on(self._gpu):
            return record
        started = time.perf_counter()
        with self.open(prepared, ("probabilities",), record.key.max_batch) as network:
            proof = prove(network, self._bundle, self._artifact, self._gpu)
        record = record.with_proof(proof)
        keep_proof(self._cache, record)
        say(
            f"goldens pass on {self._gpu.name}: {self._artifact.name}, {proof.slices} slices, max |Δp| "
            f"{proof.max_delta:.1e} (≤ {proof.tolerance:.0e}), {time.perf_counter() - started:.1f} s"
        )
        return record

    def open(self, prepared: Prepared, wanted: tuple[str, ...], max_batch: int) -> TensorRt:
        """Load the engine, with what RTX compiled for it on this GPU and driver before."""
        gpu, digest = self._gpu, prepared.record.key.digest
        name = side_name("runtime", digest, gpu.name, gpu.driver)
        kept = self._cache.read_side(name) if self._library.is_rtx else b""

        def keep(blob: bytes) -> None:
            if blob and blob != kept:
                self._cache.write_side(name, blob)

        engine = self._load(self._library, prepared.data, kept)
        try:
            return TensorRt(
                engine, self._cuda, device=self._device, precision=self._artifact.precision,
                shape=self._bundle.manifest.contract.shape, wanted=wanted, max_batch=max_batch,
                profile=str(prepared.record.key.profile), on_close=keep,
            )  # fmt: skip
        except BaseException:
            engine.close()
            raise


def _load(library: Library, data: bytes, runtime_cache: bytes) -> Engine:
    return LoadedEngine(library, data, runtime_cache=runtime_cache)


def _log(line: str) -> None:
    logging.getLogger(__name__).warning("%s", printable(line))
