"""Find an engine for an artifact, or build it and say why. Nothing here runs a network."""

from __future__ import annotations

import dataclasses
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TypeVar

from lits_deploy.bundle import TF32, Artifact, Bundle
from lits_deploy.errors import DeviceOutOfMemory, UserError
from lits_deploy.files import sha256_bytes
from lits_deploy.model_file import ModelFile
from lits_deploy.nvidia import no_tf32
from lits_deploy.resource_errors import no_room
from lits_deploy.runtime.device import Device
from lits_deploy.trt.bindings import Cuda, GpuIdentity
from lits_deploy.trt.build import Built, OnProgress, build, check_targets
from lits_deploy.trt.cache import EngineCache, PreparedEngine, side_name
from lits_deploy.trt.flavour import Library
from lits_deploy.trt.key import EngineKey, OptimisationProfile
from lits_deploy.trt.layers import Layer, as_built, keeps_promise, parse_listing
from lits_deploy.trt.record import NOT_PROVEN, EngineRecord

RUNTIME = "tensorrt"
"""The name that artifacts placed for TensorRT carry among their runtimes."""


FIRST_GPU = Device("cuda")

Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True)
class EngineJob:
    """The engine of an artifact: with what it is made, and for which GPU.

    cuda, device: the GPU here; cuda None: the engine is for `targets` (like `sm86`), wherever they are. say: gets a
    line when one is built or proven, and why, and when smaller batches are tried.
    """

    bundle: Bundle
    artifact: Artifact
    library: Library
    cache: EngineCache
    cuda: Cuda | None = None
    device: Device = FIRST_GPU
    targets: tuple[str, ...] = ()
    say: Callable[[str], None] = lambda _: None

    @cached_property
    def gpu(self) -> GpuIdentity | None:
        """The GPU here."""
        return self.cuda.describe(self.device.index) if self.cuda else None

    def key(self, profile: OptimisationProfile) -> EngineKey:
        """Of its engine for batches of that profile."""
        gpu = self.gpu
        return EngineKey(
            bundle=self.bundle.sha256,
            artifact=self.artifact.name,
            artifact_sha256=self.artifact.sha256,
            precision=self.artifact.precision,
            flavour=self.library.flavour.name,
            version=self.library.version,
            platform=f"{sys.platform}-{platform.machine()}",
            gpu=gpu.name if gpu else None,
            compute_capability=gpu.compute_capability if gpu else None,
            driver=gpu.driver if gpu else None,
            targets=self.targets,
            best_batch=profile.best,
            max_batch=profile.most,
        )


def prepare(
    job: EngineJob,
    profile: OptimisationProfile,
    *,
    at_least: int | None = None,
    on_progress: OnProgress = lambda _share, _phase: None,
) -> PreparedEngine:
    """An engine of an artifact whose file's hash was checked.

    profile: what is built; at_least: an engine that takes so many slices will do, None: only one of that profile.
    Raises EngineError where it cannot be built.
    """
    artifact, library, gpu = job.artifact, job.library, job.gpu
    if not artifact.placed_for(RUNTIME):
        raise UserError(f"{artifact.name} is not placed for TensorRT.", fix="export with --int8: it makes one that is")
    old = [sm for sm in job.targets or (gpu.sm if gpu else "",) if int(sm[2:]) < 80]
    if old and artifact.precision == TF32:
        raise no_tf32(f"{', '.join(old)} is older")
    check_targets(library, job.targets)
    with job.bundle.read(artifact) as model:  # first: an engine of an altered file is not used either
        return _prepare(job, profile, model, at_least, on_progress)


def _prepare(
    job: EngineJob, profile: OptimisationProfile, model: ModelFile, at_least: int | None, on_progress: OnProgress
) -> PreparedEngine:
    """As `prepare`, for a file that was read."""
    artifact, library, cache, gpu = job.artifact, job.library, job.cache, job.gpu
    key = job.key(profile)
    need = key if at_least is None else dataclasses.replace(key, max_batch=at_least)
    found, _ = cache.find(need, larger=at_least is not None)
    if found is not None:
        return found
    with cache.lock(key):
        found, why = cache.find(need, larger=at_least is not None)  # another process may have built it meanwhile
        if found is not None:
            return found
        job.say(f"building the {library.flavour.title} engine of {artifact.name}: {why}")
        timing = side_name("timing", library.flavour.name, library.version, gpu.name if gpu else "none")
        built = build(
            library,
            model,
            profile,
            targets=job.targets,
            use_gpu=partial(job.cuda.set_device, job.device.index) if job.cuda else lambda: None,
            tf32=artifact.precision == TF32,
            timing_cache=b"" if job.targets else cache.read_side(timing),
            on_progress=on_progress,
        )
        record = _record(key, built, library, gpu)
        if line := _broken_promise(record):
            job.say(line)
        if built.timing_cache:
            cache.write_side(timing, built.timing_cache)
        cache.store(record, built.data)
    return PreparedEngine(record, built.data, why)


