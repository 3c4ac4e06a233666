"""Hostile names and messages, end to end: what is said or logged is printable, and no suffix tells a patient."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner, Result

from lits_deploy.bundle import Bundle, write_manifest
from lits_deploy.cli import app as cli
from lits_deploy.cli.app import app
from lits_deploy.files import sha256_file
from lits_deploy.model_file import ModelFile
from lits_deploy.runtime.device import Device
from lits_deploy.runtime.onnxruntime_ import OnnxRuntime
from lits_deploy.spreadsheet import read_rows
from lits_deploy.watch.studies import StudyLine
from pictures import encoded, grey_pixels
from tiny_bundle import make_tiny_bundle

ESCAPES = "\x1b]0;owned\x07\x1b[31m\x9b2J\u202e\u200b\u2028"
MARKUP = "a[/foo][bold]:smile:"
CLASSES = (f"none {MARKUP}", f"liver {ESCAPES}", f"=cmd|{ESCAPES}{MARKUP}")
PATIENT = "MUSTERMANN"
PICTURES = (f"{ESCAPES}.png", "a[_foo].png", os.fsdecode(b"\xff\xfe.png"), "=1+1.png", "gnp.\u202escan.png")
OTHERS = (
    f"CT.{PATIENT}^ERIKA_1957-03-12",
    f"b.{ESCAPES}",
    os.fsdecode(b"c.\xff\xfe"),
    "d.[_foo]",
    f"e.{PATIENT.lower()}",
)


def plain(text: str) -> bool:
    """Whether every line is printable."""
    return all(line.isprintable() for line in text.split("\n"))


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    for number, name in enumerate(PICTURES):
        (folder / name).write_bytes(encoded(grey_pixels(64, seed=number)))
    for name in OTHERS:
        (folder / name).write_bytes(b"x")
    (folder / f"broken {ESCAPES}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whole and hostile in every string that its maker chooses."""
    made = make_tiny_bundle(tmp_path_factory.mktemp("hostile") / "bundle", size=64, crop=56, classes=CLASSES)
    return renamed(made).folder


def renamed(made: Bundle) -> Bundle:
    manifest = made.manifest
    (artifact,) = manifest.artifacts
    return write_manifest(
        made.folder,
        dataclasses.replace(
            manifest,
            model={**manifest.model, "name": f"net {MARKUP}{ESCAPES}", "source": ESCAPES},
            training={"weights": ESCAPES},
            artifacts=(dataclasses.replace(artifact, name=f"fp32 {MARKUP}{ESCAPES}"),),
        ),
    )


def run(*arguments: Any) -> Result:
    """The command in this process; what it said must be plain."""
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert plain(result.stdout), repr(result.stdout)
    assert plain(result.stderr), repr(result.stderr)
    return result


