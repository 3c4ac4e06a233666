"""The decision on made-up rows, and one real measurement of tiny bundles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks import choose as choose_module
from benchmarks.choose import Limits, choose, decide
from benchmarks.latency import Effort
from lits_deploy.cli.app import app
from lits_deploy.errors import BundleError, UserError
from tiny_bundle import make_tiny_bundle
from tiny_data import make_tiny_data

EFFORT = Effort(samples=12, cap_s=1.0, floor=4, warmup_calls=2, warmup_s=0.0)
runner = CliRunner()


def row(network: str, rate: float, sensitivity: float | None, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "network": network, "bundle": f"{network}-bundle", "artifact": "fp32", "runtime": "openvino", "device": "cpu",
        "batch": 1, "slices_per_second": rate, "latency_ms": {"p90": 1000 / max(rate, 1)}, "size_mb": 45.0,
        "accuracy": 0.7,
        "sensitivity": sensitivity, "cold": {"peak_mb": 200.0}, "error": None, "original": False, "precision": "fp32",
    }  # fmt: skip
    return {**values, **changes}


def test_the_fastest_within_the_limits_wins_and_the_others_say_why_not() -> None:
    rows = [
        row("slow", 20, 0.9), row("fast", 100, 0.7), row("blind", 200, 0.3), row("huge", 120, 0.9, size_mb=560.0),
        row("broken", 0, None, error="out of memory", latency_ms=None, slices_per_second=None),
    ]  # fmt: skip
    found = decide(rows, Limits(latency_ms=60, min_sensitivity=0.6, max_mb=100))
    assert found["chosen"] == 0
    assert [r["network"] for r in found["rows"]] == ["fast", "slow", "blind", "huge", "broken"]
    verdicts = [r["verdict"] for r in found["rows"]]
    assert verdicts == [
        "recommended", "slower: 0.20 × the rate of the recommended one", "lesion sensitivity 0.300 < 0.6",
        "size 560.0 > 100 MB", "error: out of memory",
    ]  # fmt: skip
    assert found["reason"].startswith("fast (fast-bundle) fp32, openvino, batch 1: the fastest of 2 within the limits")


def test_of_equally_fast_ones_the_more_sensitive_then_the_smaller() -> None:
    found = decide([row("a", 100, 0.7), row("b", 97, 0.8), row("c", 96, 0.8, size_mb=12.0)], Limits())
    assert [r["network"] for r in found["rows"]] == ["c", "b", "a"]
    assert [r["verdict"] for r in found["rows"][1:]] == ["as fast, but larger", "as fast, but less sensitive (0.700)"]
    assert "most sensitive, then smallest, of 3" in found["reason"]


def test_nothing_qualifies_and_unknown_meets_no_limit() -> None:
    found = decide([row("a", 100, None), row("b", 5, 0.9)], Limits(latency_ms=50, min_sensitivity=0.5))
    assert found["chosen"] is None
    assert "Nothing that was measured keeps the limits" in found["reason"]
    assert {r["verdict"] for r in found["rows"]} == {"lesion sensitivity is not known", "latency p90 200.0 > 50 ms"}


def test_limits_must_make_sense() -> None:
    with pytest.raises(UserError, match="no share"):
        Limits(min_sensitivity=60)
    with pytest.raises(UserError, match="cannot be met"):
        Limits(latency_ms=0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two-digit milliseconds a row, no fresh process."""
    cold = {"load_s": 0.5, "first_ms": 3.0, "peak_mb": 90.0, "before_load_mb": 30.0, "process_s": 1.0, "build_s": None}
    monkeypatch.setattr("benchmarks.scenarios.cold_start", lambda *_, **__: dict(cold))
    monkeypatch.setattr(choose_module, "QUICK_EFFORT", EFFORT)


@pytest.mark.usefixtures("quick")
def test_two_bundles_are_measured_and_the_command_says_what_to_type(tmp_path: Path) -> None:
    data = make_tiny_data(tmp_path / "data", slices=12)
    for name in ("one", "two"):
        make_tiny_bundle(tmp_path / name)
    call = ["choose", str(tmp_path / "one"), str(tmp_path / "two"), "--data", str(data), "--batch", "1,4", "--quick"]
    done = runner.invoke(app, [*call, "--out", str(tmp_path / "all.json")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "recommended" in done.output
    assert "next:  lits-deploy classify" in done.output
    assert done.output.rstrip().endswith("Not a medical device, not for clinical use.")
    document = json.loads((tmp_path / "all.json").read_text())
    assert {row["bundle"] for row in document["rows"]} == {"one", "two"}
    assert {row["batch"] for row in document["rows"]} == {1, 4}
    confusion = document["rows"][0]["figures"]["confusion"]
    assert document["rows"][0]["sensitivity"] == pytest.approx(confusion[2][2] / sum(confusion[2]))
    done = runner.invoke(app, [*call, "--max-mb", "0.0001", "--json"], catch_exceptions=False)
    assert done.exit_code == 1
    assert json.loads(done.stdout)["chosen"] is None


@pytest.mark.usefixtures("quick")
def test_phantoms_tell_nothing_about_sensitivity(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "one")
    found = choose([bundle], Limits(min_sensitivity=0.0), batches=(4,), quick=True)
    assert found["chosen"] is None
    assert {row["verdict"] for row in found["rows"]} == {"lesion sensitivity is not known"}


def test_a_unet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="segments"):
        choose([make_tiny_bundle(tmp_path / "unet", task="segment")], Limits())
