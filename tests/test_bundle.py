"""Bundles: identity, refusal of what was altered."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from lits_deploy.bundle import Bundle
from lits_deploy.errors import BundleError
from lits_deploy.runtime import Device
from lits_deploy.runtime.onnxruntime_ import OnnxRuntime
from tiny_bundle import make_tiny_bundle, seal_manifest, write_raw_manifest
from tiny_points import POINTS


def test_opens_and_knows_itself(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle")
    assert bundle.sha256 == hashlib.sha256((bundle.folder / "manifest.json").read_bytes()).hexdigest()
    assert bundle.problems() == []
    assert bundle.read(bundle.artifact()).data == (bundle.folder / bundle.artifact().file).read_bytes()
    with pytest.raises(BundleError, match="choose one of: fp32"):
        bundle.artifact("int4")


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no manifest\.json"):
        Bundle.open(tmp_path)
    with pytest.raises(BundleError, match="There is no"):
        Bundle.open(tmp_path / "nowhere")


def test_altered_model_is_not_handed_out(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle")
    (bundle.folder / bundle.artifact().file).write_bytes(b"another model")
    with pytest.raises(BundleError, match="was altered"):
        bundle.read(bundle.artifact())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": 99}, "schema 99"),
        ({"schema": []}, "`schema` is not a whole number"),
        ({"contract_sha256": "0"}, "contract does not match"),
        ({"surprise": 1}, r"does not know \(surprise\)"),
        ({"artifacts": [{"name": "x"}]}, "not one of ours"),
        ({"artifacts": []}, "artifacts is not"),
        ({"artifacts": [7]}, r"artifacts\[0\] is not a record"),
        ({"artifacts": {"a": 1}}, "artifacts is not"),
        ({"task": "dance"}, "task is not"),
        ({"task": ["classify"]}, "task is not"),
        ({"model": "resnet"}, "model is not"),
        ({"files": ["README.md"]}, "files is not"),
        ({"files": {"../x": "0" * 64}}, "files is not"),
        ({"files": {f"{n}": "0" * 64 for n in range(300)}}, "files is not"),
        ({"metrics": None}, "metrics is not"),
        ({"contract": []}, "contract is not"),
        ({"contract": {"window_hu": None, "size": 1_000_000}}, "contract.size is not"),
        ({"contract": {"window_hu": None, "size": True}}, "contract.size is not"),
        ({"contract": {"window_hu": [1]}}, "contract.window_hu is not"),
        ({"contract": {"window_hu": None, "classes": "abc"}}, "contract.classes is not"),
        ({"contract": {"window_hu": None, "std": "1"}}, "contract.std is not"),
    ],
)
def test_foreign_manifests(tmp_path: Path, change: dict[str, object], says: str) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle")
    write_raw_manifest(bundle.folder, json.dumps({**bundle.manifest.to_json(), **change}))
    with pytest.raises(BundleError, match=says) as caught:
        Bundle.open(bundle.folder)
    assert "\n" not in str(caught.value)


NO_POINTS: tuple[dict[str, object], ...] = (
    {"rule": 7},
    {"threshold": None},
    {"threshold": 0.0},
    {"threshold": -1.0},
    {"threshold": "1"},
    {"sensitivity": None},
    {"sensitivity": {"value": 1.5, "low": None, "high": None}},
    {"sensitivity": {"value": None, "low": None, "high": None}},
    {"specificity": {"value": 0.5, "low": 0.1}},
    {"patients": {"with_lesion": 1, "found": 1, "without": 0}},
    {"patients": {"with_lesion": 1, "found": -1, "without": 0, "marked": 0}},
    {"curve": []},
)
"""Changes that make an operating point none."""


@pytest.mark.parametrize(
    "change",
    [
        {"file": "../elsewhere.onnx"},
        {"file": "/etc/passwd"},
        {"file": "-rf"},
        {"file": ".hidden"},
        {"file": 7},
        {"file": ""},
        {"name": ""},
        {"name": 3},
        {"sha256": None},
        {"sha256": "0" * 63},
        {"bytes": -1},
        {"bytes": 1.5},
        {"bytes": True},
        {"outputs": []},
        {"outputs": "logits"},
        {"outputs": [1]},
        {"tolerance": "1"},
        {"temperature": None},
        {"temperature": 0},
        {"temperature": -1.5},
        {"abstain_below": "0.5"},
        {"runtimes": "openvino"},
        {"devices": [None]},
        {"gate": []},
        {"gate": {"passed": 0}},
        {"gate": {"passed": False, "failures": "all"}},
        {"parity": None},
        {"opset": "19"},
        {"precision": None},
        {"file": "README.md"},
        {"file": "Manifest.json"},
        {"operating_point": "balanced"},
        {"operating_point": None},
        {"operating_points": {}},
        {"operating_points": [7]},
        {"operating_points": [POINTS[1], POINTS[1]]},
        *({"operating_points": [{**POINTS[1], **one}]} for one in NO_POINTS),
        {"operating_points": [{key: value for key, value in POINTS[1].items() if key != "patients"}]},
        {"operating_points": [{**POINTS[0], "threshold": 1.0}]},
        {"promise": None},
    ],
)
def test_artifacts_of_other_types(tmp_path: Path, change: dict[str, object]) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle", size=32, crop=28)
    values = bundle.manifest.to_json()
    values["artifacts"][0].update(change)
    write_raw_manifest(bundle.folder, json.dumps(values))
    with pytest.raises(BundleError) as caught:
        Bundle.open(bundle.folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["a/b.onnx", "/etc/passwd", "..", "a\\b.onnx", "C:x.onnx", "x\n.onnx", "-x.onnx", "~x"]
)
def test_a_name_that_is_a_way_is_refused_for_that(tmp_path: Path, name: str) -> None:
    """Before anything is looked for under it."""
    bundle = make_tiny_bundle(tmp_path / "bundle", size=32, crop=28)
    values = bundle.manifest.to_json()
    values["artifacts"][0]["file"] = name
    write_raw_manifest(bundle.folder, json.dumps(values))
    with pytest.raises(BundleError, match=r"artifacts\[0\]\.file is not what it must be"):
        Bundle.open(bundle.folder)


def test_manifests_that_are_no_plain_json(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle", size=32, crop=28)
    good = json.dumps(bundle.manifest.to_json())

    def says(text: str, expected: str) -> None:
        write_raw_manifest(bundle.folder, text)
        with pytest.raises(BundleError, match=expected) as caught:
            Bundle.open(bundle.folder)
        assert "\n" not in str(caught.value)

    says("[" * 200_000, "too deep")
    says(good.replace('"metrics": {}', f'"metrics": {{"a": {"[" * 40}{"]" * 40}}}'), "too deep")
    says(good.replace('"temperature": 1.0', '"temperature": NaN'), "NaN is no number")
    says(good.replace('"temperature": 1.0', '"temperature": Infinity'), "Infinity is no number")
    says(good.replace('"temperature": 1.0', '"temperature": 1e999'), "too large")
    says(good.replace('"metrics": {}', f'"metrics": {{"a": 1{"0" * 400}}}'), "too large")
    says(good.replace('"metrics": {}', '"metrics": {}, "metrics": {}'), "comes twice")
    says(good.replace('"metrics": {}', '"metrics": {"a": "\\ud800"}'), "not JSON")
    says("[]", "not a record")
    says("", "not JSON")
    says(good + " " * (4 << 20), "cannot be read")
    (bundle.folder / "manifest.json").write_bytes(good.encode().replace(b"tiny", b"t\xffny"))
    seal_manifest(bundle.folder)
    with pytest.raises(BundleError, match="not JSON"):
        Bundle.open(bundle.folder)
    write_raw_manifest(bundle.folder, good)
    assert Bundle.open(bundle.folder).problems() == []


def read_all(folder: Path) -> None:
    bundle = Bundle.open(folder)
    bundle.golden()
    bundle.read(bundle.artifact())


def test_links_and_pipes_are_no_files_of_a_bundle(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle", size=32, crop=28)
    for name in ("model.onnx", "golden.npz", "manifest.json", "manifest.sha256"):
        path, aside = bundle.folder / name, tmp_path / name
        path.rename(aside)
        for harm in (lambda p, to=aside: p.symlink_to(to), os.mkfifo):
            harm(path)
            with pytest.raises(BundleError, match=f"{name} (is a link|cannot be read)"):
                read_all(bundle.folder)
            path.unlink()
        aside.rename(path)


def test_what_is_handed_out_is_what_was_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file swapped the moment after it was opened or read changes nothing: no path is opened twice."""
    bundle = make_tiny_bundle(tmp_path / "bundle", size=32, crop=28)
    good = {path.name: path.read_bytes() for path in bundle.folder.iterdir()}
    opened: list[str] = []
    real = os.open

    def swapped(path: object, *more: object, **options: object) -> int:
        handle = real(path, *more, **options)  # type: ignore[call-overload]
        if isinstance(path, Path) and path.parent == bundle.folder:
            opened.append(path.name)
            path.unlink()
            path.write_bytes(b"another")
        return int(handle)

    monkeypatch.setattr("lits_deploy.files.os.open", swapped)
    again = Bundle.open(bundle.folder)
    model = again.read(again.artifact())
    golden = again.golden()
    monkeypatch.undo()
    assert sorted(opened) == ["golden.npz", "manifest.json", "manifest.sha256", "model.onnx"]
    assert (model.data, golden, again.sha256) == (good["model.onnx"], good["golden.npz"], bundle.sha256)
    OnnxRuntime(model, device=Device("cpu"), precision="fp32", shape=(1, 32, 32), wanted=("logits",), max_batch=1)
    with pytest.raises(BundleError, match="altered"):
        again.read(again.artifact())


def test_what_file_managers_leave_is_ignored_with_one_note(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle", size=32, crop=28)
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "._model.onnx"):
        (bundle.folder / name).write_bytes(b"x")
    (bundle.folder / "__MACOSX").mkdir()
    (bundle.folder / "__MACOSX" / "._manifest.json").write_bytes(b"x")
    for _ in range(2):
        assert Bundle.open(bundle.folder).problems() == []
    (note,) = [record.getMessage() for record in caplog.records]
    assert ".DS_Store, ._model.onnx, Thumbs.db, __MACOSX, desktop.ini" in note
    assert "ignored" in note


@pytest.mark.parametrize("name", ["w.bin", "thumbs.db.onnx", ".manifest.json.swp", "README.md~", "folder"])
def test_any_other_file_is_refused(tmp_path: Path, name: str) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle", size=32, crop=28)
    (bundle.folder / name).mkdir() if name == "folder" else (bundle.folder / name).write_bytes(b"x")
    with pytest.raises(BundleError, match=f"{name} in .* is not in the manifest"):
        Bundle.open(bundle.folder)
