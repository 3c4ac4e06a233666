"""Engines from a bundle, one an artifact: what `lits-deploy export BUNDLE --trt` does. Needs no PyTorch.

Prints nothing: `say` takes each line, and `progress` gives each build what shows how far it is.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from lits_deploy.bundle import Bundle
from lits_deploy.errors import DeviceError, UserError
from lits_deploy.nvidia import gpu_here
from lits_deploy.trt import bindings
from lits_deploy.trt.build import check_targets
from lits_deploy.trt.cache import EngineCache, PreparedEngine
from lits_deploy.trt.flavour import Library, flavour_named, load
from lits_deploy.trt.key import MAX_BATCH, OptimisationProfile, parse_targets
from lits_deploy.trt.open import prove
from lits_deploy.trt.prepare import EngineJob, artifacts_for, largest_that_fits, prepare

Say = Callable[[str], None]
Progress = Callable[[str], AbstractContextManager[Callable[[float, str], None]]]
"""Of an artifact's name: a context whose value takes the share that is done and the name of the phase."""


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """What --trt was asked for; None leaves the choice to us."""

    precision: str | None = None
    max_batch: int | None = None
    opt_batch: int | None = None
    engine_cache: Path | None = None
    compute_capability: str | None = None
    flavour: str | None = None

    def tools(self) -> tuple[Library, tuple[str, ...]]:
        """The library to build with and the compute capabilities to build for; none: the GPU of this machine.

        Raises UserError where there is no such library, GPU or compute capability. `auto` is RTX where other GPUs than
        the one here are asked for: only RTX can build for them.
        """
        targets = parse_targets(self.compute_capability)
        name = self.flavour or "auto"
        if name != "auto":
            flavour_named(name)
        if not targets and not gpu_here():
            raise DeviceError(
                "There is no NVIDIA GPU here to build an engine for.",
                fix="build on the box; or for other GPUs, with --trt-flavour rtx --compute-capability sm86,sm89",
            )
        library = load("rtx" if targets and name == "auto" else name)
        check_targets(library, targets)
        return library, targets


def build_engines(
    bundle: Bundle, options: EngineOptions, *, say: Say, progress: Progress
) -> dict[str, PreparedEngine | UserError]:
    """Build an engine for each artifact asked for, and prove it where its GPU is here; why there is none.

    Raises UserError, at once, for what cannot be done at all: no library, no GPU and no --compute-capability.
    """
    library, targets = options.tools()
    cache = EngineCache(options.engine_cache)
    wanted = tuple(part.strip() for part in (options.precision or "").split(",") if part.strip())
    artifacts = artifacts_for(bundle, wanted)
    if not artifacts:
        raise UserError(f"{bundle.folder} has no file for TensorRT.", fix="export the run again")
    say(f"{library} → {cache.folder}")
    built: dict[str, PreparedEngine | UserError] = {}
    parts = dict.fromkeys((part.prefix, one.name) for each in artifacts for part, one in bundle.networks(each))
    both = {part.prefix: part for part in (bundle, bundle.segmenter) if part is not None}
    for prefix, name in parts:
        artifact = both[prefix].artifact(name)
        try:
            job = EngineJob(
                bundle=both[prefix],
                artifact=artifact,
                library=library,
                cache=cache,
                cuda=None if targets else bindings.open_cuda(),
                targets=targets,
                say=say,
            )
            built[prefix + name] = _build_one(job, options, progress)
        except UserError as error:
            built[prefix + name] = error
    return built


def _build_one(job: EngineJob, options: EngineOptions, progress: Progress) -> PreparedEngine:
    """An artifact's engine as it was built or found; its record with the proof, where its GPU is here."""
    gpu = job.gpu
    profile = (
        OptimisationProfile.for_gpu(job.bundle.manifest.task, gpu.memory_bytes)
        if gpu
        else OptimisationProfile.up_to(MAX_BATCH)
    )
    if options.max_batch or options.opt_batch:
        most = options.max_batch or profile.most
        profile = OptimisationProfile(best=options.opt_batch or OptimisationProfile.up_to(most).best, most=most)

    def attempt(profile: OptimisationProfile) -> PreparedEngine:
        with progress(job.artifact.name) as on_progress:
            prepared = prepare(job, profile, on_progress=on_progress)
        if not prepared.why:
            job.say(f"{job.artifact.name}: the engine of this key is there already")
        return prepared if gpu is None else replace(prepared, record=prove(job, prepared))

    if gpu is None:
        return attempt(profile)
    insist = options.max_batch is not None or options.opt_batch is not None
    return largest_that_fits(job, profile, attempt, insist=insist)
