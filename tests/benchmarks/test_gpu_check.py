"""The GPU check on a machine without one: it refuses in a line, and its parts work on the CPU."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import gpu_check
from benchmarks.gpu_check import MINUTES, PARTS, CheckPart, main
from benchmarks.gpu_networks import make_subject
from benchmarks.gpu_rows import Contestant, GpuSubject, check_network, contestants_of
from benchmarks.gpu_table import read, table
from benchmarks.latency import MeasuringEffort
from fake_runtime import FakeRuntime
from lits_deploy import exits
from lits_deploy.errors import DeviceError
from lits_deploy.nvidia import gpu_here
from lits_deploy.program import outcome
from lits_deploy.runtime import Runtime
from lits_deploy.trt.flavour import FLAVOURS
from train.data.slices import slice_name, write_slice

BRIEF = MeasuringEffort(samples=11, cap_s=0.05, floor=3, warmup_calls=2, warmup_s=0.0, warmup_cap_s=0.1)
SHAPE = (1, 16, 16)


def fake(error: float = 0.0, **options: Any) -> Any:
    class Wrong(FakeRuntime):
        def _infer(self, batch: Any) -> Any:
            found = super()._infer(batch)
            return dataclasses.replace(found, probabilities=found.probabilities + np.float32([error, -error, 0]))

    def open_it(max_batch: int, wanted: tuple[str, ...]) -> Runtime:
        return Wrong(shape=SHAPE, max_batch=max_batch, **options)

    return open_it


def refuses(max_batch: int, wanted: tuple[str, ...]) -> Runtime:
    raise DeviceError("not here", fix="elsewhere")


def breaks(max_batch: int, wanted: tuple[str, ...]) -> Runtime:
    raise RuntimeError("no C++ compiler\nand a long explanation")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    slices = np.random.default_rng(0).integers(0, 256, (8, *SHAPE), dtype=np.uint8)
    expected = FakeRuntime(shape=SHAPE).infer(slices[:6]).probabilities
    assert expected is not None
    contestants = [
        Contestant(name=name, precision="fp32", tolerance=1e-4, open=way)
        for name, way in (
            ("good", fake()),
            ("wrong", fake(0.01)),
            ("missing", refuses),
            ("broken", breaks),
            ("small", fake(memory_for=4)),
        )
    ]
    subject = GpuSubject(name="net", slices=slices, expected=expected, wanted=("logits",), contestants=contestants)
    return check_network(subject, (1, 8), effort=BRIEF)


def test_every_contestant_has_a_row_and_only_right_answers_are_timed(rows: list[dict[str, Any]]) -> None:
    assert [(row["runtime"], row["batch"]) for row in rows] == [
        (name, batch) for batch in (1, 8) for name in ("good", "wrong", "missing", "broken", "small")
    ]
    by_name = {(row["runtime"], row["batch"]): row for row in rows}
    for batch in (1, 8):
        good = by_name["good", batch]
        assert good["error"] is None
        assert good["slices_per_second"] > 0
        assert (good["max_delta"] < 1e-6, good["labels_equal"]) == (True, 1.0)
        assert "not the original's" in by_name["wrong", batch]["error"]
        assert by_name["wrong", batch]["latency_ms"] is None
        assert by_name["missing", batch]["error"] == "not here Fix: elsewhere"
        assert by_name["broken", batch]["error"] == "RuntimeError: no C++ compiler"
    assert by_name["small", 1]["error"] is None
    assert "holds 4 slices" in by_name["small", 8]["error"]


def test_labels_that_differ_are_counted() -> None:
    slices = np.zeros((8, *SHAPE), np.uint8)
    slices[:2] = 255  # class 1; the others are of class 0
    expected = FakeRuntime(shape=SHAPE).infer(slices).probabilities
    assert expected is not None
    one = Contestant(name="turned", precision="int8", tolerance=2.0, open=fake(-5.0))
    subject = GpuSubject(name="net", slices=slices, expected=expected, wanted=("logits",), contestants=[one])
    assert [row["labels_equal"] for row in check_network(subject, (8,), effort=BRIEF)] == [0.25]


def test_large_batches_are_open_one_at_a_time_and_none_is_timed_smaller() -> None:
    slices = np.zeros((64, *SHAPE), np.uint8)
    expected = FakeRuntime(shape=SHAPE).infer(slices[:6]).probabilities
    assert expected is not None
    now: list[Runtime] = []
    most: dict[int, int] = {}

    class Counted(FakeRuntime):
        def close(self) -> None:
            now.remove(self)

    def opened(max_batch: int, wanted: tuple[str, ...], limit: int = 64) -> Runtime:
        now.append(Counted(shape=SHAPE, max_batch=min(limit, max_batch)))
        most[max_batch] = max(len(now), most.get(max_batch, 0))
        return now[-1]

    ways = {"one": opened, "two": opened, "small": partial(opened, limit=4)}
    contestants = [Contestant(name=name, precision="fp32", tolerance=1e-4, open=way) for name, way in ways.items()]
    subject = GpuSubject(name="net", slices=slices, expected=expected, wanted=("logits",), contestants=contestants)
    rows = check_network(subject, (1, 64), effort=BRIEF)
    assert most == {1: 3, 64: 1}
    assert not now
    assert [row["error"] for row in rows[:5]] == [None] * 5
    assert rows[5]["error"].startswith("The device has memory for batches of 4.")


def test_the_table_shows_speeds_and_reasons_of_whatever_parts_there_are(rows: list[dict[str, Any]]) -> None:
    rates = {row["batch"]: row["slices_per_second"] for row in rows if row["runtime"] == "good"}
    records = {
        "machine": {"gpu": {"name": "NVIDIA X", "compute_capability": "9.0", "driver": "580.1", "torch": "2.11"}},
        "torch": {"rows": [{**row, "eager_slices_per_second": rates[row["batch"]]} for row in rows], "notes": ["busy"]},
        "rtx": {"skipped": "no wheel | none", "notes": ["busy"]},
    }
    text = table(records)
    assert text[0] == "NVIDIA X, compute capability 9.0, driver 580.1, PyTorch 2.11"
    assert sum(line.startswith("| net | 8 |") for line in text) == 5
    assert any("RuntimeError: no C++ compiler" in line for line in text)
    assert any("| 1.00 |" in line and "| 100.00% |" in line for line in text)
    assert {line.replace(r"\|", "").count("|") for line in text if line.startswith("| net")} == {10}
    assert r"| rtx | no wheel \| none | – | – |" in text
    assert text.count("note: busy") == 1
    assert text[-1] == "Not a medical device, not for clinical use."
    assert table({})[0].startswith("no GPU")


@pytest.mark.skipif(gpu_here(), reason="this machine has a GPU")
def test_without_a_gpu_it_refuses_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(lambda: main([])) == exits.USER_ERROR
    captured = capsys.readouterr()
    assert (
        captured.err == "error: gpu_check needs an NVIDIA GPU, and there is none here. Fix: --dry-run, or elsewhere\n"
    )
    root = Path(gpu_check.__file__).parent.parent
    done = subprocess.run(
        ["bash", "scripts/gpu_check.sh"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"},
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


@pytest.mark.slow
def test_a_random_unet_is_the_same_in_pytorch_and_on_onnxruntime(tmp_path: Path) -> None:
    """On the CPU, where a GPU would be: the bundle, the checks and the eager peers are the real ones."""
    pictures = np.random.default_rng(0).integers(0, 256, (6, 1, 256, 256), dtype=np.uint8)
    subject = make_subject(
        "unet", tmp_path, [("onnxruntime", "cpu")], device="cpu", pictures=pictures, width=2, modes=("eager fp32",)
    )
    assert [(c.name, c.precision) for c in subject.contestants] == [
        ("PyTorch eager", "fp32"),
        ("onnxruntime cpu", "fp32"),
        ("onnxruntime cpu", "fp16"),
    ]
    rows = check_network(subject, (1, 4), effort=BRIEF)
    assert [row["error"] for row in rows] == [None] * 6
    assert all(row["max_delta"] <= row["tolerance"] for row in rows)


def test_each_installed_tensorrt_is_a_contestant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import gpu_rows
    from tiny_bundle import make_tiny_bundle

    bundle = make_tiny_bundle(tmp_path / "bundle")
    monkeypatch.setattr(gpu_rows, "installed", lambda _: True)
    here = [("onnxruntime", "cuda:0"), ("tensorrt", "cuda:0")]
    for precision in ("fp32", "tf32"):
        names = [c.name for c in contestants_of(bundle, here) if c.precision == precision]
        assert names == ["onnxruntime cuda:0", "TensorRT", "TensorRT for RTX"]
    some = [c.name for c in contestants_of(bundle, here, FLAVOURS[1:])]
    assert some == ["onnxruntime cuda:0"] * 2 + ["TensorRT for RTX"] * 2


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training layout of a few grey discs: slices enough for every part."""
    root = tmp_path_factory.mktemp("data")
    y, x = np.mgrid[:256, :256]
    disc = (y - 128) ** 2 + (x - 128) ** 2 < 100**2
    for patient, (split, count) in enumerate((("train", 6), ("validate", 1), ("test", 1))):
        for level in range(count):
            grey = np.where(disc, np.random.default_rng(level).integers(60, 200, disc.shape), 0).astype(np.uint8)
            write_slice(root, split, slice_name(patient, level), grey, (disc * (level % 3)).astype(np.uint8))
    (root / "dataset.json").write_text('{"window_hu": [-40, 160], "synthetic": true}')
    return root


