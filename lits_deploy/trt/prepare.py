"""Find an engine for an artifact, or build it and say why. Nothing here runs a network."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass

from lits_deploy.bundle import TF32, Artifact, Bundle
from lits_deploy.errors import DeviceError, UserError
from lits_deploy.files import sha256_bytes
from lits_deploy.nvidia import no_tf32
from lits_deploy.trt.build import Built, OnProgress, build, check_targets
from lits_deploy.trt.cache import EngineCache, side_name
from lits_deploy.trt.cuda import Gpu
from lits_deploy.trt.flavour import Library
from lits_deploy.trt.key import EngineKey, Profile, key_for
from lits_deploy.trt.layers import Layer, as_built, keeps_promise, parse_listing
from lits_deploy.trt.record import NOT_PROVEN, EngineRecord

RUNTIME = "tensorrt"
"""The name that artifacts placed for TensorRT carry among their runtimes."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """An engine ready to be loaded. why: it was built; empty where it was found."""

    record: EngineRecord
    data: bytes
    why: str


def prepare(
    bundle: Bundle,
    artifact: Artifact,
    *,
    library: Library,
    gpu: Gpu | None,
    targets: tuple[str, ...] = (),
    use_gpu: Callable[[], None] = lambda: None,
    profile: Profile,
    at_least: int | None = None,
    cache: EngineCache,
    say: Callable[[str], None] = lambda _: None,
    on_progress: OnProgress = lambda _share, _phase: None,
) -> Prepared:
    """An engine of an artifact whose file's hash was checked, for this GPU, or for `targets` wherever they are.

    use_gpu: makes `gpu` the calling thread's. profile: what is built; at_least: an engine that takes so many slices
    will do, None: only one of that profile.
    Raises DeviceError without GPU and targets, EngineError where it cannot be built.
    """
    if gpu is None and not targets:
        raise DeviceError(
            "There is no NVIDIA GPU here to build an engine for.",
            fix="build on the box, or for other GPUs with --trt-flavour rtx --compute-capability sm86,sm89",
        )
    if not artifact.placed_for(RUNTIME):
        raise UserError(f"{artifact.name} is not placed for TensorRT.", fix="export with --int8: it makes one that is")
    old = [sm for sm in targets or (gpu.sm if gpu else "",) if int(sm[2:]) < 80]
    if old and artifact.precision == TF32:
        raise no_tf32(f"{', '.join(old)} is older")
    check_targets(library, targets)
    model = bundle.read(artifact)  # first: an engine of an altered file is not used either
    key = key_for(
        bundle, artifact, flavour=library.flavour.name, version=library.version, gpu=None if targets else gpu,
        targets=targets, profile=profile,
    )  # fmt: skip
    need = key if at_least is None else dataclasses.replace(key, max_batch=at_least)
    found, _ = cache.find(need, larger=at_least is not None)
    if found is not None:
        return Prepared(record=found.record, data=found.data, why="")
    with cache.lock(key):
        found, why = cache.find(need, larger=at_least is not None)  # another process may have built it meanwhile
        if found is not None:
            return Prepared(record=found.record, data=found.data, why="")
        say(f"building the {library.flavour.title} engine of {artifact.name}: {why}")
        timing = side_name("timing", library.flavour.name, library.version, gpu.name if gpu else "none")
        built = build(
            library, model, profile, targets=targets, use_gpu=use_gpu, tf32=artifact.precision == TF32,
            timing_cache=b"" if targets else cache.read_side(timing), on_progress=on_progress,
        )  # fmt: skip
        record = _record(key, built, library, gpu)
        if line := _broken_promise(record):
            say(line)
        if built.timing_cache:
            cache.write_side(timing, built.timing_cache)
        cache.store(record, built.data)
    return Prepared(record=record, data=built.data, why=why)


def keep_proof(cache: EngineCache, record: EngineRecord) -> None:
    """Write the record of a proven engine, unless the engine was built anew meanwhile."""
    now = EngineRecord.read(cache.folder / f"{record.key.digest}.json")
    if now is not None and now.sha256 == record.sha256:
        record.write(cache.folder)


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


def _record(key: EngineKey, built: Built, library: Library, gpu: Gpu | None) -> EngineRecord:
    layers, source = built.layers, "build log"
    if not key.targets and (inspected := inspect(library, built.data)):
        layers, source = inspected, "inspector"
    return EngineRecord(
        key=key, sha256=sha256_bytes(built.data), bytes=len(built.data), seconds=round(built.seconds, 2),
        cuda=gpu.cuda if gpu else None, as_built=as_built(layers, source),
        built_at=time.strftime("%Y-%m-%dT%H:%M:%S%z"), note=NOT_PROVEN,
    )  # fmt: skip


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
