"""The GPU check on a machine without one: it refuses in a line, and its parts work on the CPU."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import gpu_check
from benchmarks.gpu_check import lines, main
from benchmarks.gpu_rows import Contestant, Subject, check_network, contestants_of
from benchmarks.latency import Effort
from benchmarks.peers.random_networks import make_subject
from fake_runtime import FakeRuntime
from lits_deploy import exits
from lits_deploy.errors import DeviceError
from lits_deploy.nvidia import gpu_here
from lits_deploy.program import outcome
from lits_deploy.runtime import Runtime
from recording_cuda import FAKE_GPU

BRIEF = Effort(samples=11, cap_s=0.05, floor=3, warmup_calls=2, warmup_s=0.0, warmup_cap_s=0.1)
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
            ("good", fake()), ("wrong", fake(0.01)), ("missing", refuses), ("broken", breaks),
            ("small", fake(memory_for=4)),
        )
    ]  # fmt: skip
    subject = Subject(name="net", slices=slices, expected=expected, wanted=("logits",), contestants=contestants)
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
        assert good["max_delta"] < 1e-6
        assert "not the original's" in by_name["wrong", batch]["error"]
        assert by_name["wrong", batch]["latency_ms"] is None
        assert by_name["missing", batch]["error"] == "not here Fix: elsewhere"
        assert by_name["broken", batch]["error"] == "RuntimeError: no C++ compiler"
    assert by_name["small", 1]["error"] is None
    assert "holds 4 slices" in by_name["small", 8]["error"]


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
    subject = Subject(name="net", slices=slices, expected=expected, wanted=("logits",), contestants=contestants)
    rows = check_network(subject, (1, 64), effort=BRIEF)
    assert most == {1: 3, 64: 1}
    assert not now
    assert [row["error"] for row in rows[:5]] == [None] * 5
    assert rows[5]["error"].startswith("The device has memory for batches of 4.")


def test_the_table_shows_speeds_and_reasons(rows: list[dict[str, Any]]) -> None:
    text = lines({"gpu": dataclasses.asdict(FAKE_GPU), "rows": rows, "notes": ["busy"]})
    assert text[0] == "NVIDIA RTX A2000, compute capability 8.6, driver 580.95.05, CUDA 13.0"
    assert sum(line.startswith("| net | 8 |") for line in text) == 5
    assert any("RuntimeError: no C++ compiler" in line for line in text)
    assert {line.count("|") for line in text if line.startswith("|") and "Δp" not in line} == {9}
    assert text[-1] == "Not a medical device, not for clinical use."


@pytest.mark.skipif(gpu_here(), reason="this machine has a GPU")
def test_without_a_gpu_it_refuses_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(lambda: main([])) == exits.USER_ERROR
    captured = capsys.readouterr()
    assert captured.err == (
        "error: gpu_check needs an NVIDIA GPU, and there is none here. Fix: run it where there is one\n"
    )
    root = Path(gpu_check.__file__).parent.parent
    done = subprocess.run(
        ["bash", "scripts/gpu_check.sh"], cwd=root, capture_output=True, text=True, timeout=60,
        env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


@pytest.mark.slow
def test_a_random_unet_is_the_same_in_pytorch_and_on_onnxruntime(tmp_path: Path) -> None:
    """On the CPU, where a GPU would be: the bundle, the checks and the eager peers are the real ones."""
    subject = make_subject(
        "unet", tmp_path, [("onnxruntime", "cpu")], device="cpu", slices=6, width=2, modes=("eager fp32",)
    )
    assert [(c.name, c.precision) for c in subject.contestants] == [
        ("PyTorch eager", "fp32"), ("onnxruntime cpu", "fp32"), ("onnxruntime cpu", "fp16"),
    ]  # fmt: skip
    rows = check_network(subject, (1, 4), effort=BRIEF)
    assert [row["error"] for row in rows] == [None] * 6
    assert all(row["max_delta"] <= row["tolerance"] for row in rows)


@pytest.mark.parametrize("batches", ["", "eight", "0,8", "1;8"])
def test_batches_that_are_none_are_refused(batches: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--batches", batches])
    assert caught.value.code == 2
    assert "invalid" in capsys.readouterr().err


def test_each_installed_tensorrt_is_a_contestant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import gpu_rows
    from tiny_bundle import make_tiny_bundle

    bundle = make_tiny_bundle(tmp_path / "bundle")
    monkeypatch.setattr(gpu_rows, "installed", lambda _: True)
    here = [("onnxruntime", "cuda:0"), ("tensorrt", "cuda:0")]
    assert [c.name for c in contestants_of(bundle, here)] == ["onnxruntime cuda:0", "TensorRT", "TensorRT for RTX"]