BARE = [
    "typer",
    "rich",
    "click",
    "pyarrow",
    "pydicom",
    "gdcm",
    "openjpeg",
    "nibabel",
    "contourpy",
    "safetensors",
    "torchmetrics",
    "matplotlib",
    "tensorboard",
    "openvino",
    "psutil",
]
"""What a machine with PyTorch, torchvision, onnx and ONNX Runtime has not."""


def without(modules: list[str], folder: Path) -> str:
    """A folder for PYTHONPATH: no process that has it can import these."""
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({modules}))\n")
    return str(folder)


def start(part: CheckPart, out: Path, limit: float, **options: Any) -> dict[str, Any]:
    """One part, as the program runs it."""
    given = argparse.Namespace(**{"dry_run": True, "wheels": None, "data": None, **options})
    gpu_check._run(part, out, out, given, limit, {"load_average": [0.0], "cores": 1})
    return read(out)[part.name]


def test_all_limits_together_are_eight_minutes_and_wheels_come_after_what_needs_none() -> None:
    assert sum(part.limit_s for part in PARTS) <= 60 * MINUTES == 480
    names = [part.name for part in PARTS]
    free = [part.name for part in PARTS if set(part.needs) <= {"torch", "torchvision"}]
    assert names[: len(free)] == free == ["slices", "machine", "torch", "training", "folder", "compile"]
    assert names.index("rtx") < names.index("cuda") < names.index("tensorrt")


