"""What the builder and the loader are told, and what becomes of their refusals.

Played by doubles of TensorRT for RTX's own classes (`pybind_double`), which has those of `tensorrt` that matter here.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from lits_deploy.errors import DeviceError, DeviceOutOfMemory, EngineError
from lits_deploy.nvidia import gpu_here
from lits_deploy.trt.build import Built, build
from lits_deploy.trt.engine import LoadedEngine
from lits_deploy.trt.flavour import FLAVOURS, Library, installed, load
from lits_deploy.trt.key import OptimisationProfile
from pybind_double import Double, Module
from trt_contract import MODEL, answers

pytestmark = pytest.mark.skipif(not installed(FLAVOURS[1]), reason="needs TensorRT for RTX (extra trt-rtx)")


def playing(flavour: str, **changes: Any) -> Library:
    """A library of that flavour; changes: answers, like Builder_create_network=None."""
    rtx = load("rtx")
    changed = {name.replace("_", ".", 1): value for name, value in changes.items()}
    kind = next(kind for kind in FLAVOURS if kind.name == flavour)
    return replace(rtx, flavour=kind, trt=Module(rtx.trt, {**answers(rtx.trt), **changed}))


def built(library: Library, **options: Any) -> Built:
    return build(library, MODEL, OptimisationProfile(), **options)


@pytest.mark.parametrize("refused", ["made", "set"])
def test_a_timing_cache_of_another_gpu_is_left_and_a_new_one_filled(refused: str) -> None:
    begun: list[bytes] = []
    library: Library

    def create(data: bytes) -> Any:
        begun.append(data)
        return None if refused == "made" and data else Double(library.trt, load("rtx").trt.ITimingCache)

    library = playing(
        "tensorrt",
        IBuilderConfig_create_timing_cache=create,
        IBuilderConfig_set_timing_cache=lambda _cache: refused != "set" or begun[-1] == b"",
    )
    assert built(library, timing_cache=b"of another GPU").timing_cache == b"bytes"
    assert begun == [b"of another GPU", b""]


@pytest.mark.parametrize(
    "refusal",
    [
        {"IBuilderConfig_set_timing_cache": False},
        {"IBuilderConfig_get_timing_cache": None},
        {"ITimingCache_serialize": None},
    ],
)
def test_an_engine_without_a_timing_cache_is_one_all_the_same(refusal: dict[str, Any]) -> None:
    done = built(playing("tensorrt", **refusal))
    assert (done.data, done.timing_cache) == (b"bytes", b"")


def test_scratch_memory_follows_the_batch_where_tensorrt_can() -> None:
    features: list[tuple[str, bool]] = []
    built(playing("tensorrt", IBuilderConfig_set_preview_feature=lambda what, on: features.append((what.name, on))))
    assert features == [("RUNTIME_ACTIVATION_RESIZE_10_10", True)]


@pytest.mark.parametrize("tf32", [False, True])
def test_fp32_is_fp32_unless_tf32_is_asked_for(tf32: bool) -> None:
    """TensorRT has the flag on by default."""
    cleared: list[str] = []
    built(playing("tensorrt", IBuilderConfig_clear_flag=lambda flag: cleared.append(flag.name)), tf32=tf32)
    assert cleared == ([] if tf32 else ["TF32"])


def test_a_compute_capability_that_is_not_taken_ends_the_build() -> None:
    library = playing("rtx", IBuilderConfig_set_compute_capability=False)
    with pytest.raises(DeviceError, match=r"TensorRT for RTX \S+ does not build for sm86"):
        built(library, targets=("sm86",))


@pytest.mark.parametrize("call", ["Builder_create_network", "Builder_create_builder_config"])
def test_what_tensorrt_does_not_make_is_reported_in_one_line(call: str) -> None:
    with pytest.raises(DeviceError, match=r"TensorRT \S+ makes no \w+\. Fix: "):
        built(playing("tensorrt", **{call: None}))


def test_an_old_error_explains_nothing() -> None:
    def fail(_logger: Any) -> None:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    library = playing("tensorrt", Builder___init__=fail)
    library.recent.append((1, "an engine of another version"))
    with pytest.raises(DeviceError, match=r"TensorRT \S+ does not start here\. Fix: "):
        built(library)


def test_the_building_thread_uses_the_gpu_that_is_built_for() -> None:
    order: list[tuple[str, int]] = []
    library = playing("tensorrt", Builder___init__=lambda _logger: order.append(("builder", threading.get_ident())))
    built(library, use_gpu=lambda: order.append(("use_gpu", threading.get_ident())))
    assert [what for what, _ in order] == ["use_gpu", "builder"]
    (thread,) = {thread for _, thread in order}
    assert thread != threading.get_ident()


def test_an_engine_that_runs_is_not_refused_for_being_called_invalid() -> None:
    rtx = load("rtx").trt
    assert answers(rtx)["Runtime.get_engine_validity"][0] == rtx.EngineValidity.INVALID
    LoadedEngine(playing("rtx"), b"engine").close()


@pytest.mark.parametrize(
    ("reasons", "error", "match"),
    [
        (2, EngineError, r"cannot use this engine here \(UNSUPPORTED_CC\)"),
        (16, DeviceOutOfMemory, "memory does not suffice"),
        (64, DeviceError, "does not load the engine"),
    ],
)
def test_rtx_says_why_it_did_not_load_an_engine(reasons: int, error: type[Exception], match: str) -> None:
    invalid = load("rtx").trt.EngineValidity.INVALID
    library = playing("rtx", Runtime_deserialize_cuda_engine=None, Runtime_get_engine_validity=(invalid, reasons))
    with pytest.raises(error, match=match):
        LoadedEngine(library, b"engine")


def test_the_real_rtx_runtime_says_what_is_wrong_with_a_file() -> None:
    with pytest.raises(EngineError, match=r"cannot use this engine here \(MALFORMED_ENGINE\).*engine cache"):
        LoadedEngine(load("rtx"), bytes(400))
    if not gpu_here():
        with pytest.raises(DeviceError, match=r"does not load the engine: .*CUDA driver version is insufficient"):
            LoadedEngine(load("rtx"), b"vtrt" + bytes(400))
