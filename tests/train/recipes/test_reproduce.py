"""Every recipe at the tiny scale on phantoms, with made-up trainings: what is written, resumed and refused."""

from __future__ import annotations

import csv
import fcntl
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fake_training import FakeTraining
from lits_deploy.errors import DataError, OutputError
from phantom_data import make_phantom_data
from train.recipes.lab import trainings
from train.recipes.lab.bench import BenchSettings
from train.recipes.lab.reproduce import reproduce
from train.recipes.lab.scale import TINY, parse_scale
from train.recipes.registry import RECIPES, Recipe
from train.session import Observer

EVERYTHING = {
    "table1": {"table1"},
    "fig1-2": {"fig1", "fig2"},
    "table5": {"parameters", "table3", "table4", "table5"},
    "fig4": {"fig4"},
    "fig6-7": {"fig6-7", "fig6", "fig7", "fig3"},
    "table6": {"table6", "fig12", "fig13", "fig14", "fig15"},
    "fig16-17": {"fig16-17", "fig16", "fig17"},
    "fig18": {"table7", "correlation", "fig18"},
    "fig19-22": {"fig19-22", "fig19", "fig20", "fig21", "fig22"},
    "table8": {"table8", "fig23"},
    "table9": {"table9", "fig24", "fig25", "fig10"},
    "gallery": {"gallery-1", "gallery-2"},
    "split": {"split"},
}
"""Names of the tables and figures of every recipe."""


class Lines(Observer):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def run(
    names: Sequence[str], data: Path, out: Path, watch: Observer | None = None, **changes: Any
) -> list[dict[str, Any]]:
    recipes: list[Recipe] = [RECIPES[name] for name in names]
    settings = replace(BenchSettings(out=out, scale=TINY), **changes)
    return reproduce(recipes, data, settings, watch=watch or Observer(), arguments=["--out", str(out)])


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeTraining:
    training = FakeTraining()
    monkeypatch.setattr(trainings, "train", training)
    return training


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_phantom_data(tmp_path_factory.mktemp("phantom") / "data")


