"""The original of a training run, whether it is one of folds or not."""

from __future__ import annotations

from pathlib import Path

from export.choices import Checkpoint, Flips, Networks
from export.source import Original, from_run
from export.source_of_folds import from_folds
from lits_deploy.errors import UserError
from lits_deploy.operating_point import ARGMAX
from train import runs_folder
from train.data.layout import read_layout


def original_of(
    run: Path, *, networks: Networks | None = None, checkpoint: Checkpoint | None = None, data: Path | None = None
) -> Original:
    """What a run is exported from. networks: of a folded run [best]; checkpoint: of any other [best]; data: the data
    set, where it is not where the run was trained.

    Raises DataError where there is nothing to export, UserError for a choice that the run does not have.
    """
    if data is not None:
        read_layout(data, ("validate",))  # asked for by name: never phantoms in its place
    if runs_folder.is_folded(run):
        if checkpoint == "best":
            raise UserError(
                f"The best checkpoints of {run} were chosen on the patients that the folds are measured on.",
                fix="leave --checkpoint out",
            )
        return from_folds(run, networks or "best", data).with_data(data)
    if networks is not None:
        raise UserError(f"{run} is not a folded run, which --from is for.", fix="leave --from out")
    return from_run(run, choice=checkpoint or "best").with_data(data)


def as_asked(original: Original, *, rule: str, flips: Flips, cam: bool | None) -> Original:
    """The original with what an export was asked for. cam: None where the network has one, True or False.

    Raises UserError for a rule that only classifiers have, or a map that the network has not.
    """
    if rule != ARGMAX and original.info.task != "classify":
        raise UserError("An operating point is for classifiers.", fix="leave it out")
    original = original.with_flips(flips)
    return original.with_cam() if (original.has_cam if cam is None else cam) else original
