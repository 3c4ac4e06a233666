"""Scans and results of the API at `s3://` and `file://`: what a folder of this machine gives."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

import lits_deploy as ld
from pictures import folder_of_slices
from s3_server import S3Server
from tiny_bundle import make_tiny_bundle
from tiny_unet import make_tiny_unet

SIZE = 64
CPU = ld.ClassifyOptions(runtime="onnxruntime", device="cpu", workers=1, salt="the same")


@pytest.fixture
def bucket(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return server.bucket(f"t-{os.urandom(6).hex()}")


def test_a_store_gives_and_gets_what_a_folder_does(
    server: S3Server, bucket: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bundle, scans = (
        make_tiny_bundle(tmp_path / "tiny", size=SIZE, crop=56),
        folder_of_slices(tmp_path / "in", 4, size=SIZE),
    )
    server.put_folder(bucket, "in", scans)
    server.put_folder(bucket, "tiny", bundle.folder)
    here, there = tmp_path / "out", f"s3://{bucket}/out"
    ld.classify_folder(bundle, scans, here, options=CPU, report=False)
    kept = replace(CPU, ledger=tmp_path / "ledger")
    summary = ld.classify_folder(f"s3://{bucket}/tiny", f"s3://{bucket}/in", there, options=kept, report=False)
    assert [path.parent for path in summary.tables] == [tmp_path / "ledger" / "results"] * 2
    for name in ("slices", "studies"):
        assert server.get(bucket, f"out/{name}.csv") == (here / f"{name}.csv").read_bytes()
        found = ld.read_results(there, name)  # type: ignore[arg-type]
        assert found == ld.read_results(here, name) == ld.read_results(f"file://{here}", name)  # type: ignore[arg-type]
    assert ld.scan(f"s3://{bucket}/in").to_json() == ld.scan(scans).to_json() == ld.scan(f"file://{scans}").to_json()
    with pytest.raises(ld.OutputError, match=rf"s3://{bucket}/out has no table `masks`"):
        ld.read_results(there, "masks")
    with pytest.raises(ld.OutputError, match=rf"s3://{bucket}/nothing has no run\.json"):
        ld.read_results(f"s3://{bucket}/nothing")
    assert capfd.readouterr() == ("", "")


def test_masks_go_into_a_store_too(server: S3Server, bucket: str, tmp_path: Path) -> None:
    unet, scans = make_tiny_unet(tmp_path / "unet", size=SIZE), folder_of_slices(tmp_path / "in", 2, size=SIZE)
    kept = replace(CPU, ledger=tmp_path / "ledger")
    ld.segment_folder(unet, f"file://{scans}", f"s3://{bucket}/out", options=kept)
    masks = ld.read_results(f"s3://{bucket}/out", "masks")
    assert [server.get(bucket, f"out/{name}")[:4] for name in masks.column("mask").to_pylist()] == [b"\x89PNG"] * 2


def test_a_run_that_is_stopped_by_an_error_uploads_nothing(server: S3Server, bucket: str, tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "tiny", size=SIZE, crop=56)
    kept = replace(CPU, ledger=tmp_path / "ledger")
    with pytest.raises(ld.UserError, match="There is no"):
        ld.classify_folder(bundle, tmp_path / "nothing", f"s3://{bucket}/out", options=kept)
    assert not [key for key in server.keys(bucket) if key.endswith("run.json")]
    with pytest.raises(ld.StorageError, match="there is no such bucket"):
        ld.classify_folder(bundle, tmp_path, "s3://nobody-made-it/out", options=kept)
