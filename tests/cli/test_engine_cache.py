"""--engine-cache of the commands that use engines: the folder named is the one that TensorRT is opened with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from benchmarks import candidates, folder
from benchmarks.candidates import candidates_of
from benchmarks.cold import from_spec
from benchmarks.evaluation.subject import open_subject
from lits_deploy import backends
from lits_deploy import verify as verify_module
from lits_deploy.bundle import Artifact, Bundle
from lits_deploy.cli.app import app
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.runtime import Device, Runtime, RuntimeOptions
from lits_deploy.runtime.onnxruntime_ import OnnxRuntime
from tiny_bundle import make_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("cache") / "bundle", size=64, crop=56)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path | None]:
    """A machine whose only runtime is TensorRT, and the engine caches that it was opened with."""
    folders: list[Path | None] = []

    def open_it(
        of: Bundle, artifact: Artifact, *, wanted: tuple[str, ...], max_batch: int, options: RuntimeOptions, **_: Any
    ) -> Runtime:
        folders.append(options.engine_cache)
        return OnnxRuntime(
            of.read(artifact),
            device=Device("cpu"),
            precision="fp32",
            shape=of.manifest.contract.shape,
            wanted=wanted,
            max_batch=max_batch,
        )

    monkeypatch.setattr("lits_deploy.trt.open.open_tensorrt", open_it)
    for module in (backends, verify_module, candidates):
        monkeypatch.setattr(module, "targets", lambda: [("tensorrt", "cuda:0")])
    return folders


@pytest.mark.parametrize("named", [True, False])
def test_verify_and_classify(bundle: Bundle, opened: list[Path | None], tmp_path: Path, named: bool) -> None:
    cache = tmp_path / "engines"
    option = ["--engine-cache", str(cache)] if named else []
    said = CliRunner().invoke(app, ["verify", str(bundle.folder), *option], catch_exceptions=False)
    assert said.exit_code == 0, said.output
    (tmp_path / "scans").mkdir()
    Image.new("L", (64, 64), 90).save(tmp_path / "scans" / "a.png")
    arguments = ["classify", str(bundle.folder), str(tmp_path / "scans"), "--out", str(tmp_path / "out")]
    said = CliRunner().invoke(
        app, [*arguments, "--runtime", "tensorrt", "--workers", "1", *option], catch_exceptions=False
    )
    assert said.exit_code == 0, said.output
    expected = cache if named else None
    assert opened == [expected] * 3  # verify: FP32 and TF32
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["options"]["engine_cache"] == (str(cache) if named else None)


def test_benchmark_and_evaluate(
    bundle: Bundle, opened: list[Path | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = Path("engines")  # a fresh process gets it as a whole path
    candidate, in_tf32 = candidates_of(bundle, 1, here)
    assert in_tf32.spec["artifact"] == "tf32"
    spec = json.loads(json.dumps(candidate.spec))
    for network in (candidate.open(1), from_spec(spec)(1)):
        network.close()
    subject = open_subject(bundle.folder, ClassifyOptions(runtime="tensorrt", device="cuda", engine_cache=here))
    subject.open().close()
    assert opened == [tmp_path / "engines", tmp_path / "engines", here]

    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(folder, "run_fresh", lambda _module, values: asked.append(values))
    folder.classify_fresh(candidate.spec, [tmp_path], tmp_path / "out")
    assert asked[0]["engine_cache"] == str(tmp_path / "engines")


def test_benchmark_hands_it_to_every_candidate(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from benchmarks import run as run_module

    class Seen(Exception):  # noqa: N818 - nothing is wrong
        pass

    def see(_bundle: Bundle, _threads: int, engine_cache: Path | None) -> None:
        raise Seen(engine_cache)

    monkeypatch.setattr(run_module, "candidates_of", see)
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "nothing"
    monkeypatch.setattr(run_module, "choose_inputs", lambda *_, **__: type("Inputs", (), {"notes": []})())
    arguments = ["benchmark", str(bundle.folder), "--engine-cache", "engines", "--data", str(data), "--quick"]
    with pytest.raises(Seen, match="engines"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
