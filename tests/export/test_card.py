"""The model card says what a reader must know, also where it is not flattering."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from export.card import model_card
from export.confidence import fit_abstain
from lits_deploy.bundle import Artifact, Manifest
from lits_deploy.contract import InputContract


def artifact(**changes: Any) -> Artifact:
    values: dict[str, Any] = {
        "name": "fp32",
        "file": "model.onnx",
        "sha256": "0" * 64,
        "bytes": 1,
        "precision": "fp32",
        "opset": 19,
        "outputs": ("logits",),
        "tolerance": 1e-4,
        "parity": {"slices": 256, "origin": "phantoms", "max_delta": 0.0, "flipped": 0},
    }
    return Artifact(**{**values, **changes})


def card(*artifacts: Artifact, **fields: Any) -> str:
    values: dict[str, Any] = {"model": {"name": "tiny"}, "task": "classify"}
    manifest = Manifest(contract=InputContract(window_hu=None), artifacts=artifacts, files={}, **{**values, **fields})
    return model_card(manifest)


@pytest.mark.parametrize(("wrong", "says"), [(0, "95.0%, reached |"), (5, "95.0%, **not reached** |")])
def test_it_says_whether_the_wanted_accuracy_was_reached(wrong: int, says: str) -> None:
    rule = fit_abstain([0] * (60 - wrong) + [1] * wrong, np.tile([0.8, 0.1, 0.1], (60, 1)))
    fitted = {
        "fitted": True,
        "data": "data/validate",
        "split_by": "patient",
        "slices": 60,
        "patients": ["7"],
        "before": {"nll": 1.0, "ece": 0.1},
        "after": {"nll": 0.9, "ece": 0.1},
        "abstain": rule.to_json(),
    }
    assert says in card(artifact(calibration=fitted))
