"""The comparison's order, ratios and agreement; the candidates themselves are made up."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from benchmarks import folder_throughput
from benchmarks.folder_report import lines
from benchmarks.folder_throughput import Comparison, document, main, ratios
from benchmarks.scans import find_scans
from tiny_bundle import make_tiny_bundle
from tiny_data import make_tiny_data

OURS = {"wall_s": 2.0, "process_s": 4.0, "slices": 6, "slices_per_second": 40.0, "steady_slices_per_second": 50.0}
OURS |= {"batch": 8, "workers": 1}
PLAIN = {"process_s": 12.0, "slices": 6, "slices_per_second": 20.0, "steady_slices_per_second": 25.0}
BARE = {"process_s": 3.0, "slices": 6, "slices_per_second": {"8": 50.0, "1": 30.0, "32": 60.0}}


class Scripted(Comparison):
    """Every candidate answers at once; PyTorch is faster with two workers, channels_last flips a class."""

    log: list[str]

    def ours(self, roots: list[Path] | None = None) -> dict[str, Any]:
        self.log.append("ours")
        return {**OURS, "labels": [0, 1, 2, 0, 1, 1]}

    def plain(
        self, *, channels_last: bool = False, workers: int | None = None, files: list[str] | None = None
    ) -> dict[str, Any]:
        self.log.append("plain_cl" if channels_last else "plain")
        labels = [0, 1, 2, 0, 1, 1 + channels_last]
        return {**PLAIN, "slices_per_second": 10.0 * (workers or self.workers), "labels": labels}

    def bare(self) -> dict[str, Any]:
        self.log.append("bare")
        return {**BARE, "labels": [0, 1, 2, 0, 1, 1]}


def test_ratios_and_what_they_contain() -> None:
    results = {"ours": OURS, "plain": PLAIN, "plain_cl": {**PLAIN, "steady_slices_per_second": None}, "bare": BARE}
    found = ratios(results, 8)
    assert found["ours_wall/plain_wall"] == 2.0
    assert found["ours_process/plain_process"] == pytest.approx(3.0)
    assert found["ours_steady/plain_cl_steady"] is None
    assert found["ours_wall/bare_same_batch"] == 0.8
    assert found["ours_steady/bare_same_batch"] == 1.0
    assert found["ours_steady/bare_best_batch"] == pytest.approx(50 / 60)


def test_rounds_alternate_and_classes_are_compared(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle")
    scans = find_scans(make_tiny_data(tmp_path / "data", slices=6) / "test")
    with Scripted(bundle, tmp_path, scans, 1) as comparison:
        comparison.log = []
        comparison.prepare()
        assert comparison.workers == 2
        assert comparison.batch == 8
        comparison.log = []
        rounds = comparison.rounds(2, lambda _: None)
        assert comparison.log == ["ours", "plain", "plain_cl", "bare", "plain", "plain_cl", "bare", "ours"]
        machine = {**folder_throughput.describe_machine(), "stolen_share": None}
        values = document(comparison, rounds, machine)
    assert values["classes_other_than_ours"] == {"plain": 0, "plain_cl": 1, "bare": 0}
    assert values["accuracy"]["ours"] == pytest.approx(5 / 6)
    assert values["accuracy"]["plain_cl"] == 1.0
    assert values["ratios"]["ours_wall/plain_wall"] == 2.0
    text = "\n".join(lines(values))
    assert "2 DataLoader workers" in text
    assert "not for clinical use" in text


def test_a_users_error_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none"), "--against", "run", "--scans", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_the_bare_loop_answers_as_the_pipeline_does(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle")
    scans = find_scans(make_tiny_data(tmp_path / "data", slices=6) / "test")
    with Comparison(bundle, tmp_path, scans, 1) as comparison:
        comparison.batch = 4
        bare, ours = comparison.bare(), comparison.ours()
    assert bare["labels"] == ours["labels"]
    assert list(bare["slices_per_second"]) == ["4", "1", "8", "32"]


def test_the_plain_script_writes_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch import nn

    from benchmarks.peers import plain_pytorch_script as script
    from export.source import Deployed, Original
    from train.models.registry import network

    contract = make_tiny_bundle(tmp_path / "bundle").manifest.contract
    layers = nn.Sequential(nn.AvgPool2d(112), nn.Flatten(), nn.Linear(4, 3))
    original = Original(
        info=network("resnet18"), module=Deployed(layers, contract, "classify"), contract=contract, width=None
    )
    monkeypatch.setattr(script, "from_run", lambda _: original)
    scans = find_scans(make_tiny_data(tmp_path / "data", slices=35) / "test")
    values = script.classify(tmp_path, scans.files, tmp_path / "out.csv", workers=0, threads=1, channels_last=True)
    with (tmp_path / "out.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["file"] for row in rows] == scans.files
    assert values["wall_s"] > values["load_s"]
    assert values["steady_slices_per_second"] > 0
