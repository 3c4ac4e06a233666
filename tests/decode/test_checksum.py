"""The checksum that copies are found by."""

from __future__ import annotations

import numpy as np
import pytest

from lits_deploy.decode.checksum import checksum


@pytest.mark.parametrize("side", [256, 30, 1])
def test_equal_slices_have_one_checksum_and_others_do_not(side: int) -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 256, (side, side), dtype=np.uint8)
    seen = {checksum(first)}
    assert checksum(np.asfortranarray(first)) in seen
    for _ in range(200):
        other = first.copy()
        other.ravel()[rng.integers(0, first.size)] ^= rng.integers(1, 256, dtype=np.uint8)
        assert checksum(other) not in seen
    if side > 1:
        assert checksum(first[::-1]) not in seen


def test_it_stays_what_it_was() -> None:
    """Ledgers hold it."""
    assert checksum(np.arange(256, dtype=np.uint8).reshape(16, 16)) == -8160786063602669056
