"""The numbers of an average of networks, moved from those that were fitted out of fold on its networks' own answers.

No patient of train and validate can tell what the average does: each taught all but one of its networks. So its
temperature, abstain threshold and operating points are moved to its answers (`export.transfer`), by slices that no
network was trained on. Every threshold then marks as many of these as the networks do that the promise was made on.
Where there are no such slices the promise says that they were not moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from export.answers import LabelledAnswer
from export.held_out import HeldOut
from export.progress import ExportProgress
from export.source import Original
from export.transfer import Answers, moved_to, unseen
from lits_deploy.bundle import Artifact
from lits_deploy.operating_point import MOVED
from lits_deploy.procedure import FOLDS
from train.data.spread import evenly

MOST = 512
"""Slices, evenly spread: each goes through every network."""

_BATCH = 16


def moved_to_average(
    held: HeldOut, artifact: Artifact, answers: Answers, networks: Sequence[Original], observer: ExportProgress
) -> Artifact:
    """The artifact of an average, fitted out of fold, with numbers for its own answers (by split); `networks`: those
    that it is the average of, which answer mirror images where it does."""
    chosen = evenly(unseen(answers), MOST)
    observer.phase("average against its networks", len(chosen) * len(networks))
    after = np.array([answer.logits for answer in chosen], np.float32)
    done = moved_to(artifact, FOLDS, np.stack([_logits(held, one, chosen, observer) for one in networks]), after)
    moved = bool(done.calibration["taken_over"]["moved_by_slices"])
    return done if moved else replace(done, promise={**done.promise, MOVED: False})


def _logits(
    held: HeldOut, network: Original, answers: Sequence[LabelledAnswer], observer: ExportProgress
) -> npt.NDArray[np.float32]:
    """Float32 [N, 3] of a classifier."""
    found = [np.zeros((0, len(held.contract.classes)), np.float32)]
    for start in range(0, len(answers), _BATCH):
        part = np.stack([held.load(answer.sample) for answer in answers[start : start + _BATCH]])
        with torch.inference_mode():
            found.append(network.module(torch.from_numpy(part))[0].numpy())
        observer.progress(len(part))
    return np.concatenate(found)
