"""Which network gives a bundle's class-activation map, and where the map's cells lie."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from lits_deploy.backends import RUNTIMES, open_runtime
from lits_deploy.bundle import Artifact, Bundle
from lits_deploy.report.pictures import MapGrid
from lits_deploy.runtime import Runtime, RuntimeInfo, RuntimeOptions

NO_MAP = "the bundle has no class-activation map"

_BATCH = 8


class MapSource(NamedTuple):
    """artifact: whose network it is; grid: of the map's cells; open: loads the network, whose only output is `cam`."""

    artifact: Artifact
    grid: MapGrid
    open: Callable[[], Runtime]


def map_source(bundle: Bundle, artifact: Artifact, info: RuntimeInfo, *, threads: int = 0) -> MapSource | None:
    """The artifact in use where it has a map, else the bundle's FP32 file on the CPU; None for a bundle without.

    info: of the runtime in use.
    """
    manifest = bundle.manifest
    grid = MapGrid.of(manifest.model, size=manifest.contract.size, crop=manifest.contract.crop)
    having = [a for a in (artifact, *manifest.artifacts) if "cam" in a.outputs]
    if grid is None or not having:
        return None
    own = having[0] is artifact and info.name in RUNTIMES  # one that can be opened again
    load = partial(
        open_runtime,
        bundle,
        runtime=info.name if own else "auto",
        device=info.device if own else "cpu",
        artifact=having[0],
        max_batch=_BATCH,
        wanted=("cam",),
        options=RuntimeOptions(threads=threads),
    )
    return MapSource(having[0], grid, load)
