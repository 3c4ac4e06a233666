"""Every kind of page in a browser, light, dark and on a phone: nothing on the console, nothing axe-core calls serious.

axe-core checks what a program can of whether everybody can read a page: contrast, names, headings, order of tables.
`make bindings` fetches it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import train.recipes.lab.page
from benchmark_documents import full
from benchmarks import page as benchmark
from benchmarks.evaluation import report as evaluation
from benchmarks.evaluation.folded import evaluate_folds
from benchmarks.evaluation.run import evaluate
from benchmarks.evaluation.subject import open_subject
from browser import visit
from fake_training import FakeTraining
from folded_run import make_folded_run
from ledgers import make_ledger
from lits_deploy.nights.page import page as drift
from lits_deploy.nights.report import look_at
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.report.page import page as report
from lits_deploy.report.view import view
from looks import night, people
from phantom_data import make_phantom_data
from tiny_bundle import make_tiny_bundle
from tiny_data import make_tiny_data
from train.recipes.lab import trainings
from train.recipes.lab.bench import BenchSettings
from train.recipes.lab.reproduce import reproduce
from train.recipes.lab.scale import TINY
from train.recipes.registry import RECIPES
from train.session import Observer

AXE = Path(sys.prefix) / "axe-core" / "axe.min.js"
LOOK = """
const found = (await axe.run({ resultTypes: ["violations"] })).violations;
return {
  axe: found.filter((one) => one.impact === "serious" || one.impact === "critical").map(
    (one) => [one.id, ...new Set(one.nodes.map((node) => `${node.target}: ${node.any[0]?.message ?? one.help}`))]),
  dark: matchMedia("(prefers-color-scheme: dark)").matches,
  width: innerWidth,
  wide: document.documentElement.scrollWidth,
  explained: document.querySelector("details.how > summary")?.parentElement.open,
};
"""


def of_a_run(folder: Path) -> str:
    with make_ledger(folder) as ledger:
        return report(view(ledger))


def of_a_bundle(folder: Path) -> str:
    data = make_tiny_data(folder / "set", slices=6, patients=(1, 1, 3), window=[-40, 160])
    make_tiny_bundle(folder / "tiny", temperature=2.0, abstain_below=0.42)
    subject = open_subject(folder / "tiny", ClassifyOptions(runtime="onnxruntime", device="cpu", batch_size=4))
    return evaluation.page(evaluate(subject, data, draws=20).document)


def of_folds(folder: Path, model: str) -> str:
    make_folded_run(folder, model=model)
    return evaluation.page(evaluate_folds(folder, draws=20).document)


def of_benchmarks(folder: Path) -> str:
    return benchmark.page([full("one", 100.0, 0.8), full("two", 200.0, 0.7, sha256="e" * 64, split_by="slice")])


def of_recipes(folder: Path) -> str:
    data, out = make_phantom_data(folder / "data"), folder / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainings, "train", FakeTraining())
        results = reproduce(
            [RECIPES[name] for name in ("fig1-2", "split")],
            data,
            BenchSettings(out=out, scale=TINY),
            watch=Observer(),
            arguments=[],
        )
    failed = {**results[0], "id": "gallery", "finished": False, "reason": "no `data`"}
    return train.recipes.lab.page.page([*results, failed], out)


def of_nights(folder: Path) -> str:
    pytest.importorskip("scipy")
    bright = night(folder / "bright", range(300, 312), reference=people(), changes={"middle": 40, "low": 15})
    mute = night(folder / "mute", range(400, 412))
    return drift(look_at([bright, mute]))


KINDS: dict[str, Callable[[Path], str]] = {
    "report": of_a_run,
    "evaluation of a bundle": of_a_bundle,
    "evaluation of folds": lambda folder: of_folds(folder, "resnet18"),
    "evaluation of a U-Net": lambda folder: of_folds(folder, "unet"),
    "benchmark": of_benchmarks,
    "reproduction": of_recipes,
    "drift": of_nights,
}


@pytest.fixture(scope="module", params=KINDS)
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return KINDS[request.param](tmp_path_factory.mktemp("page") / "it")


@pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 1280), (False, 390)])
def test_everybody_can_read_it(page: str, dark: bool, width: int, tmp_path: Path) -> None:
    console, found = _look(page, tmp_path, dark=dark, width=width)
    assert found["axe"] == []
    assert console == []
    assert found["dark"] is dark
    assert found["explained"] is True, "how to read this page stands open at first"
    assert found["wide"] <= found["width"], "the page itself scrolls sideways"


def test_a_finding_would_be_seen(tmp_path: Path) -> None:
    page = (
        '<!doctype html><html lang="en"><title>t</title><body><p style="color:#999">pale</p><img src="a"></body></html>'
    )
    _, found = _look(page, tmp_path)
    assert [one[0] for one in found["axe"]] == ["color-contrast", "image-alt"]


def _look(page: str, folder: Path, **seen: Any) -> tuple[list[str], Any]:
    if not AXE.is_file():
        pytest.skip("needs axe-core (`make bindings` fetches it with npm)")
    return visit(page, folder, LOOK, library=AXE.read_text(encoding="utf-8"), **seen)
