"""Tuning: the faster setting is found, a default stays unless beaten clearly, what is remembered is checked."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.candidates import opener, spec_of
from fake_runtime import FakeRuntime
from lits_deploy.backends import targets
from lits_deploy.bundle import Bundle
from lits_deploy.machine import cores
from lits_deploy.pipeline import autotune, defaults
from lits_deploy.pipeline.network import open_network
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.run import run_folder
from lits_deploy.pipeline.stop import Stop
from lits_deploy.runtime import Batch, Outputs, Runtime, RuntimeOptions
from tiny_bundle import make_tiny_bundle


class Paced(FakeRuntime):
    """Takes `seconds[batch]` for a batch."""

    def __init__(self, seconds: dict[int, float], memory_for: int | None = None) -> None:
        super().__init__(shape=(1, 8, 8), max_batch=64, memory_for=memory_for)
        self.seconds = seconds

    def _infer(self, batch: Batch) -> Outputs:
        time.sleep(self.seconds[len(batch)])
        return super()._infer(batch)


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return make_tiny_bundle(tmp_path / "bundle")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call a pass, and few batch sizes."""
    monkeypatch.setattr(autotune, "STEP_S", 0.0)
    monkeypatch.setattr(defaults, "CPU_BATCHES", (4, 8, 16))


def test_a_clearly_faster_batch_wins_and_the_default_stays_otherwise(quick: None) -> None:
    fast = {4: 0.02, 8: 0.04, 16: 0.008}  # 200, 200 and 2000 slices/s
    found = autotune.measure(lambda *_: Paced(fast), device="cpu")
    assert found[0].batch == 16
    assert found[0].slices_per_s > 2 * next(one for one in found if one.batch == 8).slices_per_s
    even = {size: 0.02 * size for size in (4, 8, 16)}
    found = autotune.measure(lambda *_: Paced(even), device="cpu")
    assert (found[0].batch, found[0].threads) == (defaults.CPU_BATCH, cores())


def test_a_request_to_stop_ends_the_measuring(bundle: Bundle) -> None:
    stop, seen = Stop(), []

    class Stopping(FakeRuntime):
        def _infer(self, batch: Batch) -> Outputs:
            seen.append(len(batch))
            stop.request()
            return super()._infer(batch)

    def open_artifact(*_: object) -> Runtime:
        return Stopping(shape=(1, 8, 8), max_batch=64)

    with pytest.raises(KeyboardInterrupt):
        autotune.find(
            bundle, bundle.artifact("fp32"), ClassifyOptions(tune=True, device="cpu"), open_artifact, stop=stop
        )
    assert len(set(seen)) == 1


