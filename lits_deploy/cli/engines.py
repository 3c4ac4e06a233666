"""The `--trt` part of `lits-deploy export`: its options, the builds one after another, and a table of what came out.

Needs no PyTorch: on an edge box it builds from the bundle. `export` hands over the folder and the options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lits_deploy import DISCLAIMER
from lits_deploy.errors import DeviceError, UserError

if TYPE_CHECKING:  # the command's help needs none of them
    from lits_deploy.bundle import Artifact, Bundle
    from lits_deploy.trt.cache import EngineCache
    from lits_deploy.trt.flavour import Library
    from lits_deploy.trt.prepare import Prepared
    from lits_deploy.trt.record import EngineRecord

TRT = typer.Option(False, "--trt", help="Build TensorRT engines, from a bundle too (then without PyTorch).")
PRECISION = typer.Option(
    None, help="With --trt: files to build, like fp16,int8, or tf32. [default: all files for TensorRT]"
)
MAX_BATCH = typer.Option(
    None, min=1, help="With --trt: slices that an engine takes at most. [default: by the GPU's memory, ≤ 64]"
)
OPT_BATCH = typer.Option(None, min=1, help="With --trt: slices that it is tuned for. [default: 32, or the most]")
ENGINE_CACHE = typer.Option(
    None, help="With --trt: folder of engines. [default: $LITS_DEPLOY_ENGINE_CACHE or ~/.cache/lits-deploy/engines]"
)
CACHE = typer.Option(
    None,
    "--engine-cache",
    help="With TensorRT: folder of engines. [default: $LITS_DEPLOY_ENGINE_CACHE or ~/.cache/lits-deploy/engines]",
)
"""The same folder for the commands that use engines."""
COMPUTE_CAPABILITY = typer.Option(
    None, help="With --trt: build for these GPUs instead of the one here, like sm86,sm89 (TensorRT for RTX)."
)
FLAVOUR = typer.Option(None, "--trt-flavour", help="With --trt: auto, tensorrt or rtx. [default: auto]")


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """What --trt was asked for; None leaves the choice to us."""

    precision: str | None = None
    max_batch: int | None = None
    opt_batch: int | None = None
    engine_cache: Path | None = None
    compute_capability: str | None = None
    flavour: str | None = None

    def check(self, trt: bool) -> None:
        """Before anything that takes time: UserError for options without --trt, and where no engine can be built."""
        if trt:
            self.tools()
        elif self != EngineOptions():
            raise UserError("An option for engines was given without --trt.", fix="add --trt, or leave it out")

    def tools(self) -> tuple[Library, tuple[str, ...]]:
        """The library to build with and the compute capabilities to build for; none: the GPU of this machine.

        Raises UserError where there is no such library, GPU or compute capability. `auto` is RTX where other GPUs than
        the one here are asked for: only RTX can build for them.
        """
        from lits_deploy.nvidia import gpu_here
        from lits_deploy.trt.build import check_targets
        from lits_deploy.trt.flavour import flavour_named, load
        from lits_deploy.trt.key import parse_targets

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


def is_bundle(path: Path | None) -> bool:
    """True for a bundle, packed or not: `export` then has nothing to export but engines."""
    from lits_deploy.packed import looks_like_bundle

    return path is not None and path.exists() and looks_like_bundle(path)


def build_engines(folder: Path, options: EngineOptions) -> None:
    """Build an engine for each artifact asked for, prove it where its GPU is here, and print a table.

    Raises UserError: the first artifact that cannot be built, after all the others have been; what cannot be done at
    all (no library, no GPU and no --compute-capability) at once.
    """
    from lits_deploy.cli.console import console, table
    from lits_deploy.packed import open_bundle
    from lits_deploy.trt.cache import EngineCache
    from lits_deploy.trt.prepare import artifacts_for

    opened = open_bundle(folder)
    library, targets = options.tools()
    cache = EngineCache(options.engine_cache)
    wanted = tuple(part.strip() for part in (options.precision or "").split(",") if part.strip())
    artifacts = artifacts_for(opened, wanted)
    if not artifacts:
        raise UserError(f"{folder} has no file for TensorRT.", fix="export the run again")
    console.print(f"{library} → {cache.folder}")
    rows: list[tuple[str, ...]] = []
    failures: list[UserError] = []
    for artifact in artifacts:
        try:
            prepared, record = _build_one(opened, artifact, library, targets, cache, options)
        except UserError as error:
            if failures:  # the first ends the command
                console.print(f"{artifact.name}: {error}")
            failures.append(error)
            rows.append((artifact.name, "failed", "", "", "", "", ""))
            continue
        rows.append(_row(artifact.name, prepared, record))
    header = ("artifact", "layers as built", "for", "batches", "MB", "s", "goldens")
    table(header, rows, right=("MB", "s"))
    console.print(DISCLAIMER)
    if failures:
        raise failures[0]
    if options.engine_cache is not None:
        console.print(f"next:  lits-deploy verify {folder} --engine-cache {cache.folder}")


def _build_one(
    bundle: Bundle, artifact: Artifact, library: Library, targets: tuple[str, ...], cache: EngineCache,
    options: EngineOptions,
) -> tuple[Prepared, EngineRecord]:  # fmt: skip
    from lits_deploy.cli.console import console
    from lits_deploy.runtime.device import Device
    from lits_deploy.trt import bindings
    from lits_deploy.trt.key import MAX_BATCH, Profile
    from lits_deploy.trt.open import prove_engine
    from lits_deploy.trt.prepare import prepare
    from lits_deploy.trt.room import largest_that_fits

    cuda = None if targets else bindings.open_cuda()
    gpu = cuda.describe(0) if cuda else None
    profile = Profile.for_gpu(bundle.manifest.task, gpu.memory_bytes) if gpu else Profile.up_to(MAX_BATCH)
    if options.max_batch or options.opt_batch:
        most = options.max_batch or profile.most
        profile = Profile(best=options.opt_batch or Profile.up_to(most).best, most=most)

    def attempt(profile: Profile) -> tuple[Prepared, EngineRecord]:
        with _bar(artifact.name) as on_progress:
            prepared = prepare(
                bundle, artifact, library=library, gpu=gpu, targets=targets, profile=profile, cache=cache,
                say=console.print, on_progress=on_progress,
            )  # fmt: skip
        if not prepared.why:
            console.print(f"{artifact.name}: the engine of this key is there already")
        if cuda is None:
            return prepared, prepared.record
        return prepared, prove_engine(
            bundle, artifact, prepared, library=library, cache=cache, cuda=cuda, device=Device("cuda"),
            say=console.print,
        )  # fmt: skip

    if cuda is None:
        return attempt(profile)
    insist = options.max_batch is not None or options.opt_batch is not None
    return largest_that_fits(
        profile, attempt, what=f"the engine of {artifact.name}", cuda=cuda, insist=insist, say=console.print
    )


def _row(name: str, prepared: Prepared, record: EngineRecord) -> tuple[str, ...]:
    key, built = record.key, record.as_built
    heavy = ", ".join(f"{count} {precision}" for precision, count in built["heavy"].items())
    proof = record.proof
    return (
        name,
        f"{heavy or 'none heavy'} (of {built['layers']}, {built['source']})",
        "+".join(key.targets) or str(key.gpu),
        str(key.profile),
        f"{record.bytes / 1e6:.1f}",
        f"{record.seconds:.1f}" if prepared.why else "found",
        record.note if proof is None else f"max |Δp| {proof.max_delta:.1e} (≤ {proof.tolerance:.0e})",
    )


@contextmanager
def _bar(name: str) -> Iterator[Callable[[float, str], None]]:
    from lits_deploy.cli.console import phase_bar

    with phase_bar() as bar:
        task = bar.add_task(f"engine {name}", total=1.0, phase="")
        yield lambda share, phase: bar.update(task, completed=share, phase=phase[:60])
