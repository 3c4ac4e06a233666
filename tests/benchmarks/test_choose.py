"""The decision on made-up rows, and one real measurement of tiny bundles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from benchmarks import choose as choose_module
from benchmarks.choose import ChoiceLimits, choose, decide, figures_of
from benchmarks.cli.choose import show
from benchmarks.latency import MeasuringEffort
from lits_deploy.cli.app import app
from lits_deploy.errors import BundleError, UserError
from tiny_bundle import make_tiny_bundle
from tiny_data import make_tiny_data

EFFORT = MeasuringEffort(samples=12, cap_s=1.0, floor=4, warmup_calls=2, warmup_s=0.0)
runner = CliRunner()


def row(network: str, rate: float, sensitivity: float | None, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "network": network,
        "bundle": f"{network}-bundle",
        "artifact": "fp32",
        "runtime": "openvino",
        "device": "cpu",
        "batch": 1,
        "slices_per_second": rate,
        "latency_ms": {"p90": 1000 / max(rate, 1)},
        "size_mb": 45.0,
        "accuracy": 0.7,
        "commonest": 0.5,
        "specificity": 0.8,
        "balanced_accuracy": sensitivity,
        "sensitivity": sensitivity,
        "cold": {"peak_mb": 200.0},
        "error": None,
        "original": False,
        "precision": "fp32",
    }
    return {**values, **changes}


def test_the_fastest_within_the_limits_wins_and_the_others_say_why_not() -> None:
    rows = [
        row("slow", 20, 0.9),
        row("fast", 100, 0.7),
        row("blind", 200, 0.3),
        row("huge", 120, 0.9, size_mb=560.0),
        row("broken", 0, None, error="out of memory", latency_ms=None, slices_per_second=None),
    ]
    found = decide(rows, ChoiceLimits(latency_ms=60, min_sensitivity=0.6, max_mb=100))
    assert found["chosen"] == 0
    assert [r["network"] for r in found["rows"]] == ["fast", "slow", "blind", "huge", "broken"]
    verdicts = [r["verdict"] for r in found["rows"]]
    assert verdicts == [
        "recommended",
        "slower: 0.20 × the rate of the recommended one",
        "lesion sensitivity 0.300 < 0.6",
        "size 560.0 > 100 MB",
        "error: out of memory",
    ]
    assert found["reason"].startswith("fast (fast-bundle) fp32, openvino, batch 1: the fastest of 2 within the limits")


def test_of_equally_fast_ones_the_more_accurate_over_all_classes_then_the_smaller() -> None:
    found = decide([row("a", 100, 0.7), row("b", 97, 0.8), row("c", 96, 0.8, size_mb=12.0)], ChoiceLimits())
    assert [r["network"] for r in found["rows"]] == ["c", "b", "a"]
    assert [r["verdict"] for r in found["rows"][1:]] == [
        "as fast, but larger",
        "as fast, but its balanced accuracy is lower (0.700)",
    ]
    assert "highest balanced accuracy, then smallest, of 3" in found["reason"]
    loud = row("loud", 101, 0.95, balanced_accuracy=0.5)  # the most sensitive one, for it calls nearly all a lesion
    assert decide([row("a", 100, 0.7), loud], ChoiceLimits())["rows"][0]["network"] == "a"
    unknown = decide([row("a", 100, 0.7), row("b", 101, None)], ChoiceLimits())
    assert unknown["rows"][1]["verdict"] == "as fast, but its balanced accuracy is not known"


def test_nothing_qualifies_and_unknown_meets_no_limit() -> None:
    found = decide([row("a", 100, None), row("b", 5, 0.9)], ChoiceLimits(latency_ms=50, min_sensitivity=0.5))
    assert found["chosen"] is None
    assert "Nothing that was measured can be recommended within the limits" in found["reason"]
    assert {r["verdict"] for r in found["rows"]} == {"lesion sensitivity is not known", "latency p90 200.0 > 50 ms"}


ALL_LESION = [[0, 0, 520], [0, 0, 324], [0, 0, 156]]
"""Targets in rows: a network that calls everything a lesion."""


def with_confusion(network: str, rate: float, confusion: list[list[int]], **changes: Any) -> dict[str, Any]:
    right = sum(confusion[index][index] for index in range(3)) / sum(map(sum, confusion))
    return {**row(network, rate, None), **figures_of(confusion), "accuracy": right, **changes}


def test_what_calls_everything_a_lesion_is_never_recommended() -> None:
    figures = figures_of(ALL_LESION)
    assert figures == {
        "sensitivity": 1.0,
        "specificity": 0.0,
        "balanced_accuracy": pytest.approx(1 / 3),
        "commonest": 0.52,
    }
    good = [[470, 40, 10], [60, 230, 34], [10, 46, 100]]
    found = decide([with_confusion("all", 900, ALL_LESION), with_confusion("good", 30, good)], ChoiceLimits())
    assert [r["network"] for r in found["rows"]] == ["good", "all"]
    verdict = (
        "accuracy 0.156: no better than always the commonest class (0.520); "
        "lesions: sensitivity 1.000 and specificity 0.000 are no better than guessing"
    )
    assert found["rows"][1]["verdict"] == verdict
    alone = decide([with_confusion("all", 900, ALL_LESION)], ChoiceLimits(min_sensitivity=0.9, min_specificity=0.5))
    assert alone["chosen"] is None
    assert alone["rows"][0]["verdict"] == f"lesion specificity 0.000 < 0.5; {verdict}"
    assert alone["reason"].endswith(
        f"Nearest: all (all-bundle) fp32, openvino, batch 1: {alone['rows'][0]['verdict']}."
    )


@pytest.mark.parametrize(
    ("confusion", "says"),
    [
        ([[520, 0, 0], [324, 0, 0], [156, 0, 0]], "accuracy 0.520: no better than always the commonest class (0.520)"),
        ([[0, 0, 0], [0, 0, 0], [0, 0, 9]], "the scored slices are all of one class"),
    ],
)
def test_nor_is_always_the_commonest_class_nor_what_one_class_cannot_show(
    confusion: list[list[int]], says: str
) -> None:
    found = decide([with_confusion("one", 10, confusion)], ChoiceLimits())
    assert found["chosen"] is None
    assert says in found["rows"][0]["verdict"]
    assert "within" not in found["reason"]
    better = [[520, 0, 0], [324, 0, 0], [155, 0, 1]]  # one slice more is right
    assert decide([with_confusion("better", 10, better)], ChoiceLimits())["chosen"] == 0


@pytest.mark.parametrize("lesions", [[100, 56, 0], [60, 65, 31]])
def test_what_tells_no_lesion_from_the_rest_is_never_recommended(lesions: list[int]) -> None:
    """However well it tells a liver: lesions found as often as they are seen where there are none say nothing."""
    rest = [[500, 20, 0], [24, 300, 0]] if lesions[2] == 0 else [[420, 0, 100], [0, 224, 100]]
    found = decide([with_confusion("livers", 10, [*rest, lesions])], ChoiceLimits())
    assert found["chosen"] is None
    (row,) = found["rows"]
    assert row["accuracy"] > row["commonest"]
    assert row["verdict"].startswith("lesions: sensitivity ")
    assert row["verdict"].endswith(" are no better than guessing")


def test_a_specificity_below_its_limit_rules_out_and_speed_alone_says_so() -> None:
    rows = [row("loud", 100, 0.9, specificity=0.3), row("quiet", 50, 0.7, specificity=0.9)]
    found = decide(rows, ChoiceLimits(min_specificity=0.6))
    assert [r["verdict"] for r in found["rows"]] == ["recommended", "lesion specificity 0.300 < 0.6"]
    unknown = dict.fromkeys(("accuracy", "commonest", "specificity", "balanced_accuracy"))
    found = decide([row("unlabelled", 10, None, **unknown)], ChoiceLimits())
    assert found["chosen"] == 0
    assert found["reason"].endswith("How often it is right is not known: --data scores it.")


def test_limits_must_make_sense() -> None:
    for share in ("min_sensitivity", "min_specificity", "min_accuracy"):
        with pytest.raises(UserError, match="not a share"):
            ChoiceLimits(**{share: 60})
    with pytest.raises(UserError, match="cannot be met"):
        ChoiceLimits(latency_ms=0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two-digit milliseconds a row, no fresh process."""
    cold = {"load_s": 0.5, "first_ms": 3.0, "peak_mb": 90.0, "before_load_mb": 30.0, "process_s": 1.0, "build_s": None}
    monkeypatch.setattr("benchmarks.scenarios.cold_start", lambda *_, **__: dict(cold))
    monkeypatch.setattr(choose_module, "QUICK_EFFORT", EFFORT)


