"""The input contract: hashed, strict about what it knows."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lits_deploy.contract import InputContract, window_to_uint8
from lits_deploy.errors import ContractError


def test_round_trip_and_hash() -> None:
    contract = InputContract(window_hu=(-40.0, 160.0))
    again = InputContract.from_json(contract.to_json())
    assert again == contract
    assert again.sha256 == contract.sha256
    for field, value in {"window_hu": None, "crop": None, "resize": "never", "mean": 0.5, "channels": 3}.items():
        assert dataclasses.replace(contract, **{field: value}).sha256 != contract.sha256  # type: ignore[arg-type]


def test_unknown_field_is_refused() -> None:
    with pytest.raises(ContractError, match="unknown fields: gamma"):
        InputContract.from_json({**InputContract(window_hu=None).to_json(), "gamma": 2.0})


@pytest.mark.parametrize("wrong", [{"window_hu": (160.0, -40.0)}, {"crop": 300}, {"std": 0.0}])
def test_nonsense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ContractError):
        InputContract(**{"window_hu": None, **wrong})  # type: ignore[arg-type]


def test_window_maps_hu_to_8_bit() -> None:
    hu = np.array([-1000, -40, 60, 160, 3000], np.int16)
    assert window_to_uint8(hu, (-40.0, 160.0)).tolist() == [0, 0, 128, 255, 255]
