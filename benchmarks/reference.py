"""The run to compare with: opened through PyTorch, and whether it is what the bundle was exported from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.candidates import Candidate
from lits_deploy.bundle import Bundle
from lits_deploy.errors import ContractError, MissingExtra


@dataclass(frozen=True, kw_only=True)
class Reference:
    """candidates: the original on each device; data: its data set's folder, which need not be there any more."""

    run: str
    checkpoint_sha256: str
    exported_from_it: bool
    candidates: list[Candidate]
    data: Path | None
    notes: tuple[str, ...] = ()

    def describe(self) -> dict[str, Any]:
        """For benchmark.json."""
        return {
            "run": self.run,
            "checkpoint_sha256": self.checkpoint_sha256,
            "exported_from_it": self.exported_from_it,
            "mode": "PyTorch eager, inference mode, default memory layout",
        }


def open_reference(bundle: Bundle, run: Path, threads: int) -> Reference:
    """Read the best checkpoint of a run.

    Raises MissingExtra without PyTorch, DataError where `run` is no run, ContractError where its input is another.
    """
    try:
        from benchmarks.torch_eager import original_candidates
        from export.source import DECLARED, from_run
    except ImportError as error:
        if (error.name or "").split(".")[0] in ("lits_deploy", "train", "export", "benchmarks"):
            raise
        raise MissingExtra(f"{error.name}, which --against needs,", "train") from error
    original = from_run(run).with_flips(bundle.manifest.model.get("flips", "none"))
    declared = bundle.manifest.training.get("window") == DECLARED
    if declared and original.contract.window_hu is None:
        original = original.with_window(bundle.manifest.contract.window_hu)
    if original.contract != bundle.manifest.contract:
        raise ContractError(
            f"{run} and the bundle take different inputs, so they cannot be compared.",
            fix=f"export it with `lits-deploy export {run}`",
        )
    checkpoint = str(original.training["checkpoint_sha256"])
    same = bundle.manifest.training.get("checkpoint_sha256") == checkpoint
    notes = () if same else (f"the bundle was not exported from the best checkpoint of {run.resolve().name}",)
    return Reference(
        run=run.resolve().name, checkpoint_sha256=checkpoint, exported_from_it=same,
        candidates=original_candidates(run, original, threads), data=original.data, notes=notes,
    )  # fmt: skip