@pytest.fixture(scope="module", params=[False, True], ids=["named", "pseudonymous"])
def out(request: pytest.FixtureRequest, bundle: Path, scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "out"
    more = ["--pseudonymous"] if request.param else []
    done = run("classify", bundle, scans, "--out", folder, "--workers", 1, "--format", "csv,jsonl", *more)
    assert done.exit_code == 1, done.output  # the broken one
    assert r"liver \x1b]0;owned" in done.stdout
    assert f"none {MARKUP}" in done.stdout
    assert "other files not read (other 5)" in done.stdout
    assert PATIENT not in done.output.upper()
    return folder


def test_run_json_and_page_hold_printable_text_and_no_suffix(out: Path) -> None:
    text = (out / "run.json").read_text(encoding="utf-8")
    assert plain(text)
    assert PATIENT not in text.upper()
    record = json.loads(text)
    assert all(one.isprintable() for one in strings(record))
    assert record["counts"]["not_scans"] == {"other": len(OTHERS)}
    page = (out / "report.html").read_text(encoding="utf-8")
    assert plain(page)
    assert PATIENT not in page.upper()


def strings(value: Any) -> Iterator[str]:
    """Every text in a document, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)


def test_tables_hold_exact_classes_and_no_cell_runs(out: Path) -> None:
    with (out / "slices.csv").open(encoding="utf-8", newline="") as stream:
        raw = stream.read()
    rows = list(read_rows(io.StringIO(raw, newline="")))
    lines = [json.loads(line) for line in (out / "slices.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["class_name"] for row in lines} - {None} <= set(CLASSES)
    assert len(rows) == len(lines) == len(PICTURES) + 1
    assert PATIENT not in raw.upper()
    for row, line in zip(rows, lines, strict=True):
        assert row["path"] == line["path"]
        assert row["class_name"] == (line["class_name"] or "")


def test_the_report_is_drawn_again(out: Path) -> None:
    assert run("report", out).exit_code == 0


def test_a_scan_says_nothing_else(scans: Path) -> None:
    for more in ([], ["--json"], ["--identify"], ["--identify", "--json"]):
        said = run("scan", scans, "--workers", 1, *more).stdout
        assert PATIENT not in said.upper()
        assert '"other": 5' in said or "(other 5)" in said


def test_a_hostile_bundle_is_inspected_and_verified(bundle: Path) -> None:
    assert rf"net {MARKUP}\x1b]0;owned\x07" in run("bundle", "inspect", bundle).stdout.replace("\n", " ")
    document = json.loads(run("bundle", "inspect", bundle, "--json").stdout)
    assert document["manifest"]["model"]["name"] == f"net {MARKUP}{ESCAPES}"  # JSON is exact
    assert "verified" in run("verify", bundle).stdout


def with_model(bundle: Path, folder: Path, model: onnx.ModelProto) -> Path:
    """A copy of the bundle with another network, its hashes right."""
    shutil.copytree(bundle, folder)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    opened = Bundle.open(folder)
    (artifact,) = opened.manifest.artifacts
    whole = dataclasses.replace(
        artifact, sha256=sha256_file(folder / "model.onnx"), bytes=(folder / "model.onnx").stat().st_size
    )
    write_manifest(folder, dataclasses.replace(opened.manifest, artifacts=(whole,)))
    return folder


def test_what_a_library_says_of_a_hostile_network_is_plain(bundle: Path, tmp_path: Path) -> None:
    model = onnx.load(bundle / "model.onnx")
    model.graph.node[0].op_type = f"Op{ESCAPES}{MARKUP}"  # what ONNX Runtime does not know, it quotes
    result = run("verify", with_model(bundle, tmp_path / "bundle", model))
    assert result.exit_code != 0
    assert "Op" in result.stdout


def test_a_library_prints_nothing_by_itself(capfd: pytest.CaptureFixture[str]) -> None:
    nodes = [  # a shape that is wrong for what the slice holds, which shows when it runs
        helper.make_node("ReduceMax", ["slices"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["number"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["number", "one"], ["shape"]),
        helper.make_node("Reshape", ["slices", "shape"], ["y"], name=f"node {ESCAPES}"),
    ]
    given = helper.make_tensor_value_info("slices", TensorProto.UINT8, ["N", 1, 8, 8])
    answer = helper.make_tensor_value_info("y", TensorProto.UINT8, None)
    graph = helper.make_graph(nodes, "g", [given], [answer], [numpy_helper.from_array(np.array([1]), "one")])
    opset = helper.make_opsetid("", 19)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=9)
    file = ModelFile("model.onnx", model.SerializeToString())
    network = OnnxRuntime(file, device=Device("cpu"), precision="fp32", shape=(1, 8, 8), wanted=("y",), max_batch=1)
    with pytest.raises(Exception, match="Reshape"):
        network.infer(np.full((1, 1, 8, 8), 200, np.uint8))
    assert capfd.readouterr() == ("", "")


def test_a_watch_says_a_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    from lits_deploy.cli.console import console

    console.print(str(StudyLine(entry=ESCAPES, study=f"{MARKUP}{ESCAPES}", slices=2)))
    said = capsys.readouterr().out
    assert plain(said)
    assert MARKUP in said


@pytest.mark.parametrize("arguments", [[f"--{ESCAPES}"], [ESCAPES], ["scan"], ["scan", ".", "--workers", ESCAPES]])
def test_what_a_usage_error_quotes_is_plain(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Error: " in said.err
    assert plain(said.err), repr(said.err)
