"""Table 5 and its kin: every count of every network equals the printed one, or is told to be a misprint."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from train.recipes.lab.bench import BenchSettings
from train.recipes.lab.reproduce import reproduce
from train.recipes.lab.scale import FULL
from train.recipes.registry import RECIPES
from train.recipes.table5 import as_printed
from train.session import Observer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("table5") / "out"
    settings = BenchSettings(out=out, scale=FULL)
    reproduce([RECIPES["table5"]], out / "no data", settings, watch=Observer(), arguments=[])
    return out / "table5"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_all_printed_counts_come_out(folder: Path) -> None:
    found = {row["network"]: row for row in rows(folder / "parameters.csv")}
    assert {name: row["equal"] for name, row in found.items() if row["table6"]} == {
        "AlexNet": "yes",
        "VGG19": "yes",
        "ResNet18": "Table 5: yes; Table 6: misprint",
        "ResNet34": "yes",
        "ResNet50": "yes",
        "ResNet152": "yes",
    }
    assert found["ResNet18"]["measured"] == "11176579"
    assert found["AlexNet"]["millions"] == "46.7361"
    text = (folder / "parameters.md").read_text()
    assert "two digits are swapped" in text
    assert "ResNet34 would have 11,097,795 parameters" in text


def test_all_stages_come_out(folder: Path) -> None:
    found = rows(folder / "table5.csv")
    assert len(found) == 20
    assert {row["equal"] for row in found} == {"yes"}
    assert [row["side"] for row in found[:5]] == ["110×110", "54×54", "27×27", "14×14", "7×7"]
    assert found[18]["block"] == "[1×1, 256; 3×3, 256; 1×1, 1024] × 36"


def test_layers_come_out_but_for_the_misprint_of_table3(folder: Path) -> None:
    assert {row["equal"] for row in rows(folder / "table4.csv")} == {"yes"}
    three = rows(folder / "table3.csv")
    assert [row["measured"] for row in three if row["equal"] != "yes"] == ["conv3-384 × 2, conv3-256"]
    assert "would have 60,285,763 parameters" in (folder / "table3.md").read_text()


def test_as_printed_goes_by_the_digits_printed() -> None:
    assert as_printed(46_736_067, "46.736")
    assert as_printed(23_507_971, "23.5080")
    assert not as_printed(11_176_579, "11.1176")
