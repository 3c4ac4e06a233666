"""Masks of scans in an object store: their sources are read there once more, and they are the same masks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from folder_runs import SALT
from lits_deploy.bundle import Bundle
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.segmentation.run import segment_folder
from lits_deploy.storage import failures
from masked import make_unet
from pictures import encoded, grey_pixels
from planted import everything
from s3_server import S3Server
from worlds import SERIES, SIZE, Thresholds


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_unet(tmp_path_factory.mktemp("unet"))


def test_masks_are_those_of_the_same_files_in_a_folder(
    server: S3Server, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "FIRST_PAUSE_S", 0.01)
    scans, bucket = tmp_path / "scans", server.bucket(f"t-{os.urandom(6).hex()}")
    for number, series in enumerate(SERIES[:4]):
        series.write(scans / f"{number}")
    for number in range(3):
        (scans / f"{number}.png").write_bytes(encoded(grey_pixels(SIZE, number), "PNG"))
    server.put_folder(bucket, "in", scans)
    server.fault(share=0.1, status=500)

    def masks(root: Path | str, out: Path) -> dict[str, bytes]:
        with Thresholds(shape=bundle.manifest.contract.shape) as network:
            options = ClassifyOptions(salt=SALT, identify=True)
            segment_folder(bundle, [root], out, masks=("png", "nifti"), options=options, runtime=network)
        names = {path: str(path.relative_to(out)) for path in everything(out)}
        return {name: path.read_bytes() for path, name in names.items() if name.startswith(("masks", "volumes"))}

    local = masks(scans, tmp_path / "local")
    assert masks(f"s3://{bucket}/in", tmp_path / "remote") == local
    assert len(local) > 10