def largest_that_fits(
    job: EngineJob,
    profile: OptimisationProfile,
    attempt: Callable[[OptimisationProfile], Made],
    *,
    insist: bool = False,
) -> Made:
    """What `attempt` makes of the profile, or of the next smaller one for which the GPU has memory.

    insist: no smaller one will do. Raises DeviceError that says how much memory was missing.
    """
    what = f"the engine of {job.artifact.name} with batches up to"
    while True:
        try:
            return attempt(profile)
        except DeviceOutOfMemory as error:
            smaller = None if insist else profile.smaller()
            if smaller is None:
                fix = "--max-batch smaller" if insist else "another --artifact, or --device cpu"
                free = job.cuda.free_memory() if job.cuda else None
                fix = f"other programs off the GPU, {fix}"
                raise no_room(f"{what} {profile.most}", error, free=free, fix=fix) from error
            job.say(f"no memory for {what} {profile.most}; trying {smaller.most} ({error})")
            profile = smaller


def artifacts_for(bundle: Bundle, precisions: tuple[str, ...] = ()) -> list[Artifact]:
    """The artifacts that TensorRT may take, of these precisions (none: of all); UserError where one has none."""
    if not precisions:
        return [artifact for artifact in bundle.manifest.artifacts if artifact.placed_for(RUNTIME)]
    fitting = [artifact for artifact in bundle.artifacts if artifact.placed_for(RUNTIME)]
    chosen = []
    for precision in dict.fromkeys(precisions):
        of_it = [artifact for artifact in fitting if precision in (artifact.precision, artifact.name)]
        if not of_it:
            there = ", ".join(dict.fromkeys(artifact.precision for artifact in fitting)) or "none"
            raise UserError(
                f"{bundle.folder} has no {precision} file for TensorRT (it has: {there}).",
                fix=f"choose from those, or export the run again with --{precision}",
            )
        chosen += [artifact for artifact in of_it if artifact not in chosen]
    return chosen


def inspect(library: Library, data: bytes) -> list[Layer]:
    """Layers of an engine that was just built here, from TensorRT's inspector; needs the GPU. May be empty."""
    runtime = library.make("Runtime", library.logger)
    engine = library.need(runtime.deserialize_cuda_engine(data), "does not load what it has built")
    inspector = library.need(engine.create_engine_inspector(), "does not describe what it has built")
    listing = inspector.get_engine_information(library.trt.LayerInformationFormat.ONELINE)
    return parse_listing(str(listing).split("\n"))  # not splitlines: node names are parted by \x1e


def _record(key: EngineKey, built: Built, library: Library, gpu: GpuIdentity | None) -> EngineRecord:
    layers, source = built.layers, "build log"
    if not key.targets and (inspected := inspect(library, built.data)):
        layers, source = inspected, "inspector"
    return EngineRecord(
        key=key,
        sha256=sha256_bytes(built.data),
        bytes=len(built.data),
        seconds=round(built.seconds, 2),
        cuda=gpu.cuda if gpu else None,
        as_built=as_built(layers, source),
        built_at=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        note=NOT_PROVEN,
    )


def _broken_promise(record: EngineRecord) -> str | None:
    """A line where the engine computes in something else than its artifact is called after; None where it does not."""
    heavy, precision = record.as_built["heavy"], record.key.precision
    if keeps_promise(heavy, precision):
        return None
    what = ", ".join(f"{count} in {name}" for name, count in heavy.items())
    return (
        f"warning: the engine of {record.key.artifact} does not compute in {precision}: of its heavy layers {what} "
        f"({record.as_built['source']}); expect neither the speed nor the error of {precision}"
    )
