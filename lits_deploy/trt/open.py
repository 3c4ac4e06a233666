"""From an artifact to a running engine: found or built, proven on this GPU, loaded.

The order is the gate: hash against record, record against key, goldens, and only then is the runtime handed out.
"""

from __future__ import annotations

import functools
import logging
import time
from dataclasses import replace

from lits_deploy import nvidia
from lits_deploy.bundle import Artifact, Bundle
from lits_deploy.errors import DeviceError, EngineError, UserError
from lits_deploy.goldens import compare, read_golden
from lits_deploy.nvidia import Trouble
from lits_deploy.printable import printable
from lits_deploy.runtime.base import DEFAULTS, RuntimeOptions
from lits_deploy.runtime.device import Device
from lits_deploy.trt import bindings, flavour
from lits_deploy.trt.build import supported_targets
from lits_deploy.trt.cache import EngineCache, PreparedEngine, side_name
from lits_deploy.trt.engine import LoadedEngine
from lits_deploy.trt.key import OptimisationProfile
from lits_deploy.trt.prepare import EngineJob, largest_that_fits, prepare
from lits_deploy.trt.record import EngineRecord, Proof
from lits_deploy.trt.runtime import TensorRt


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
    flavour_name: str = "auto",
    options: RuntimeOptions = DEFAULTS,
) -> TensorRt:
    """An artifact on TensorRT: with the engine of the cache that is for this very GPU, driver and file, or a new one.

    It takes batches of up to `max_batch` or, where the GPU's memory holds no more, fewer: no more than its default
    profile has, unless `options` insist. What is built or proven, and why, and when batches are smaller is logged as a
    warning.
    Raises DeviceError without a GPU and where its memory holds no engine, MissingExtra without a library, EngineError
    where it cannot be built or fails its goldens.
    """
    if device.kind != "cuda":
        raise DeviceError(
            f"TensorRT runs on an NVIDIA GPU, not on the {device}.", fix="--device cuda or --runtime auto"
        )
    cuda = bindings.open_cuda()
    gpu = cuda.describe(device.index)
    library, cache = flavour.load(flavour_name), EngineCache(options.engine_cache)
    job = EngineJob(bundle=bundle, artifact=artifact, library=library, cache=cache, cuda=cuda, device=device, say=_log)
    cuda.set_device(device.index)
    room = OptimisationProfile.for_gpu(bundle.manifest.task, gpu.memory_bytes)
    most = max_batch if options.insist else min(max_batch, room.most)
    if most < max_batch:
        job.say(f"{gpu.name} has {gpu.memory_bytes / 2**30:.1f} GiB: batches up to {most}")
    first = room if most <= room.most else OptimisationProfile.up_to(most)

    def attempt(profile: OptimisationProfile) -> TensorRt:
        # not at least `most` again for a smaller one: the larger one that was found does not fit
        prepared = prepare(job, profile, at_least=most if profile == first else None)
        prove(job, prepared)
        return _open(job, prepared, wanted, min(most, profile.most))

    return largest_that_fits(job, first, attempt)


def prove(job: EngineJob, prepared: PreparedEngine) -> EngineRecord:
    """Run the bundle's goldens through an engine for the GPU here, unless they have passed on it before; its record.

    In full batches and the first slice alone, because TensorRT picks other kernels for other batches. Raises
    EngineError, with the worst golden, where they differ from the original's outputs by more than the artifact's
    tolerance or by a class.
    """
    record, artifact, gpu = prepared.record, job.artifact, job.gpu
    assert gpu is not None
    if record.proven_on(gpu):
        return record
    started = time.perf_counter()
    slices, expected = read_golden(job.bundle)
    with _open(job, prepared, ("probabilities",), record.key.max_batch) as network:
        parity = compare(network, slices, expected, artifact.tolerance)
        alone = compare(network, slices[:1], expected[:1], artifact.tolerance)
    failed = next((found for found in (parity, alone) if not found.passed), None)
    if failed is not None:
        worst = f"; worst: {failed.lines()[0]}" if failed.lines() else ""
        raise EngineError(
            f"The engine of {artifact.name} fails the goldens on {gpu.name}: max |Δp| {failed.max_delta:.1e} "
            f"(≤ {artifact.tolerance:.0e}), {failed.flipped} flipped{worst}.",
            fix="use another --artifact, or --runtime onnxruntime; it is not used until it passes",
        )
    proof = Proof(
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        driver=gpu.driver,
        slices=parity.slices,
        max_delta=max(parity.max_delta, alone.max_delta),
        tolerance=artifact.tolerance,
        date=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    )
    record = replace(record, proof=proof, note="")
    now = EngineRecord.read(job.cache.folder / f"{record.key.digest}.json")
    if now is not None and now.sha256 == record.sha256:  # else it was built anew meanwhile
        record.write(job.cache.folder)
    job.say(
        f"goldens pass on {gpu.name}: {artifact.name}, {proof.slices} slices, max |Δp| "
        f"{proof.max_delta:.1e} (≤ {proof.tolerance:.0e}), {time.perf_counter() - started:.1f} s"
    )
    return record


def _open(job: EngineJob, prepared: PreparedEngine, wanted: tuple[str, ...], max_batch: int) -> TensorRt:
    """Load the engine, with what RTX compiled for it on this GPU and driver before."""
    cache, gpu = job.cache, job.gpu
    assert job.cuda is not None
    assert gpu is not None
    name = side_name("runtime", prepared.record.key.digest, gpu.name, gpu.driver)
    kept = cache.read_side(name) if job.library.is_rtx else b""

    def keep(blob: bytes) -> None:
        if blob and blob != kept:
            cache.write_side(name, blob)

    engine = LoadedEngine(job.library, prepared.data, runtime_cache=kept, keep=keep)
    try:
        return TensorRt(
            engine,
            job.cuda,
            device=job.device,
            precision=job.artifact.precision,
            shape=job.bundle.manifest.contract.shape,
            wanted=wanted,
            max_batch=max_batch,
            record=prepared.record,
        )
    except BaseException:
        engine.close()
        raise


def _log(line: str) -> None:
    logging.getLogger(__name__).warning(printable(line))