def test_others_are_told_from_ones_own_work(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([(0, 0), (100 * os.sysconf("SC_CLK_TCK"), 40 * os.sysconf("SC_CLK_TCK"))])
    monkeypatch.setattr(autotune.Others, "_ticks", staticmethod(lambda: next(ticks)))
    own = iter([1.0, 31.0])
    monkeypatch.setattr(autotune, "process_time", lambda: next(own))
    assert autotune.Others().share() == pytest.approx(0.3)  # 60 s busy, 30 of them ours, of 100


def test_a_batch_without_memory_is_left_out(quick: None) -> None:
    seconds = dict.fromkeys((4, 8, 16), 0.001)
    found = autotune.measure(lambda *_: Paced(seconds, memory_for=8), device="cpu")
    assert {one.batch for one in found} == {4, 8}


def test_what_is_remembered_is_for_this_box_and_bundle_and_must_make_sense(bundle: Bundle) -> None:
    runtime, device = targets()[0]
    key = autotune.box_and_bundle(bundle, bundle.artifact(), runtime, device)
    assert autotune.remembered(key) is None
    setting = autotune.Setting(batch=16, threads=1, slices_per_s=123.0)
    assert autotune.remember(key, setting, [setting])
    assert autotune.remembered(key) == setting
    assert autotune.remembered({**key, "processor": "another"}) is None
    path = autotune._path(key)
    record = json.loads(path.read_text())
    for nonsense in ({"batch": 10**6}, {"batch": "16"}, {"threads": -1}, {"more": 1}):
        path.write_text(json.dumps({**record, "setting": {**record["setting"], **nonsense}}))
        assert autotune.remembered(key) is None
    path.write_text("{")
    assert autotune.remembered(key) is None


def test_a_run_takes_it_and_what_the_user_says_comes_first(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scans").mkdir()
    rng = np.random.default_rng(0)
    for index in range(3):
        Image.fromarray(rng.integers(0, 256, (256, 256)).astype(np.uint8)).save(tmp_path / "scans" / f"{index}.png")
    asked: list[str] = []

    def measured(open_network: autotune.Open, *, device: str, stop: object) -> list[autotune.Setting]:
        asked.append(device)
        with open_network(4, 1) as network:
            assert isinstance(network, Runtime)
            assert network.max_batch == 4
        return [autotune.Setting(batch=2, threads=1, slices_per_s=9.0)]

    monkeypatch.setattr(autotune, "measure", measured)
    monkeypatch.setattr(autotune.Others, "share", lambda _: 0.5)
    busy = run_folder(
        bundle, [tmp_path / "scans"], tmp_path / "busy", options=ClassifyOptions(device="cpu", workers=1, tune=True)
    )
    assert busy.warnings == ("Other programs took 50 % of the processor while tuning: nothing was remembered.",)
    monkeypatch.setattr(autotune.Others, "share", lambda _: 0.0)
    asked.clear()

    def options_of(name: str, options: ClassifyOptions) -> dict[str, object]:
        summary = run_folder(bundle, [tmp_path / "scans"], tmp_path / name, options=options)
        values: dict[str, object] = json.loads(summary.run_json.read_text())["options"]
        return values

    plain = ClassifyOptions(device="cpu", workers=1, salt="s")
    first = options_of("a", plain)
    assert (first["batch_size"], first["tuned"]) == (defaults.CPU_BATCH, None)
    found = options_of("b", replace(plain, tune=True))
    assert (found["batch_size"], found["threads"]) == (2, 1)
    later = options_of("c", plain)
    assert (later["batch_size"], later["tuned"]) == (2, {"batch": 2, "threads": 1, "slices_per_s": 9.0})
    own = options_of("d", replace(plain, batch_size=3))
    assert own["batch_size"] == 3
    assert asked == ["cpu"]
    tables = {name: (tmp_path / name / "slices.csv").read_bytes() for name in "abcd"}
    assert len(set(tables.values())) == 1, tables


def test_no_batch_is_tried_that_the_engine_does_not_take(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {1: 0.0, 2: 0.0}

    def opened(most: int, _threads: int) -> Runtime:
        network = Paced(small)
        network.max_batch = 2
        return network

    for batches, tried in (((1, 2, 4), {1, 2}), ((8, 16), {2})):
        monkeypatch.setattr(defaults, "GPU_BATCHES", batches)
        assert {one.batch for one in autotune.measure(opened, device="cuda:0")} == tried


def test_only_a_batch_size_that_was_named_is_tried_beyond_the_engines_default(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, bool]] = []

    def opened(*_: object, max_batch: int, options: RuntimeOptions, **__: object) -> Runtime:
        asked.append((max_batch, options.insist))
        return FakeRuntime()

    monkeypatch.setattr("lits_deploy.trt.open.open_tensorrt", opened)
    options = ClassifyOptions(runtime="tensorrt", device="cuda")
    for one in (options, replace(options, batch_size=64), replace(options, batch_size=128, tune=True)):
        open_network(bundle, options=one)
    opener(bundle, spec_of(bundle, 1, "fp32", "tensorrt", "cuda"))(8)
    assert asked == [(defaults.GPU_BATCH, False), (64, True), (128, False), (8, True)]
