"""Candidates that run here, each with its answers to all slices and what those are worth: before anything is timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.accuracy import Scored, golden_agreement, headline, score
from benchmarks.candidates import Candidate
from benchmarks.inputs import Inputs
from lits_deploy.bundle import Bundle
from lits_deploy.errors import DeviceError, DeviceOutOfMemory, MissingExtra, UserError
from lits_deploy.goldens import read_golden

SCORING_BATCH = 8
"""Slices in a batch of the accuracy run; a U-Net's probabilities take 786 kB a slice."""

Row = dict[str, Any]


@dataclass
class Contender:
    """A candidate that runs here, with its answers and figures. version: of the library; providers: really in use."""

    candidate: Candidate
    scored: Scored
    figures: dict[str, Any] | None
    same: dict[str, Any] | None
    version: str
    providers: tuple[str, ...]

    def row(self, **values: Any) -> Row:
        """The columns that all rows share, and `values`."""
        candidate = self.candidate
        return {
            "runtime": candidate.runtime, "version": self.version, "device": candidate.device,
            "providers": list(self.providers), "artifact": candidate.artifact, "original": candidate.original,
            "precision": candidate.precision, "size_mb": candidate.size_bytes / 1e6, "figures": self.figures,
            "accuracy": headline(self.figures), "same_class": self.same, "error": None, "notes": [], **values,
        }  # fmt: skip


def score_all(
    candidates: list[Candidate], bundle: Bundle, inputs: Inputs, *, against_original: bool, notes: list[str],
    say: Callable[[str], None] = lambda _: None,
) -> list[Contender]:  # fmt: skip
    """Accuracy and agreement of each; what is not there is noted and left out."""
    found: list[Contender] = []
    golden = read_golden(bundle)
    for candidate in candidates:
        say(f"accuracy: {candidate.name}, {len(inputs.slices)} slices")
        try:
            with candidate.open(SCORING_BATCH, ("probabilities",)) as runtime:
                scored = score(runtime, inputs.slices, task=bundle.manifest.task, tolerance=candidate.tolerance)
                same = (
                    None
                    if against_original
                    else _same(golden_agreement(runtime, *golden), len(golden[0]), bundle, "goldens")
                )
                info = runtime.describe()
        except (DeviceError, DeviceOutOfMemory, MissingExtra) as error:
            notes.append(f"{candidate.name} is not measured: {error}")
            continue
        found.append(
            Contender(
                candidate=candidate, scored=scored, figures=scored.figures(inputs), same=same, version=info.version,
                providers=info.providers,
            )
        )  # fmt: skip
    if not found:
        raise UserError("Nothing of this bundle runs here.", fix=notes[-1] if notes else None)
    original = next((contender for contender in found if contender.candidate.original), None)
    for contender in found if original else []:
        assert original is not None
        contender.same = _same(contender.scored.same_class(original.scored), len(inputs.slices), bundle, "PyTorch")
    return found


def _same(share: float, slices: int, bundle: Bundle, by: str) -> dict[str, Any]:
    """share: of slices, for a U-Net of pixels; by: whom the original's classes come from."""
    unit = "slices" if bundle.manifest.task == "classify" else "pixels"
    return {"share": share, "slices": slices, "unit": unit, "by": by}