@pytest.fixture(scope="module")
def everything(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FakeTraining, Lines]:
    out, training, watch = tmp_path_factory.mktemp("all") / "out", FakeTraining(), Lines()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainings, "train", training)
        run(list(RECIPES), data, out, watch)
    return out, training, watch


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_writes_its_tables_figures_runs_and_readme(everything: Any, name: str) -> None:
    folder = everything[0] / name
    tables = {path.stem for path in folder.glob("*.md")} - {"README"}
    pictures = {path.stem for path in folder.glob("*.png")}
    assert tables | pictures == EVERYTHING[name]
    assert {path.stem for path in folder.glob("*.csv")} - {"epochs"} == tables
    for path in folder.glob("*.png"):
        with Image.open(path) as picture:
            assert min(picture.size) > 300
    readme = (folder / "README.md").read_text()
    assert "Not a medical device" in readme
    assert all(f"{name}.csv" in readme for name in tables)
    assert all(f"({name}.png)" in readme for name in pictures)
    assert all(f"## {title}" in readme for title in ("What the thesis did", "Where it is silent", "What we chose"))
    assert "- versions: lits-deploy" in readme
    result = json.loads((folder / "result.json").read_text())
    links = {path.name: path for path in folder.glob("runs/*")}
    assert set(links) == {run["name"] for run in result["runs"]}
    assert all(path.is_symlink() and (path / "config.json").is_file() for path in links.values())
    if not RECIPES[name].trains:
        assert not links
        return
    for text in (readme, *((folder / f"{table}.md").read_text() for table in tables)):
        assert "SCALED DOWN (--scale tiny)" in text
        assert "split by patient" in text
    for line in ("- seeds: 0", "- devices: cpu", "- epochs: ", "- slices used: train 9, ", "- patients: train 1"):
        assert line in readme
    with (folder / "epochs.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["run"] for row in rows} == set(links)
    assert {row["split_by"] for row in rows} <= {"patient", "slice"}
    assert len(rows) == sum(run["epochs"] for run in result["runs"])


def test_every_accuracy_says_of_which_split_it_is(everything: Any) -> None:
    for name in RECIPES:
        for table in json.loads((everything[0] / name / "result.json").read_text())["tables"]:
            for head in table["header"]:
                if "accuracy" in head and "printed" not in head:
                    marked = "split by" in head or "split by" in table["title"] or "split by" in table["header"]
                    assert marked, (name, head)


def test_trainings_are_shared(everything: Any) -> None:
    _, training, watch = everything
    fresh = [name for name, before, _ in training.done if before == 0]
    assert len({name for name, _, _ in training.done}) == 34
    said = [line for line in watch.lines if line.endswith("there already")]
    assert len(said) == 10
    # at this scale a run that is taken further starts anew: AlexNet and ResNet18 for table8, AlexNet for fig18
    assert sorted({name.rpartition("-")[0] for name in fresh if fresh.count(name) > 1}) == [
        "alexnet-lr1e-4-seed0",
        "alexnet-lr1e-5-nodecay-seed0",
        "resnet18-lr1e-4-seed0",
    ]


def test_the_page_has_every_table_and_figure_and_needs_nothing_else(everything: Any) -> None:
    out = everything[0]
    page = (out / "report.html").read_text()
    pictures = [path for path in out.glob("*/*.png") if path.parent.name in RECIPES]
    assert page.count("data:image/png;base64,") == len(pictures) == 24
    for name in RECIPES:
        result = json.loads((out / name / "result.json").read_text())
        assert f'id="{name}"' in page
        for table in result["tables"]:
            assert f"<caption>{table['title']}</caption>" in page
    assert page.count("Not a medical device") >= 2
    assert "its figures mean nothing" in page
    assert not re.search(r"<script|https?://|<link|src=\"(?!data:)", page)


def test_again_nothing_is_trained(everything: Any, data: Path, fake: FakeTraining) -> None:
    out = everything[0]
    before = {path: path.read_bytes() for path in out.glob("*/*.csv")}
    run(["fig4", "fig18", "table8", "split"], data, out)
    assert fake.done == []
    assert {path: path.read_bytes() for path in out.glob("*/*.csv")} == before


def test_broken_off_it_goes_on_where_it_was(data: Path, tmp_path: Path, fake: FakeTraining) -> None:
    fake.stop_at = ("plain-lr1e-4-seed1", 1)
    with pytest.raises(KeyboardInterrupt):
        run(["fig6-7"], data, tmp_path / "out")
    finished = [name for name, _, _ in fake.done]
    assert len(finished) == 3
    fake.stop_at, fake.done = None, []
    run(["fig6-7"], data, tmp_path / "out")
    assert [(name.rpartition("-")[0], before) for name, before, _ in fake.done] == [
        ("resnet34-plain-lr1e-4-seed1", 1),
        ("resnet34-plain-lr1e-4-seed2", 0),
    ]


def test_seeds_are_repeated_trainings_with_mean_and_spread(data: Path, tmp_path: Path, fake: FakeTraining) -> None:
    (result,) = run(["fig19-22"], data, tmp_path / "out", seeds=2)
    assert {name.partition("-seed")[2][0] for name, _, _ in fake.done} == {"0", "1"}
    assert len(fake.done) == 8
    assert "±" in result["tables"][0]["rows"][0][2]
    with (tmp_path / "out" / "fig19-22" / "fig19-22.csv").open(newline="") as stream:
        assert all(float(row["measured_sd"]) > 0 for row in csv.DictReader(stream))


def test_budgets_of_table8(data: Path, tmp_path: Path, fake: FakeTraining) -> None:
    full = parse_scale("1")
    (v100,) = run(["table8"], data, tmp_path / "v100", scale=full)
    epochs = {(row[1], row[2]): row[3] for row in v100["tables"][0]["rows"]}
    assert [epochs["AlexNet", limit] for limit in ("10", "15", "20")] == ["17", "25", "33"]
    assert [epochs["ResNet50", limit] for limit in ("10", "15", "20")] == ["6", "8", "11"]
    (minutes,) = run(["table8"], data, tmp_path / "minutes", scale=full, budget="minutes")
    epochs = {(row[1], row[2]): row[3] for row in minutes["tables"][0]["rows"]}  # an epoch takes a minute here
    assert [epochs["AlexNet", limit] for limit in ("10", "15", "20")] == ["11", "16", "21"]
    assert "minutes of training on this machine" in minutes["tables"][0]["notes"][1]
    assert all(run["weight_decay"] == 1e-5 for run in minutes["runs"])


def test_full_scale_says_so_and_takes_the_data_as_it_is(data: Path, tmp_path: Path, fake: FakeTraining) -> None:
    (result,) = run(["fig18"], data, tmp_path / "out", scale=parse_scale("1"))
    assert result["scale_line"] == "Full scale."
    assert result["runs"][0]["epochs"] == 30
    assert not list((tmp_path / "out" / "data").glob("scale-*"))
    (table7, correlation) = result["tables"]
    assert [row[3] for row in table7["rows"]] == [str(epoch) for epoch in range(7, 16)]
    assert correlation["rows"][0][2] == "−0.167"
    assert correlation["rows"][1][2] == "−0.938"
    assert "Scaled down" not in (tmp_path / "out" / "report.html").read_text()


def test_results_of_another_scale_or_other_data_are_not_overwritten(
    data: Path, tmp_path: Path, fake: FakeTraining
) -> None:
    out = tmp_path / "out"
    run(["table1", "fig18"], data, out)
    with pytest.raises(OutputError, match="holds the result of --scale tiny"):
        run(["fig18"], data, out, scale=parse_scale("0.1"))
    other = make_phantom_data(tmp_path / "other", patients=(3, 4, 5))
    with pytest.raises(OutputError, match="holds the result on other data"):
        run(["table1"], other, out)
    run(["table5"], other, out, scale=parse_scale("0.1"))


def test_a_folder_of_something_else_is_not_touched(data: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(OutputError, match="something else"):
        run(["table1"], data, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_two_at_a_time_in_one_folder_are_refused(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(["table1"], data, out)
    with (out / ".lock").open("r+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="at work"):
            run(["table1"], data, out)


def test_without_masks_what_needs_them_is_not_made(data: Path, tmp_path: Path, fake: FakeTraining) -> None:
    bare = tmp_path / "bare"
    for split in ("train", "validate", "test"):
        (bare / split).mkdir(parents=True)
        (bare / split / "images").symlink_to(data / split / "images")
        names = sorted(path.name for path in (data / split / "images").iterdir())
        lines = [f"{name},{index % 3}" for index, name in enumerate(names)]
        (bare / split / "targets.csv").write_text("file,target\n" + "\n".join(lines) + "\n")
    out = tmp_path / "out"
    results = run(["table1", "fig1-2", "fig4", "table9", "split"], bare, out)
    assert [result["finished"] for result in results] == [True, False, True, False, True]
    page = (out / "report.html").read_text()
    assert page.count("Not made:") == 2
    assert "a U-Net needs masks/, not targets.csv" in page
    with pytest.raises(DataError, match="has no masks"):
        run(["table9"], bare, out)


def test_data_split_by_slice_marks_everything(data: Path, tmp_path: Path, fake: FakeTraining) -> None:
    leaky = tmp_path / "leaky"
    leaky.mkdir()
    for split in ("train", "validate", "test"):
        (leaky / split).symlink_to(data / split)
    (leaky / "dataset.json").write_text('{"split_by": "slice", "window_hu": [-40, 160], "synthetic": true}')
    watch = Lines()
    results = run(["fig18", "split"], leaky, tmp_path / "out", watch)
    assert any("is split by slice" in line for line in watch.lines)
    assert results[0]["data_line"] == "Data leaky, SYNTHETIC, split BY SLICE (accuracies are too high)."
    assert "split by slice" in results[0]["tables"][0]["title"]
    assert [row[1] for row in results[1]["tables"][0]["rows"][:2]] == ["slice", "patient"]
    assert "The data is split by slice" in (tmp_path / "out" / "report.html").read_text()