@pytest.mark.usefixtures("quick")
def test_two_bundles_are_measured_and_the_command_says_what_to_type(tmp_path: Path) -> None:
    data = make_tiny_data(tmp_path / "data", slices=12)
    for path in (data / "test" / "images").iterdir():  # as bright as the tiny network wants its classes
        grey = (10, 100, 240)[int(path.stem[-4:]) % 3]
        Image.fromarray(np.random.default_rng(1).integers(grey - 10, grey + 10, (256, 256), np.uint8)).save(path)
    for name in ("one", "two"):
        make_tiny_bundle(tmp_path / name)
    help_of = " ".join(runner.invoke(app, ["choose", "--help"]).output.split())
    assert "Never one whose accuracy is not above the share of the commonest class" in help_of
    call = [
        "choose",
        str(tmp_path / "one"),
        str(tmp_path / "two"),
        "--data",
        str(data),
        "--batch-sizes",
        "1,4",
        "--quick",
    ]
    done = runner.invoke(app, [*call, "--out", str(tmp_path / "all.json")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "recommended" in done.output
    assert "next:  lits-deploy classify" in done.output
    assert done.output.rstrip().endswith("Not a medical device, not for clinical use.")
    document = json.loads((tmp_path / "all.json").read_text())
    assert {row["bundle"] for row in document["rows"]} == {"one", "two"}
    assert {row["batch"] for row in document["rows"]} == {1, 4}
    confusion = document["rows"][0]["figures"]["confusion"]
    first = document["rows"][0]
    assert first["sensitivity"] == pytest.approx(confusion[2][2] / sum(confusion[2]))
    others = [sum(confusion[target][:2]) for target in (0, 1)]
    assert first["specificity"] == pytest.approx(sum(others) / sum(map(sum, confusion[:2])))
    assert first["balanced_accuracy"] == pytest.approx(first["figures"]["balanced_accuracy"])
    assert "sensitivity  specificity  balanced  accuracy" in done.output
    done = runner.invoke(app, [*call, "--max-mb", "0.0001", "--json"], catch_exceptions=False)
    assert done.exit_code == 1
    assert json.loads(done.stdout)["chosen"] is None


@pytest.mark.usefixtures("quick")
def test_phantoms_tell_nothing_about_sensitivity(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "one")
    found = choose([bundle], ChoiceLimits(min_sensitivity=0.0), batches=(4,), quick=True)
    assert found["chosen"] is None
    assert {row["verdict"] for row in found["rows"]} == {"lesion sensitivity is not known"}


def test_figures_of_phantoms_that_were_named_are_marked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.report.machine_line", lambda _: "a machine")
    rows = [row("a", 100, 0.7, specificity=0.8, balanced_accuracy=0.75, synthetic=True)]
    rows[0]["options"] = {"artifact": "fp32", "runtime": "openvino", "device": "cpu", "batch": 1}
    document = {
        **decide(rows, ChoiceLimits()),
        "data": {},
        "notes": [],
        "disclaimer": "",
    }
    show(document, {})
    output = capsys.readouterr().out
    for figure in ("0.700 synthetic", "0.800 synthetic", "0.750 synthetic"):
        assert figure in output


def test_a_unet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="segments"):
        choose([make_tiny_bundle(tmp_path / "unet", task="segment")], ChoiceLimits())
