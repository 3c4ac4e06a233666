"""Goldens are numbers: a file that would run code when it is read is refused, and runs none."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from lits_deploy.bundle import Bundle
from lits_deploy.errors import BundleError
from lits_deploy.files import sha256_file
from lits_deploy.goldens import read_golden
from tiny_bundle import make_tiny_bundle, with_manifest


class Runs:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def with_golden(bundle: Bundle, **arrays: object) -> Bundle:
    """The bundle with other goldens, under a hash that matches."""
    path = bundle.folder / "golden.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return with_manifest(bundle, files={**bundle.manifest.files, "golden.npz": sha256_file(path)})


def test_the_goldens_are_read(tmp_path: Path) -> None:
    slices, expected = read_golden(make_tiny_bundle(tmp_path / "bundle"))
    assert (slices.dtype, expected.dtype) == (np.uint8, np.float32)
    assert (len(slices), expected.shape) == (3, (3, 3))


@pytest.mark.parametrize("member", ["slices", "probabilities"])
def test_a_pickle_in_the_goldens_is_refused_and_never_run(tmp_path: Path, member: str) -> None:
    slices, expected = read_golden(bundle := make_tiny_bundle(tmp_path / "bundle"))
    planted = np.array([Runs(tmp_path / "it ran")], dtype=object)
    arrays = {"slices": slices, "probabilities": expected, member: planted}
    with pytest.raises(BundleError, match=r"golden\.npz"):
        read_golden(with_golden(bundle, **arrays))
    assert not (tmp_path / "it ran").exists()
