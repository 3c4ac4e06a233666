"""`lits-deploy verify`: does this bundle hold on this machine? Hashes first, then the goldens on every runtime here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lits_deploy.backends import fits, open_runtime, places
from lits_deploy.bundle import Artifact, Bundle
from lits_deploy.errors import LitsError
from lits_deploy.goldens import compare, read_golden
from lits_deploy.packed import open_bundle
from lits_deploy.runtime import RuntimeInfo


@dataclass(frozen=True, kw_only=True)
class GoldenCheck:
    """One artifact on one runtime and device against the goldens: `error` where it could not run."""

    artifact: str
    runtime: str
    device: str
    verdict: dict[str, Any]
    error: str | None = None

    @property
    def passed(self) -> bool:
        """True where it ran and agreed."""
        return self.error is None and bool(self.verdict.get("passed"))


def verify(folder: Path, *, engine_cache: Path | None = None) -> tuple[list[str], list[GoldenCheck]]:
    """Problems with the files (one line each), then a check for each artifact on each runtime here that it is for.

    Raises BundleError where the folder is no bundle at all or its manifest was altered. Where a file has a problem the
    goldens are not run: an altered network proves nothing. engine_cache: as in `runtime.open_runtime`.
    """
    bundle = open_bundle(folder)
    problems = bundle.problems()
    if problems:
        return problems, []
    slices, expected = read_golden(bundle)
    return [], [
        _check(bundle, artifact, runtime, device, slices, expected, engine_cache)
        for artifact in bundle.artifacts
        for runtime, device in places()
        if fits(artifact, runtime, device)
    ]


def _check(
    bundle: Bundle,
    artifact: Artifact,
    runtime: str,
    device: str,
    slices: npt.NDArray[np.uint8],
    expected: npt.NDArray[np.float32],
    engine_cache: Path | None,
) -> GoldenCheck:
    where = {"artifact": artifact.name, "runtime": runtime, "device": device}
    try:
        with open_runtime(
            bundle,
            runtime=runtime,
            device=device,
            artifact=artifact,
            max_batch=8,
            wanted=("probabilities",),
            engine_cache=engine_cache,
        ) as opened:
            info: RuntimeInfo = opened.describe()
            parity = compare(opened, slices, expected, artifact.tolerance)
    except LitsError as error:
        return GoldenCheck(**where, verdict={}, error=str(error))
    where["runtime"] = f"{info.name} {info.version}"
    return GoldenCheck(**where, verdict=parity.verdict())
