"""The document: its schema, speed beside accuracy, errors as rows; and the tables and the picture drawn from it."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks import candidates as candidates_module
from benchmarks import run as run_module
from benchmarks import scenarios as scenarios_module
from benchmarks.candidates import Candidate
from benchmarks.contenders import SCORING_BATCH
from benchmarks.fresh import ChildError
from benchmarks.inputs import choose_inputs
from benchmarks.latency import MeasuringEffort
from benchmarks.plot import _legends, draw
from benchmarks.reference import OriginalReference
from benchmarks.report import model_table, notes, offline_table, server_table, start_table
from benchmarks.report_files import CSV_COLUMNS, csv_text, markdown, write_report
from benchmarks.run import benchmark
from benchmarks.scenarios import Plan
from benchmarks.server import ServerEffort
from benchmarks.torch_eager import original_candidates
from export.source import Deployed, Original
from fake_runtime import FakeRuntime
from lits_deploy.bundle import Bundle
from lits_deploy.errors import DeviceOutOfMemory, OutputError
from lits_deploy.runtime import Batch, Outputs, Runtime
from tiny_bundle import BIAS, WEIGHTS, make_tiny_bundle, tiny_logits
from tiny_data import make_tiny_data
from train.models.registry import network

EFFORT = MeasuringEffort(samples=12, cap_s=1.0, floor=4, warmup_calls=2, warmup_s=0.0)
COLD = {"load_s": 0.5, "first_ms": 3.0, "peak_mb": 90.0, "before_load_mb": 30.0, "process_s": 1.0}


class TinyNetwork(nn.Module):
    """The network of tiny_bundle in PyTorch."""

    def forward(self, x: Tensor) -> Tensor:
        quarter = x[..., : x.shape[-2] // 2, : x.shape[-1] // 2]
        features = torch.cat([x.mean(dim=(2, 3)), quarter.mean(dim=(2, 3))], dim=1)
        return features @ torch.from_numpy(WEIGHTS) + torch.from_numpy(BIAS)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("run") / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_data(tmp_path_factory.mktemp("run") / "data", slices=12)


@pytest.fixture(scope="module")
def document(bundle: Bundle, data: Path) -> dict[str, Any]:
    """A real run against the same network in PyTorch; only cold starts are made up."""
    contract = bundle.manifest.contract
    module = Deployed(TinyNetwork(), contract, "classify").eval()
    original = Original(info=network("resnet18"), module=module, contract=contract, width=None)
    reference = OriginalReference(
        about={"run": "run", "checkpoint_sha256": "c" * 64},
        data=None,
        candidates=original_candidates(Path("run"), original, 1),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates_module, "targets", lambda: [("onnxruntime", "cpu")])
        patch.setattr(run_module, "open_reference", lambda *_: reference)
        patch.setattr(scenarios_module, "cold_start", lambda *_, **__: dict(COLD))
        patch.setattr(scenarios_module, "OFFLINE_S", {"full": 0.2})
        patch.setattr(
            scenarios_module, "SERVER_EFFORT", {"full": ServerEffort(queries=20, least_s=0.1, cap_s=1.0, steps=2)}
        )
        return benchmark(bundle, Plan(batches=(1, 4), threads=1, effort=EFFORT), against=Path("run"), data=data)


def test_rows_are_candidates_times_batches(document: dict[str, Any]) -> None:
    assert [(row["runtime"], row["artifact"], row["batch"]) for row in document["rows"]] == [
        ("onnxruntime", "fp32", 1),
        ("PyTorch eager", "original", 1),
        ("onnxruntime", "fp32", 4),
        ("PyTorch eager", "original", 4),
    ]
    for row in document["rows"]:
        assert row["error"] is None
        assert 4 <= row["latency_ms"]["samples"] <= 12
        assert row["latency_ms"]["p99"] is None
        assert row["latency_ms"]["needed"]["p99"] == 662
        assert row["slices_per_second"] > 0
        assert row["same_class"] == {"share": 1.0, "slices": 12, "unit": "slices", "by": "PyTorch"}
        assert row["speedup"] is not None
    assert [row["speedup"] for row in document["rows"] if row["original"]] == [1.0, 1.0]


def test_accuracy_is_that_of_the_network(document: dict[str, Any], bundle: Bundle, data: Path) -> None:
    inputs = choose_inputs(bundle, data)
    right = (tiny_logits(inputs.slices, bundle.manifest.contract).argmax(axis=1) == inputs.targets).mean()
    assert [row["accuracy"] for row in document["rows"]] == [pytest.approx(right)] * 4


def test_the_folder_run_is_checked_and_counted(document: dict[str, Any]) -> None:
    (row,) = document["end_to_end"]
    assert row["error"] is None
    assert (row["files"], row["failed"]) == (12, 0)
    assert row["slices"] + row["excluded"] == 12  # some of the tiny pictures have too few shades for a slice
    assert row["slices"] > 6
    assert row["process_s"] > row["wall_s"] > 0


def test_document_is_json_and_says_where_and_on_what(document: dict[str, Any]) -> None:
    again = json.loads(json.dumps(document, allow_nan=False))
    assert (again["kind"], again["schema"]) == ("benchmark", 2)
    assert set(again) == {
        "kind",
        "schema",
        "disclaimer",
        "machine",
        "telemetry",
        "bundle",
        "against",
        "data",
        "settings",
        "rows",
        "offline",
        "server",
        "end_to_end",
        "notes",
    }
    assert {"processor", "cores", "governor", "load_average", "libraries", "git", "date", "stolen_share"} <= set(
        again["machine"]
    )
    assert again["settings"]["threads"] == 1
    assert again["data"]["line"] == "data, test split by patient: 12 slices"
    digest = again["data"]["test_set_sha256"]
    assert len(digest) == 64
    assert {row["test_set_sha256"] for row in csv.DictReader(io.StringIO(csv_text(document)))} == {digest}
    assert notes(document)[0] == f"accuracy on data, test split by patient: 12 slices (test set {digest[:12]})."


@pytest.mark.parametrize(
    ("latencies", "says"),
    [
        ([{"p50": 1.0, "p90": 2.0, "p99": None}], ["p50", "p90"]),
        (
            [{"p50": 1.0, "p90": 2.0, "p99": 3.0}, {"p50": None, "p90": None, "p99": None}],
            ["p50", "p90", "p99", "mean (fewer than 11 calls)"],
        ),
        ([{"p50": None, "p90": None, "p99": None}], ["mean (fewer than 11 calls)"]),
    ],
)
def test_the_plots_legend_names_only_percentiles_that_were_measured(
    latencies: list[dict[str, Any]], says: list[str]
) -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    _legends(figure, figure.subplots(), latencies)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == says
    assert figure.legends[0].get_title().get_text().count("p99") == ("p99" in says)


def test_the_plots_accuracies_carry_their_marks(
    document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    legends: list[str] = []

    def save(figure: Figure, file: Path, **_: Any) -> None:
        legends.extend(text.get_text() for text in figure.legends[1].get_texts())
        file.touch()

    monkeypatch.setattr(Figure, "savefig", save)
    draw({**document, "data": {**document["data"], "synthetic": True}}, tmp_path / "latency.png")
    assert legends
    assert all(": accuracy (SYNTHETIC) " in text for text in legends)


def test_tables_show_a_dash_for_a_percentile_without_samples(document: dict[str, Any]) -> None:
    header, rows = model_table(document)
    p99 = header.index("p99 ms")
    assert {row[p99] for row in rows} == {"–"}
    assert header.index("accuracy") > header.index("× PyTorch")
    assert all(row[header.index("same class")] == "12/12" for row in rows)
    assert any("662 for p99" in line for line in notes(document))
    assert start_table(document)[1][0][3:] == ["–", "0.50", "3.0", "1.00", "90"]


def test_csv_has_every_row_and_column(document: dict[str, Any]) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(document))))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [row["scenario"] for row in rows] == [
        *["single-stream"] * 2,
        *["batch"] * 2,
        *["offline"] * 2,
        *["server"] * 2,
        "folder",
    ]
    assert rows[0]["p99_ms"] == ""
    assert float(rows[0]["peak_mb"]) == 90.0
    assert int(rows[8]["slices"]) == document["end_to_end"][0]["slices"]


def test_offline_and_server_are_checked_and_shown(document: dict[str, Any]) -> None:
    assert [row["error"] for row in document["offline"]] == [None, None]
    for row in document["offline"]:
        assert row["slices"] >= 12
        assert row["timed_s"] >= 0.2
        assert len(row["windows"]["slices_per_second"]) == 3
    for row in document["server"]:
        assert row["error"] is None
        assert row["bound_ms"] == 100.0
        assert 1 <= len(row["trials"]) <= 2
        assert all(trial["queries"] >= 2 for trial in row["trials"])
    assert len(offline_table(document)[1]) == len(server_table(document)[1]) == 2
    assert all(
        len(cells) == len(header)
        for header, rows in (offline_table(document), server_table(document))
        for cells in rows
    )
    assert any(line.startswith(("joules: this machine", "J / 1,000")) for line in notes(document))


def test_files_are_written_once_more_but_not_over_something_else(document: dict[str, Any], tmp_path: Path) -> None:
    for _ in range(2):
        assert write_report(document, tmp_path / "out") == [
            "benchmark.json",
            "benchmark.csv",
            "benchmark.md",
            "benchmark.html",
        ]
    assert draw(document, tmp_path / "out" / "latency.png")
    assert (tmp_path / "out" / "latency.png").read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / "out" / "benchmark.md").read_text(encoding="utf-8")
    assert text == markdown(document)
    assert "not for clinical use" in text
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "thesis.tex").write_text("")
    with pytest.raises(OutputError, match="something else"):
        write_report(document, tmp_path / "else")


class Forgetful(FakeRuntime):
    """Right while it is scored (batches of 8), wrong when it is timed."""

    def _infer(self, batch: Batch) -> Outputs:
        outputs = super()._infer(batch)
        assert outputs.probabilities is not None
        if self.max_batch == SCORING_BATCH:
            return outputs
        return Outputs(probabilities=np.roll(outputs.probabilities, 1, axis=1))


def fake_candidate(name: str, **changes: Any) -> Candidate:
    def opened(max_batch: int, wanted: tuple[str, ...] | None = None) -> Runtime:
        return (Forgetful if name == "forgetful" else FakeRuntime)(max_batch=max_batch)

    candidate = Candidate(
        runtime=name, device="cpu", artifact="fp32", precision="fp32", size_bytes=1, tolerance=1e-4, open=opened
    )
    candidate = dataclasses.replace(candidate, spec={"name": name})
    return dataclasses.replace(candidate, **changes)


def test_wrong_answers_and_failed_starts_become_error_rows(
    bundle: Bundle, data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: Any) -> Runtime:
        raise DeviceOutOfMemory("requested 3 bytes")

    candidates = [fake_candidate("right"), fake_candidate("forgetful"), fake_candidate("swollen")]
    candidates.append(fake_candidate("full", open=full))

    def start(candidate: Candidate, batch: int) -> dict[str, Any]:
        if candidate.runtime == "swollen":
            raise ChildError("a fresh process failed: killed by signal 9 (out of memory?)")
        return dict(COLD)

    def folder(_inputs: Any, _scored: Any, spec: dict[str, Any]) -> dict[str, Any]:
        if spec["name"] == "right":
            raise ChildError("no folder today")
        return {"error": "3 of 12 slices have another class than in the accuracy run"}

    monkeypatch.setattr(run_module, "candidates_of", lambda *_: candidates)
    monkeypatch.setattr(scenarios_module, "cold_start", start)
    monkeypatch.setattr(scenarios_module.folder, "end_to_end", folder)
    document = benchmark(bundle, Plan(batches=(4,), effort=EFFORT, scenarios=("batch", "folder")), data=data)
    right, forgetful, swollen = document["rows"]
    assert right["error"] is None
    assert right["speedup"] is None  # nothing to compare with
    assert right["same_class"]["by"] == "goldens"
    assert "otherwise than the accuracy run" in forgetful["error"]
    assert forgetful["latency_ms"] is None
    assert "signal 9" in swollen["error"]
    assert "full fp32 is not measured: requested 3 bytes" in document["notes"]
    header, rows = model_table(document)
    assert "× PyTorch" not in header
    assert [row[3] == "error" for row in rows] == [False, True, True]
    assert all(len(row) == len(header) for row in rows)
    assert [row["error"] is not None for row in document["end_to_end"]] == [True, True, True]
    assert any("signal 9" in line for line in notes(document))
    assert draw(document, tmp_path / "latency.png")
    assert csv_text(document).count("error") >= 1
    assert markdown(document)


def test_no_speed_up_without_accuracy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = make_tiny_bundle(tmp_path / "small", size=64, crop=56)  # goldens only: no targets

    def opened(max_batch: int, wanted: tuple[str, ...] | None = None) -> Runtime:
        return FakeRuntime(shape=(1, 64, 64), max_batch=max_batch)

    both = [
        fake_candidate("fake", open=opened),
        fake_candidate("PyTorch eager", open=opened, original=True, artifact="original"),
    ]
    monkeypatch.setattr(run_module, "candidates_of", lambda *_: both)
    monkeypatch.setattr(scenarios_module, "cold_start", lambda *_, **__: dict(COLD))
    monkeypatch.setattr(scenarios_module.folder, "end_to_end", lambda *_, **__: {"error": "not here"})
    document = benchmark(bundle, Plan(batches=(2,), effort=EFFORT, scenarios=("batch", "folder")))
    assert all(row["accuracy"] is None and row["speedup"] is None for row in document["rows"])
    assert all(row["slices_per_second"] for row in document["rows"])


def test_a_gain_that_costs_accuracy_is_noted() -> None:
    rows = [
        {
            "original": original,
            "batch": 1,
            "device": "cpu",
            "accuracy": accuracy,
            "error": None,
            "notes": [],
            "precision": precision,
            "slices_per_second": rate,
            "speedup": None,
        }
        for original, accuracy, precision, rate in ((False, 0.80, "int8", 90.0), (True, 0.90, "fp32", 30.0))
    ]
    scenarios_module.compare(rows)
    assert rows[0]["speedup"] == 3.0
    assert rows[0]["notes"] == ["88.9 % of the accuracy of PyTorch: its speed is no gain"]
    assert rows[1]["notes"] == []
