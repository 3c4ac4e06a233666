"""Every command that takes a bundle refuses the same bundles, with one line, and ignores the same litter."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto
from typer.testing import CliRunner

from lits_deploy.bundle import Bundle
from lits_deploy.cli.app import app
from lits_deploy.errors import UserError
from lits_deploy.files import sha256_file
from lits_deploy.runtime import openvino_
from lits_deploy.trt.flavour import FLAVOURS, installed
from tiny_bundle import make_tiny_bundle, with_manifest
from tiny_data import make_tiny_data
from tiny_unet import make_tiny_unet
from worlds import WINDOW

needs_rtx = pytest.mark.skipif(not installed(FLAVOURS[1]), reason="TensorRT for RTX is not installed (extra trt-rtx)")
needs_openvino = pytest.mark.skipif(not openvino_.installed(), reason="OpenVINO is not installed")

COMMANDS: dict[str, list[str]] = {
    "verify": ["verify", "BUNDLE"],
    "classify": ["classify", "BUNDLE", "SCANS", "--out", "OUT", "--runtime", "onnxruntime", "--workers", "1"],
    "classify openvino": ["classify", "BUNDLE", "SCANS", "--out", "OUT", "--runtime", "openvino", "--workers", "1"],
    "classify --segmenter": ["classify", "GOOD", "SCANS", "--out", "OUT", "--segmenter", "UNET", "--workers", "1"],
    "segment": ["segment", "UNET", "SCANS", "--out", "OUT", "--workers", "1"],
    "watch": ["watch", "BUNDLE", "SCANS", "--out", "OUT", "--workers", "1"],
    "benchmark": ["benchmark", "run", "BUNDLE", "--quick", "--scenario", "single-stream", "--out", "OUT"],
    "evaluate": ["evaluate", "BUNDLE", "--data", "DATA", "--out", "OUT"],
    "choose": ["choose", "BUNDLE", "--latency-ms", "1000", "--quick"],
    "export --trt": ["export", "BUNDLE", "--trt", "--compute-capability", "sm86", "--engine-cache", "OUT"],
    "inspect": ["bundle", "inspect", "BUNDLE"],
    "pack": ["bundle", "pack", "BUNDLE", "--out", "OUT"],
}


@pytest.fixture
def said(tmp_path: Path) -> object:
    data = make_tiny_data(tmp_path / "data", slices=2, patients=(1, 1, 1))
    scans = data / "test" / "images"
    make_tiny_bundle(tmp_path / "good", window_hu=WINDOW)

    def run(command: str, bundle: Bundle) -> tuple[int, str]:
        names = {
            "BUNDLE": bundle.folder,
            "UNET": bundle.folder,
            "GOOD": tmp_path / "good",
            "SCANS": scans,
            "OUT": tmp_path / "out",
            "DATA": data,
        }
        done = CliRunner().invoke(app, [str(names.get(word, word)) for word in COMMANDS[command]])
        if isinstance(done.exception, UserError):  # `app.run` prints it in one line and exits 2
            return 2, str(done.exception)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.output

    return run


def bundle_for(command: str, folder: Path) -> Bundle:
    if "UNET" in COMMANDS[command]:
        return make_tiny_unet(folder, size=256)
    return make_tiny_bundle(folder, window_hu=WINDOW)


def reach_outside(bundle: Bundle) -> Bundle:
    """The same bundle with weights in another file, which a runtime would read."""
    path = bundle.folder / "model.onnx"
    model = onnx.load(path)
    tensor = model.graph.initializer[-1]
    outside = bundle.folder.parent / "w.bin"
    outside.write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../w.bin")
    path.write_bytes(model.SerializeToString())
    artifact = bundle.manifest.artifacts[0]
    changed = {**vars(artifact), "sha256": sha256_file(path), "bytes": path.stat().st_size}
    return with_manifest(bundle, artifacts=(type(artifact)(**changed),))


def marked(command: str) -> object:
    marks = [needs_rtx] if "--trt" in command else [needs_openvino] if "openvino" in command else []
    return pytest.param(command, marks=marks, id=command)


@pytest.mark.parametrize("command", [marked(command) for command in COMMANDS])
def test_every_command_refuses_external_data_and_undeclared_files(command: str, said: object, tmp_path: Path) -> None:
    bundle = bundle_for(command, tmp_path / "bundle")
    (bundle.folder / "w.bin").write_bytes(b"x")
    code, text = said(command, bundle)  # type: ignore[operator]
    assert code == 2, text
    assert "w.bin in " in text
    assert "is not in the manifest" in text
    (bundle.folder / "w.bin").unlink()
    if command == "watch":  # it would wait for more; it opens what it finds as classify does
        return
    code, text = said(command, reach_outside(bundle))  # type: ignore[operator]
    assert code != 0 or "--segmenter" in command, text  # without outlines the report is the same report
    assert "external data" in " ".join(text.split())


@pytest.mark.parametrize("command", ["verify", "classify", "segment", "inspect", "pack", "choose"])
def test_commands_ignore_litter_alike(
    command: str, said: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = bundle_for(command, tmp_path / "bundle")
    for name in (".DS_Store", "Thumbs.db", "._model.onnx"):
        (bundle.folder / name).write_bytes(b"x")
    code, text = said(command, bundle)  # type: ignore[operator]
    assert code == 0, text
    # Long commands print it; of the others Python's logging does.
    notes = [record.getMessage() for record in caplog.records if record.name == "lits_deploy.manifest"]
    joined = " ".join(" ".join([text, *notes]).split())
    assert re.search(r"\._model\.onnx.* is ignored", joined)
