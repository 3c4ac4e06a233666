"""The quantiser comparison on a tiny network: every variant has a row, others' files too, on unseen slices."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks import quantisers
from benchmarks.peers import other_quantisers
from benchmarks.quantisers import HEADER, compare, dump, line, read_split
from export.source import Original
from tiny_data import make_tiny_data
from tiny_network import train_tiny_network


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    data = make_tiny_data(
        tmp_path_factory.mktemp("quantisers") / "data", slices=6, patients=(2, 1, 1), window=[-40, 160]
    )
    return train_tiny_network(data, steps=20)


def test_each_variant_and_each_others_file_gets_a_row(
    original: Original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert original.data is not None
    dump(original, original.data, tmp_path)
    slices = np.load(tmp_path / other_quantisers.CALIBRATION)
    assert slices.shape == (12, 1, 256, 256)
    static = other_quantisers.onnxruntime_static(tmp_path, slices[:4], "MinMax")
    shutil.copy(tmp_path / other_quantisers.MODEL, tmp_path / "same.onnx")  # nothing quantised
    monkeypatch.setattr(quantisers, "METHODS", ("max",))
    exported = tmp_path / other_quantisers.MODEL
    monkeypatch.setattr(quantisers.graph, "write_onnx", lambda _, path: shutil.copy(exported, path))
    judged = read_split(original, original.data, "validate", 100)
    rows = compare(original, original.data, judged, [static, tmp_path / "same.onnx"])
    by_name = {row["variant"]: row for row in rows}
    assert len(by_name) == len(rows) == 1 + 7 + 2
    assert by_name["same"]["max_delta"] < 1e-5
    assert by_name["same"]["calibration_delta"] < 1e-5
    assert 0 < by_name["cpu max, last in float"]["mean_delta"] < 0.1
    assert 0 < by_name["onnxruntime-minmax"]["mean_delta"] < 0.1
    assert all(row["slices"] == 6 for row in rows)
    assert HEADER in capsys.readouterr().out
    assert len(line("same", by_name["same"])) == len(HEADER)
