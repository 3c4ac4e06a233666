"""FP32 and INT8 side by side: in turns, with ratios of the same round, accuracy and gate; no test asserts a time."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import int8_cpu
from benchmarks.int8_cpu import AIM, compare, default_out, lines, main, round_medians
from benchmarks.latency import Effort, Lane
from lits_deploy import exits
from lits_deploy.bundle import Bundle, write_manifest
from lits_deploy.errors import BundleError
from lits_deploy.program import outcome
from tiny_bundle import make_tiny_bundle
from tiny_data import make_tiny_data

BRIEF = Effort(samples=12, cap_s=0.05, floor=12, warmup_calls=2, warmup_s=0.0, warmup_cap_s=0.1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_data(tmp_path_factory.mktemp("int8") / "data", slices=6, window=[-40, 160])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The FP32 file once more under the name and placement of an INT8 one that passed its gate on one runtime."""
    made = make_tiny_bundle(tmp_path_factory.mktemp("int8") / "bundle", size=64, crop=56)
    first = made.artifact()
    gate = {"passed": True, "runtimes": {"onnxruntime": {"passed": True}}}
    second = dataclasses.replace(
        first, name="int8-cpu", precision="int8", runtimes=("onnxruntime", "openvino"), devices=("cpu",), gate=gate
    )
    write_manifest(made.folder, dataclasses.replace(made.manifest, artifacts=(first, second)))
    return Bundle.open(made.folder)


def test_every_runtime_in_turns_with_ratios_to_its_own_fp32(bundle: Bundle, data: Path) -> None:
    document = compare(bundle, data, batches=(1, 2), threads=1, effort=BRIEF)
    rows = document["rows"]
    assert {(row["artifact"], row["batch"]) for row in rows} == {(a, b) for a in ("fp32", "int8-cpu") for b in (1, 2)}
    assert document["data"]["split"] == "validate"
    for row in rows:
        assert row["error"] is None
        assert row["accuracy"] == rows[0]["accuracy"], "the same network"
        if row["precision"] == "int8":
            assert set(row["speedup"]) == {row["runtime"], "onnxruntime"}
            ratio = row["speedup"][row["runtime"]]
            assert ratio["low"] <= ratio["median"] <= ratio["high"]
            assert row["gate"] == ("passed" if row["runtime"] == "onnxruntime" else "not judged there")
    assert all(
        "onnxruntime" not in row["speedup"]
        for row in rows
        if (row["runtime"], row["precision"]) == ("onnxruntime", "fp32")
    )
    json.dumps(document)


def test_medians_of_the_rounds() -> None:
    lane = Lane("a", None, lambda *_: None, seconds=[1.0, 2.0, 9.0, 4.0, 6.0], blocks=[3, 2])  # type: ignore[arg-type]
    assert round_medians(lane) == [2.0, 5.0]


@pytest.mark.parametrize(
    ("median", "gate", "says"),
    [(AIM, "passed", ": met"), (AIM - 0.01, "passed", "NOT met"), (2.0, "FAILED", "NOT met")],
)
def test_the_aim_needs_speed_and_gate(bundle: Bundle, data: Path, median: float, gate: str, says: str) -> None:
    document = compare(bundle, data, batches=(1,), threads=1, effort=BRIEF)
    row = next(r for r in document["rows"] if (r["runtime"], r["precision"]) == ("onnxruntime", "int8"))
    row |= {"gate": gate, "speedup": {"onnxruntime": {"median": median, "low": median, "high": median}}}
    (verdict,) = [line for line in lines(document) if line.startswith("int8-cpu on onnxruntime, batch 1: ")]
    assert verdict.endswith(says)


def test_a_row_that_answers_otherwise_is_an_error_without_ratio(
    bundle: Bundle, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = int8_cpu._score

    def wrong(candidate: Any, inputs: Any) -> Any:
        contender = real(candidate, inputs)
        if candidate.precision == "int8":
            scored = contender.scored
            turned = scored.probabilities[:, ::-1] if scored.probabilities is not None else None
            contender = dataclasses.replace(contender, scored=dataclasses.replace(scored, probabilities=turned))
        return contender

    monkeypatch.setattr(int8_cpu, "_score", wrong)
    document = compare(bundle, data, batches=(1,), threads=1, effort=BRIEF)
    row = next(row for row in document["rows"] if row["precision"] == "int8")
    assert "answered otherwise" in row["error"]
    assert row["speedup"] == {}
    assert any("error: " in line for line in lines(document))


def test_command_writes_the_record_and_names_what_is_missing(
    bundle: Bundle, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8_cpu, "QUICK", BRIEF)
    out = tmp_path / "record.json"
    arguments = [
        str(bundle.folder),
        "--data",
        str(data),
        "--quick",
        "--batch",
        "1",
        "--threads",
        "1",
        "--out",
        str(out),
    ]
    assert main(arguments) == 0
    assert json.loads(out.read_text())["bundle"]["sha256"] == bundle.sha256
    said = capsys.readouterr().out
    assert "times its FP32 (aim 1.3)" in said
    assert "Not a medical device" in said
    assert outcome(lambda: main([str(bundle.folder), "--data", str(data), "--batch", "one"])) == exits.USER_ERROR
    assert "--batch 1,8" in capsys.readouterr().err
    without = make_tiny_bundle(tmp_path / "without", size=64, crop=56)
    with pytest.raises(BundleError, match="--int8"):
        compare(without, data, batches=(1,))
    assert default_out({"processor": "AMD EPYC (9B45)", "cores": 2}).name == "int8-cpu-2core-amd-epyc-9b45.json"
