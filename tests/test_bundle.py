"""Bundles: identity, refusal of what was altered."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from lits_deploy.bundle import Bundle, Manifest
from lits_deploy.errors import BundleError
from tiny_bundle import make_tiny_bundle


def test_opens_and_knows_itself(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle")
    assert bundle.sha256 == hashlib.sha256((bundle.folder / "manifest.json").read_bytes()).hexdigest()
    assert bundle.problems() == []
    assert bundle.path_of(bundle.artifact()).name == bundle.artifact().file
    with pytest.raises(BundleError, match="choose one of: fp32"):
        bundle.artifact("int4")


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no manifest\.json"):
        Bundle.open(tmp_path)
    with pytest.raises(BundleError, match="does not exist"):
        Bundle.open(tmp_path / "nowhere")


def test_altered_model_is_not_handed_out(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle")
    (bundle.folder / bundle.artifact().file).write_bytes(b"another model")
    with pytest.raises(BundleError, match="was altered"):
        bundle.path_of(bundle.artifact())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": 99}, "schema 99"),
        ({"contract_sha256": "0"}, "contract does not match"),
        ({"surprise": 1}, "not one of ours"),
        ({"artifacts": [{"name": "x"}]}, "not one of ours"),
    ],
)
def test_foreign_manifests(tmp_path: Path, change: dict[str, object], says: str) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle")
    path = bundle.folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (bundle.folder / "manifest.sha256").write_text(f"{digest}  manifest.json\n")
    with pytest.raises(BundleError, match=says):
        Bundle.open(bundle.folder)


def test_an_artifact_outside_the_folder_is_refused(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle")
    path = bundle.folder / "manifest.json"
    values = json.loads(path.read_text())
    values["artifacts"][0]["file"] = "../elsewhere.onnx"
    path.write_text(json.dumps(values))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (bundle.folder / "manifest.sha256").write_text(f"{digest}  manifest.json\n")
    (tmp_path / "elsewhere.onnx").write_bytes(b"")
    again = Bundle.open(bundle.folder)
    with pytest.raises(BundleError, match="outside the bundle"):
        again.path_of(again.artifact())


def test_text_that_is_not_unicode_is_refused_before_a_run(tmp_path: Path) -> None:
    values = make_tiny_bundle(tmp_path, size=64, crop=56).manifest.to_json()
    values["model"]["name"] = "half \ud800"
    with pytest.raises(BundleError, match="not Unicode"):
        Manifest.from_json(values)
