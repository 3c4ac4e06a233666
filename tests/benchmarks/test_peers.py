"""The peers' scripts answer as the pipeline does; who takes part; ratios and aims from made-up rounds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from benchmarks.candidates import spec_of
from benchmarks.folder import classify_fresh, read_labels
from benchmarks.machine import MachineRecord
from benchmarks.peers.bare_scripts import OnnxRuntimeScript, OpenVinoScript
from benchmarks.peers.common import folder_job, model_job, read_ahead, read_grey
from benchmarks.peers.contest import aims, overhead, ratio, time_spent
from benchmarks.peers.lineup import PeerScans, find_scans, lineup
from benchmarks.peers.table import lines
from benchmarks.peers.ultralytics_script import adapted
from lits_deploy.bundle import Bundle
from lits_deploy.errors import DeviceOutOfMemory
from tiny_bundle import make_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("peers") / "bundle")


def script_of(name: str, bundle: Bundle) -> Any:
    model, size = bundle.read(bundle.artifact()), bundle.manifest.contract.size
    if name == "onnxruntime":
        return OnnxRuntimeScript(model, size=size, threads=1)
    return OpenVinoScript(model, size=size, threads=1, mode=name)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> PeerScans:
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("peers") / "scans"
    folder.mkdir()
    from PIL import Image

    for index in range(11):
        grey = (rng.random((256, 256)) ** (0.3 + 0.2 * index) * 250).astype(np.uint8)
        Image.fromarray(grey).save(folder / f"{index:02d}.png")
    return find_scans([folder])


@pytest.mark.parametrize("name", ["onnxruntime", "latency", "throughput"])
def test_scripts_classify_as_the_pipeline_does(name: str, bundle: Bundle, scans: PeerScans, tmp_path: Path) -> None:
    classify_fresh(spec_of(bundle, threads=1, device="cpu"), scans.roots, tmp_path / "ours")
    labels = read_labels(tmp_path / "ours", scans.roots)
    expected = [labels[file] for file in scans.files]
    done = folder_job(script_of(name, bundle), scans.files, tmp_path / "out.csv", batch=4, workers=1)
    assert done["labels"] == expected
    assert done["wall_s"] > done["load_s"] > 0
    model = model_job(script_of(name, bundle), {"files": scans.files, "size": 256, "batches": [4, 1]})
    assert model["labels"] == expected
    assert list(model["slices_per_second"]) == ["4", "1"]
    assert (model["latency_ms"]["1"] is None) == (name == "throughput")


def test_reading_ahead_keeps_the_order(scans: PeerScans) -> None:
    pieces = list(read_ahead(scans.files, 256, 4, 2))
    assert [len(piece) for piece in pieces] == [4, 4, 3]
    whole = np.concatenate(pieces)[:, 0]
    assert all((whole[i] == read_grey(file, 256)).all() for i, file in enumerate(scans.files))


def test_ultralytics_input_leads_to_the_same_answers(bundle: Bundle, scans: PeerScans, tmp_path: Path) -> None:
    import onnxruntime

    model = onnx.load_from_string(bundle.read(bundle.artifact()).data)
    onnx.save(adapted(model, 256, ("a", "b", "c")), tmp_path / "u.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "u.onnx"), providers=["CPUExecutionProvider"])
    slices = np.stack([read_grey(file, 256) for file in scans.files])[:, np.newaxis]
    colour = np.repeat(slices.astype(np.float32) / 255.0, 3, axis=1)
    (found,) = session.run(None, {"images": colour})
    script = script_of("onnxruntime", bundle)
    script.load()
    np.testing.assert_array_equal(found, script.classify(slices))
    assert session.get_modelmeta().custom_metadata_map["task"] == "classify"


def test_who_takes_part(bundle: Bundle) -> None:
    entries = lineup(bundle, "cpu")
    names = [entry.name for entry in entries]
    assert len(set(names)) == len(names)
    assert {"plain", "plain channels_last", "torch.compile", "timm", "onnxruntime fp32"} <= set(names)
    assert {"openvino latency fp32", "openvino throughput fp32", "ultralytics fp32"} <= set(names)
    assert all(entry.ours == entry.name.startswith("ours ") for entry in entries)
    by_name = {entry.name: entry for entry in entries}
    for ours, bare in (("ours onnxruntime", "onnxruntime"), ("ours openvino", "openvino latency")):
        names = [entry.name for entry in entries if entry.bare and entry.same_file(by_name[f"{ours} fp32"])]
        assert names == [f"{bare} fp32"]


def row(name: str, wall: list[float], *, library: str = "openvino cpu", precision: str = "fp32") -> dict[str, Any]:
    ours = name.startswith("ours")
    return {
        "name": name,
        "title": name,
        "ours": ours,
        "library": library,
        "precision": precision,
        "artifact": precision,
        "batch": 8,
        "workers": 1,
        "wall": wall,
        "steady": wall,
        "load_s": 0.2,
        "peak_mb": 200.0,
        "accuracy": 0.7,
        "other_classes": 0,
        "model": None if ours else {"1": {"slices_per_second": wall, "p50_ms": 9.0}},
        "overhead": None,
    }


def test_aims_and_overhead_are_medians_of_the_rounds() -> None:
    rows = [
        row("ours fp32", [100.0, 90.0, 200.0]),
        row("ours int8", [400.0, 400.0, 400.0], precision="int8"),
        row("plain", [50.0, 60.0, 100.0], library="PyTorch cpu"),
        row("latency", [100.0, 100.0, 100.0]),
        row("throughput", [80.0, 80.0, 80.0]),
    ]
    assert ratio([2.0, 9.0], [1.0, 3.0]) == 2.5
    found = aims(rows)
    assert [(aim["aim"], aim["ratio"], aim["reached"]) for aim in found] == [
        (1.8, pytest.approx(2.0), True),
        (3.0, pytest.approx(400 / 60), True),
        (1.0, pytest.approx(1.0), True),
    ]
    assert "best peer (latency)" in found[2]["what"]
    done = {
        "wall_s": 10.0,
        "stages": {"infer_s": 8.0, "wait_s": 1.0, "decode_s": 2.0, "write_s": 0.2},
        "start_up": {"first_file_s": 0.25, "first_result_s": 0.5},
    }
    rows[0]["steady"] = [100.0, None, 150.0]
    rows[0]["overhead"] = overhead(rows[0], [200.0, 100.0, 250.0]) | time_spent(done)
    assert rows[0]["overhead"]["wall"] == pytest.approx(0.2)  # of 0.5, 0.1, 0.2
    assert rows[0]["overhead"]["steady"] == pytest.approx(0.45)  # of 0.5, 0.4
    document = MachineRecord().document(
        "peers",
        1,
        model={"name": "tiny"},
        scans="s",
        rows=rows,
        aims=found,
        failed={"timm": "timm is not installed"},
        settings={"threads": 2, "rounds": 3},
    )
    text = lines(document)
    assert any("timm is not installed" in line for line in text)
    assert text[-1] == "Not a medical device, not for clinical use."
    (cost,) = [line.split("|") for line in text if line.endswith("NOT reached |") and "20.0 %" in line]
    assert [cell.strip() for cell in cost[2:7]] == [
        "200.0 (100.0–250.0)",
        "100.0 (90.0–200.0)",
        "125.0 (100.0–150.0)",
        "20.0 %",
        "45.0 %",
    ]
    assert any("80.0 |" in line and "5.0 |" in line for line in text), "network and start of the wall"


def test_an_original_that_does_not_fit_onto_the_device_is_reported_as_any_lack_of_memory() -> None:
    torch = pytest.importorskip("torch")
    from benchmarks.torch_eager import TorchEager

    def to(_device: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    original: Any = SimpleNamespace(contract=SimpleNamespace(shape=(1, 8, 8)), module=SimpleNamespace(to=to))
    with pytest.raises(DeviceOutOfMemory, match=r"Tried to allocate 2\.00 GiB"):
        TorchEager(original)
