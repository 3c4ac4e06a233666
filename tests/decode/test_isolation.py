"""Decode workers keep to themselves: no core dumps, no modules of others, no waiting for pipes."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from folder_runs import SIZE, classify, outcome, tricks
from lits_deploy.bundle import Bundle
from lits_deploy.decode.one_slice import bytes_of
from lits_deploy.errors import SliceError
from named_pipes import not_waiting_for
from tiny_bundle import make_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"), size=SIZE, crop=56)


def test_a_worker_that_dies_leaves_no_core_of_a_patients_pixels(bundle: Bundle, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if hard == 0:
        pytest.skip("core dumps are off for good here")
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        classify(bundle, tricks(tmp_path / "scans", a="core limit"), tmp_path / "out", workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
    assert outcome(tmp_path / "out") == {"a.test": "(0, 0), dumpable 0"}


def test_a_worker_imports_nothing_that_the_environment_puts_in_its_way(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoys = tmp_path / "decoys"
    decoys.mkdir()
    for name in ("sitecustomize", "usercustomize", "json", "numpy"):
        (decoys / f"{name}.py").write_text(f"import os\nos.mkdir({str(tmp_path / f'imported {name}')!r})\n")
    monkeypatch.setenv("PYTHONPATH", str(decoys))
    monkeypatch.setenv("PYTHONSTARTUP", str(decoys / "json.py"))
    monkeypatch.chdir(decoys)
    summary = classify(bundle, tricks(tmp_path / "scans", a="grey 7"), tmp_path / "out", workers=1)
    assert not list(tmp_path.glob("imported *"))
    assert summary.slices == 1


def test_a_pipe_in_the_place_of_a_file_is_never_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "a.png"
    os.mkfifo(pipe)
    with pytest.raises(SliceError, match="not a regular file"):
        not_waiting_for(pipe, lambda: bytes_of({"path": str(pipe)}, 1000))
