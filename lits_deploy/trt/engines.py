"""Engines from a bundle, one an artifact: what `lits-deploy export BUNDLE --trt` does. Needs no PyTorch.

Prints nothing: `say` takes each line, and `progress` gives each build what shows how far it is.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from lits_deploy.bundle import Artifact, Bundle
from lits_deploy.errors import DeviceError, UserError
from lits_deploy.nvidia import gpu_here
from lits_deploy.runtime.device import Device
from lits_deploy.trt import bindings
from lits_deploy.trt.build import check_targets
from lits_deploy.trt.cache import EngineCache
from lits_deploy.trt.flavour import Library, flavour_named, load
from lits_deploy.trt.key import MAX_BATCH, Profile, parse_targets
from lits_deploy.trt.open import prove_engine
from lits_deploy.trt.prepare import Prepared, artifacts_for, prepare
from lits_deploy.trt.record import EngineRecord
from lits_deploy.trt.room import largest_that_fits

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


@dataclass(frozen=True, kw_only=True)
class Engine:
    """An artifact's engine as it was built or found; record: with the proof, where its GPU is here."""

    prepared: Prepared
    record: EngineRecord


def build_engines(
    bundle: Bundle, options: EngineOptions, *, say: Say, progress: Progress
) -> dict[str, Engine | UserError]:
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
    built: dict[str, Engine | UserError] = {}
    for artifact in artifacts:
        try:
            built[artifact.name] = _build_one(bundle, artifact, library, targets, cache, options, say, progress)
        except UserError as error:
            built[artifact.name] = error
    return built


def _build_one(
    bundle: Bundle,
    artifact: Artifact,
    library: Library,
    targets: tuple[str, ...],
    cache: EngineCache,
    options: EngineOptions,
    say: Say,
    progress: Progress,
) -> Engine:
    cuda = None if targets else bindings.open_cuda()
    gpu = cuda.describe(0) if cuda else None
    profile = Profile.for_gpu(bundle.manifest.task, gpu.memory_bytes) if gpu else Profile.up_to(MAX_BATCH)
    if options.max_batch or options.opt_batch:
        most = options.max_batch or profile.most
        profile = Profile(best=options.opt_batch or Profile.up_to(most).best, most=most)

    def attempt(profile: Profile) -> Engine:
        with progress(artifact.name) as on_progress:
            prepared = prepare(
                bundle,
                artifact,
                library=library,
                gpu=gpu,
                targets=targets,
                profile=profile,
                cache=cache,
                say=say,
                on_progress=on_progress,
            )
        if not prepared.why:
            say(f"{artifact.name}: the engine of this key is there already")
        if cuda is None:
            return Engine(prepared=prepared, record=prepared.record)
        record = prove_engine(
            bundle, artifact, prepared, library=library, cache=cache, cuda=cuda, device=Device("cuda"), say=say
        )
        return Engine(prepared=prepared, record=record)

    if cuda is None:
        return attempt(profile)
    insist = options.max_batch is not None or options.opt_batch is not None
    return largest_that_fits(profile, attempt, what=f"the engine of {artifact.name}", cuda=cuda, insist=insist, say=say)
