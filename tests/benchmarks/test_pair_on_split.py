"""A pair's figures on a split, from the rows that `classify` writes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from benchmarks.fresh import ChildError
from benchmarks.pair_on_split import main, measure
from lits_deploy.errors import DataError
from pictures import grey_pixels, save
from tiny_bundle import make_tiny_bundle
from tiny_pair import FUSION, make_tiny_pair


def asked(pair: Path, data: Path) -> argparse.Namespace:
    return argparse.Namespace(pair=pair, data=data, split="test", artifact=None)


def test_every_slice_of_the_split_counts_by_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, count = tmp_path / "data", 12
    for number in range(count):
        save(data / "test" / "images" / f"volume-{number // 6:03}_{number % 6:04}.png", grey_pixels(64, number))
    rows = [f"volume-{number // 6:03}_{number % 6:04}.png,{number % 3}" for number in range(count)]
    (data / "test" / "targets.csv").write_text("\n".join(["file,target", *rows]) + "\n")
    pair = make_tiny_pair(tmp_path / "pair", fusion={**FUSION, "no_liver_below": 1e9}).folder
    record = measure(asked(pair, data))
    assert (record["slices"], record["patients"], record["series_with_lesion"]) == (count, 2, 2)
    assert (record["data"], record["split"], record["rule"]) == ("data", "test", "argmax")
    assert 0 <= record["sensitivity"]["value"] <= 1
    out = tmp_path / "record.json"
    monkeypatch.setattr("sys.argv", ["pair_on_split", str(pair), str(data), "--out", str(out)])
    assert main() == 0
    assert "by argmax: sensitivity" in capsys.readouterr().out
    assert json.loads(out.read_text())["pair"] == record["pair"]
    next((data / "test" / "images").iterdir()).write_bytes(b"\x89PNG")
    with pytest.raises(ChildError, match="classify failed"):
        measure(asked(pair, data))


def test_one_network_is_no_pair(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle").folder
    with pytest.raises(DataError, match=r"is not a pair\. Fix: `lits-deploy evaluate`"):
        measure(asked(bundle, tmp_path))
