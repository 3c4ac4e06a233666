"""The run to compare with: opened through PyTorch, and whether it is what the bundle was exported from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.candidates import Candidate
from lits_deploy.bundle import Bundle
from lits_deploy.cli.extras import needs
from lits_deploy.errors import ContractError


@dataclass(frozen=True, kw_only=True)
class OriginalReference:
    """about: for benchmark.json; candidates: the original on each device; data: its data set's folder, which need not
    be there any more; notes: what a reader should know first."""

    about: dict[str, Any]
    candidates: list[Candidate]
    data: Path | None
    notes: tuple[str, ...] = ()


def open_reference(bundle: Bundle, run: Path, threads: int) -> OriginalReference:
    """Read the best checkpoint of a run.

    Raises MissingExtra without PyTorch, DataError where `run` is no run, ContractError where its input is another.
    """
    with needs("train", "--against"):
        from benchmarks.torch_eager import original_candidates
        from export.source import DECLARED, from_run
    original = from_run(run).with_flips(bundle.manifest.model.get("flips", "none"))
    declared = bundle.manifest.training.get("window") == DECLARED
    if declared and original.contract.window_hu is None:
        original = original.with_window(bundle.manifest.contract.window_hu)
    if original.contract != bundle.manifest.contract:
        raise ContractError(
            f"{run} and the bundle take different inputs, so they cannot be compared.",
            fix=f"export it with `lits-deploy export {run}`",
        )
    name, checkpoint = run.resolve().name, str(original.training["checkpoint_sha256"])
    same = bundle.manifest.training.get("checkpoint_sha256") == checkpoint
    mode = "PyTorch eager, inference mode, default memory layout"
    return OriginalReference(
        about={"run": name, "checkpoint_sha256": checkpoint, "exported_from_it": same, "mode": mode},
        candidates=original_candidates(run, original, threads),
        data=original.data,
        notes=() if same else (f"the bundle was not exported from the best checkpoint of {name}",),
    )