def test_a_part_that_is_cut_keeps_what_it_had_written(tmp_path: Path) -> None:
    (tmp_path / "torch.json").write_text('{"rows": [1, 2]}')
    record = start(next(part for part in PARTS if part.name == "torch"), tmp_path, 0.2)
    assert (record["rows"], record["error"], record["limit_s"]) == ([1, 2], "cut after 0 s", 0.2)
    assert record["seconds"] < 60


def test_what_is_missing_is_said_in_a_line_and_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    part = CheckPart(name="tests", limit_s=9, what="", needs=("no_such_module", "numpy"))
    monkeypatch.setattr(gpu_check, "PARTS", (part,))
    assert main(["--child", "tests", "--out", str(tmp_path), "--work", str(tmp_path)]) == 0
    said = "no_such_module missing: install it, or put its wheel into --wheels DIR"
    assert capsys.readouterr().out == f"tests: {said}\n"
    assert json.loads((tmp_path / "tests.json").read_text()) == {"skipped": said}


def test_wheels_that_are_none_are_an_error_of_their_part(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    record = start(next(part for part in PARTS if part.name == "wheels"), tmp_path, 60.0, wheels=tmp_path)
    assert record["error"].startswith(f"There are no wheels in {tmp_path}.")
    assert "error: There are no wheels" in capfd.readouterr().err


def test_one_part_walks_on_a_cpu(
    data: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In a fresh process, from the checkout on a bare machine; its record and the table are there at the end."""
    bare = without([*BARE, "onnx", "onnxscript", "onnxruntime"], tmp_path_factory.mktemp("bare"))
    monkeypatch.setenv("PYTHONPATH", bare)
    assert main(["--dry-run", "--only", "torch", "--data", str(data), "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "torch.json").read_text())
    assert [(row["runtime"], row["batch"], row["error"]) for row in record["rows"]] == [
        (name, batch, None) for batch in (1, 2) for name in ("PyTorch eager", "PyTorch eager channels_last")
    ]
    assert (record["dry_run"], record["error"], record["limit_s"]) == (True, None, 300)
    assert "| torch | done |" in (tmp_path / "table.md").read_text()
    main(["--table", "--out", str(tmp_path)])
    assert (tmp_path / "table.md").read_text().rstrip() in capsys.readouterr().out


@pytest.mark.slow
def test_all_of_it_walks_on_a_cpu(data: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Through the script, with no library of ours but onnxscript. Phantoms, which take a minute, are not made."""
    bare = without(BARE, tmp_path_factory.mktemp("bare"))
    done = subprocess.run(
        ["bash", "scripts/gpu_check.sh", "--dry-run", "--data", str(data)],
        cwd=Path(gpu_check.__file__).parent.parent,
        env={**os.environ, "PYTHON": sys.executable, "OUT": str(tmp_path), "PYTHONPATH": bare},
    )
    records = read(tmp_path)
    assert list(records) == [part.name for part in PARTS if part.name not in ("slices", "wheels")]
    assert {name: record["error"] for name, record in records.items() if record["error"]} == {}
    assert {name: record["skipped"] for name, record in records.items() if "skipped" in record} == {}
    assert done.returncode == 0
    for name in ("rtx", "cuda", "tensorrt"):
        assert [row["precision"] for row in records[name]["rows"]] == ["fp16", "fp32"]
    (folder,) = records["folder"]["folder"]
    assert folder["slices"] == 6
    assert folder["of_the_slower"] > 0
    assert 0 < folder["compute_share"] + folder["wait_share"] <= 1.01
    (row,) = records["training"]["training"]
    assert row["full_epoch_s"] == pytest.approx(35_484 / row["slices_per_second"])


def test_compiled_networks_see_two_sizes_of_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each further one would be compiled for itself, within the part's time."""
    import torch

    from benchmarks.gpu_networks import TorchGpu, random_original

    seen: list[int] = []

    def recording(module: Any, **_: Any) -> Any:
        return lambda slices: (seen.append(len(slices)), module(slices))[1]

    monkeypatch.setattr(torch, "compile", recording)
    original = random_original("unet", width=1)
    batch = np.random.default_rng(0).integers(0, 256, (4, *original.contract.shape), dtype=np.uint8)
    wanted = ("probabilities",)
    with (
        TorchGpu(original, "compile fp32", device="cpu", max_batch=4, wanted=wanted) as compiled,
        TorchGpu(original, "eager fp32", device="cpu", max_batch=4, wanted=wanted) as eager,
    ):
        for count in (1, 2, 3, 4):
            got, expected = compiled.infer(batch[:count]).probabilities, eager.infer(batch[:count]).probabilities
            np.testing.assert_allclose(got, expected, atol=1e-6)
    assert seen == [1, 4, 4, 4]
