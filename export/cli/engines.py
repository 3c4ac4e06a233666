"""The `--trt` part of `lits-deploy export`: its bar, and a table of what came out. Needs no PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lits_deploy import DISCLAIMER
from lits_deploy.errors import UserError

if TYPE_CHECKING:  # the command's help needs none of them
    from lits_deploy.trt.bundle_engines import EngineOptions
    from lits_deploy.trt.cache import PreparedEngine


def build(folder: Path, options: EngineOptions, *, as_json: bool = False) -> dict[str, Any]:
    """Build a bundle's engines; their records. Prints a table of them unless `as_json`.

    Raises UserError: the first that failed, when all are done.
    """
    from lits_deploy.bundle import Bundle
    from lits_deploy.cli.console import console, table
    from lits_deploy.trt.bundle_engines import build_engines
    from lits_deploy.trt.cache import EngineCache

    built = build_engines(Bundle.open(folder), options, say=console.print, progress=_bar)
    failures = {name: engine for name, engine in built.items() if isinstance(engine, UserError)}
    for name, failure in [*failures.items()][1:]:  # the first ends the command
        console.print(f"{name}: {failure}")
    if as_json and not failures:
        return {name: engine.record.to_json() for name, engine in built.items() if not isinstance(engine, UserError)}
    header = ("artifact", "layers as built", "for", "batches", "MB", "s", "goldens")
    rows = [(name, *_cells(engine)) for name, engine in built.items()]
    table(header, rows, right=("MB", "s"))
    console.print(DISCLAIMER)
    for failure in failures.values():
        raise failure
    if options.engine_cache is not None:
        cache = EngineCache(options.engine_cache)
        console.print(f"next:  lits-deploy verify {folder} --engine-cache {cache.folder}")
    return {}


def _cells(engine: PreparedEngine | UserError) -> tuple[str, ...]:
    if isinstance(engine, UserError):
        return ("failed", "", "", "", "", "")
    record = engine.record
    key, built, proof = record.key, record.as_built, record.proof
    heavy = ", ".join(f"{count} {precision}" for precision, count in built["heavy"].items())
    return (
        f"{heavy or 'none heavy'} (of {built['layers']}, {built['source']})",
        "+".join(key.targets) or str(key.gpu),
        str(key.profile),
        f"{record.bytes / 1e6:.1f}",
        f"{record.seconds:.1f}" if engine.why else "found",
        record.note if proof is None else f"max |Δp| {proof.max_delta:.1e} (≤ {proof.tolerance:.0e})",
    )


@contextmanager
def _bar(name: str) -> Iterator[Callable[[float, str], None]]:
    from lits_deploy.cli.console import phase_bar

    with phase_bar() as bar:
        task = bar.add_task(f"engine {name}", total=1.0, phase="")
        yield lambda share, phase: bar.update(task, completed=share, phase=phase[:60])
