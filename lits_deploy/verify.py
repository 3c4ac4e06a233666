"""`lits-deploy verify`: does this bundle hold on this machine? Hashes first, then the goldens on every runtime here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lits_deploy.backends import fits, open_runtime, targets
from lits_deploy.bundle import Bundle
from lits_deploy.errors import LitsError
from lits_deploy.goldens import compare, read_golden
from lits_deploy.runtime import RuntimeOptions


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
    bundle = Bundle.open(folder)
    problems = bundle.problems()
    if problems:
        return problems, []
    checks = _checks(bundle, engine_cache)
    return [], checks if bundle.segmenter is None else [*checks, *_checks(bundle.segmenter, engine_cache)]


def shown(bundle: Bundle, name: str) -> str:
    """What an artifact is called here: those of a pair's U-Net differ from the classifier's."""
    return bundle.prefix + name


def _checks(bundle: Bundle, engine_cache: Path | None) -> list[GoldenCheck]:
    goldens = read_golden(bundle)
    options = RuntimeOptions(engine_cache=engine_cache)
    opening = partial(open_runtime, bundle, max_batch=8, wanted=("probabilities",), options=options)
    checks = []
    for artifact in bundle.artifacts:
        for runtime, device in targets():
            if fits(artifact, runtime, device):
                where = {"artifact": shown(bundle, artifact.name), "runtime": runtime, "device": device}
                try:
                    with opening(runtime=runtime, device=device, artifact=artifact) as opened:
                        info = opened.describe()
                        verdict = compare(opened, *goldens, artifact.tolerance).verdict()
                    checks.append(GoldenCheck(**{**where, "runtime": f"{info.name} {info.version}"}, verdict=verdict))
                except LitsError as error:
                    checks.append(GoldenCheck(**where, verdict={}, error=str(error)))
    return checks
