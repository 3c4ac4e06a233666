"""Found, built, proven, refused: the whole way from an artifact to an engine that may be used, without a GPU."""

from __future__ import annotations

import dataclasses
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lits_deploy.bundle import Bundle
from lits_deploy.errors import BundleError, DeviceError, DeviceOutOfMemory, EngineError, UserError
from lits_deploy.pipeline.decide import softmax
from lits_deploy.runtime import Device, RuntimeOptions
from lits_deploy.trt import bundle_engines
from lits_deploy.trt import open as open_module
from lits_deploy.trt import prepare as prepare_module
from lits_deploy.trt.bindings import GpuIdentity
from lits_deploy.trt.build import Built
from lits_deploy.trt.cache import EngineCache
from lits_deploy.trt.flavour import Library
from lits_deploy.trt.key import OptimisationProfile
from lits_deploy.trt.layers import Layer
from lits_deploy.trt.open import open_tensorrt
from lits_deploy.trt.prepare import EngineJob, artifacts_for, prepare
from lits_deploy.trt.record import NOT_PROVEN, EngineRecord
from recording_cuda import FAKE_GPU, RecordingCuda
from tiny_bundle import make_tiny_bundle, tiny_logits
from trt_fakes import FakeEngine, classifier_tensors, fake_library

SIZE = 32
NEW_DRIVER = dataclasses.replace(FAKE_GPU, driver="581.10")


class Bench:
    """A box: one library, one GPU, one cache; it counts what is built and what is loaded."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, task: str = "classify") -> None:
        self.bundle = make_tiny_bundle(folder / "bundle", size=SIZE, crop=24, task=task)
        self.fits = 64
        self.cache = EngineCache(folder / "engines")
        self.cuda = RecordingCuda()
        self.library = fake_library()
        self.built: list[bytes] = []
        self.tf32: list[bool] = []
        self.loaded: list[bytes] = []
        self.said: list[str] = []
        self.error = 0.0
        self.types = "fp32"
        monkeypatch.setattr(prepare_module, "build", self.build)
        monkeypatch.setattr(prepare_module, "inspect", lambda *_: [])
        monkeypatch.setattr(open_module.flavour, "load", lambda _: self.library)
        monkeypatch.setattr(open_module.bindings, "open_cuda", lambda: self.cuda)
        monkeypatch.setattr(open_module, "LoadedEngine", self.load)
        monkeypatch.setattr(open_module, "_log", lambda line: self.said.append(line))

    def build(self, library: Library, model: Path, profile: OptimisationProfile, **options: Any) -> Built:
        options["use_gpu"]()
        self.tf32.append(options["tf32"])
        self.built.append(f"engine {len(self.built)} of {library.version} for {profile}".encode())
        layer = Layer(name="conv", kind="correlation", inputs=(self.types,), constants=(), outputs=(), nodes=())
        return Built(data=self.built[-1], layers=[layer], seconds=0.5, timing_cache=b"timings")

    def compute(self, slices: np.ndarray) -> dict[str, np.ndarray]:
        logits = tiny_logits(slices, self.bundle.manifest.contract) + np.float32([self.error, 0, 0])
        return {"logits": logits, "probabilities": softmax(logits)}

    def job(self, artifact: str = "fp32", **changes: Any) -> EngineJob:
        given = {"library": self.library, "cuda": self.cuda, **changes}
        return EngineJob(bundle=self.bundle, artifact=self.bundle.artifact(artifact), cache=self.cache, **given)

    def load(self, _library: Library, data: bytes, *, runtime_cache: bytes, keep: Any) -> FakeEngine:
        self.loaded.append(data)
        most = int(data.rpartition(b"/")[2])
        if most > self.fits:
            raise DeviceOutOfMemory("Requested amount of GPU memory (3145728 bytes) could not be allocated.")
        tensors = classifier_tensors((1, SIZE, SIZE))
        given: dict[str, Any] = {"tensors": tensors, "max_batch": most, "compiled": b"compiled", "keep": keep}
        return FakeEngine(self.cuda, self.compute, **given)

    def open(self, max_batch: int = 8, *, gpu: int = 0, artifact: str = "fp32", insist: bool = False) -> Any:
        return open_tensorrt(
            self.bundle,
            self.bundle.artifact(artifact),
            device=Device("cuda", gpu),
            wanted=("logits",),
            max_batch=max_batch,
            options=RuntimeOptions(engine_cache=self.cache.folder, insist=insist),
        )

    def use(self, max_batch: int = 8) -> np.ndarray:
        slices = np.random.default_rng(1).integers(0, 256, (3, 1, SIZE, SIZE), dtype=np.uint8)
        with self.open(max_batch) as network:
            logits = network.infer(slices).logits
        np.testing.assert_allclose(logits, self.compute(slices)["logits"], rtol=1e-6)
        assert self.cuda.leaks() == {}
        answer: np.ndarray = logits
        return answer

    def record(self) -> EngineRecord:
        (record,) = self.cache.records()
        return record

    def engine_file(self) -> Path:
        return self.cache.engine_path(self.record().key)


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def test_built_once_proven_once_and_found_ever_after(box: Bench) -> None:
    box.use()
    assert (len(box.built), len(box.loaded)) == (1, 2)  # once for the goldens, once to be used
    assert box.said[0] == "building the TensorRT engine of fp32: there is none yet"
    assert box.said[1].startswith("goldens pass on NVIDIA RTX A2000: fp32, 3 slices")
    record = box.record()
    assert record.proven_on(FAKE_GPU)
    assert record.note == ""
    assert record.cuda == "13.0"
    assert box.cache.read_side("timing-tensorrt-10.3.0.30-NVIDIA_RTX_A2000.cache") == b"timings"
    box.said.clear()
    box.use()
    box.use(max_batch=32)
    assert (len(box.built), len(box.loaded), box.said) == (1, 4, [])


@pytest.mark.parametrize(
    ("gpu", "version", "reason"),
    [
        (NEW_DRIVER, "10.3.0.30", "driver 580.95.05 → 581.10"),
        (
            dataclasses.replace(FAKE_GPU, name="NVIDIA L4", compute_capability="8.9"),
            "10.3.0.30",
            "GPU NVIDIA RTX A2000",
        ),
        (FAKE_GPU, "10.4.0.26", "TensorRT 10.3.0.30 → 10.4.0.26"),
    ],
)
def test_another_gpu_driver_or_version_is_rebuilt_and_proven_anew(
    box: Bench, gpu: GpuIdentity, version: str, reason: str
) -> None:
    box.use()
    old = box.built[0]
    box.said.clear()
    box.loaded.clear()
    box.cuda.gpu, box.library = gpu, fake_library(version=version)
    box.use()
    assert len(box.built) == 2
    assert reason in box.said[0]
    assert box.said[1].startswith("goldens pass on")
    assert old not in box.loaded  # an engine of another version or box is never deserialised


@pytest.mark.parametrize("how", ["swapped", "truncated", "foreign", "record", "altered record"])
def test_a_tampered_engine_is_rebuilt_and_never_deserialised(box: Bench, how: str) -> None:
    box.use()
    path, evil = box.engine_file(), b"a program of somebody else"
    paper = path.with_suffix(".json")
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    elif how == "swapped":
        path.write_bytes(evil.ljust(path.stat().st_size, b"!"))
    elif how == "foreign":  # with a record of another box
        other = dataclasses.replace(box.record(), key=dataclasses.replace(box.record().key, gpu="NVIDIA A100"))
        path.unlink()
        paper.unlink()
        box.cache.store(other, box.built[0])
    elif how == "record":
        paper.unlink()
    else:
        paper.write_text(json.dumps({**json.loads(paper.read_text()), "sha256": "0" * 64}))
    box.loaded.clear()
    box.said.clear()
    box.use()
    assert len(box.built) == 2
    assert set(box.loaded) == {box.built[1]}
    assert box.said[0].startswith("building the TensorRT engine of fp32: ")
    assert box.said[1].startswith("goldens pass")


def test_a_tf32_engine_is_built_so_beside_the_fp32_one(box: Bench) -> None:
    for name in ("fp32", "tf32", "tf32", "fp32"):
        with box.open(artifact=name) as network:
            assert network.describe().precision == name
    assert box.tf32 == [False, True]
    records = {record.key.precision: record for record in box.cache.records()}
    with box.open(artifact="tf32") as network:
        assert network.describe().engine == records["tf32"].sha256
    assert {name: record.proof and record.proof.tolerance for name, record in records.items()} == {
        "fp32": 1e-5,
        "tf32": 1e-3,
    }


def test_goldens_that_fail_keep_an_engine_out_until_they_pass(box: Bench) -> None:
    box.error = 0.5
    for _ in range(2):
        with pytest.raises(EngineError, match=r"fails the goldens on NVIDIA RTX A2000: max .*worst: golden \d"):
            box.use()
    assert len(box.built) == 1  # building it again would change nothing
    assert box.record().proof is None
    assert box.cuda.leaks() == {}
    box.error = 0.0
    box.use()
    assert box.record().proven_on(FAKE_GPU)


def test_an_engine_for_the_second_gpu_is_built_on_the_second_gpu(box: Bench) -> None:
    box.cuda.devices = 2
    build = box.build

    def watched(*given: Any, **options: Any) -> Built:
        box.cuda.calls.clear()
        done = build(*given, **options)
        assert box.cuda.calls == [("set_device", 1)]
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare_module, "build", watched)
        box.open(gpu=1).close()
    assert len(box.built) == 1


def test_an_engine_built_elsewhere_is_proven_on_the_box_at_first_use_and_after_a_new_driver(box: Bench) -> None:
    box.library = fake_library("rtx", "1.7.1.116")
    prepared = prepare(box.job(library=_knows(box.library), cuda=None, targets=("sm86", "sm89")), OptimisationProfile())
    assert prepared.record.proof is None
    assert prepared.record.note == NOT_PROVEN
    box.library = _knows(box.library)
    box.use()
    assert len(box.built) == 1
    assert box.record().proven_on(FAKE_GPU)
    assert [line[:12] for line in box.said] == ["goldens pass"]
    box.said.clear()
    box.cuda.gpu = NEW_DRIVER
    box.use()
    assert [line[:12] for line in box.said] == ["goldens pass"]
    assert len(box.built) == 1
    box.cuda.gpu = dataclasses.replace(FAKE_GPU, name="NVIDIA RTX 5060", compute_capability="12.0")
    box.use()
    assert len(box.built) == 2  # not one of its compute capabilities


def _knows(library: Library) -> Library:
    from types import SimpleNamespace

    trt = SimpleNamespace(__version__=library.version, ComputeCapability=SimpleNamespace(SM86=1, SM89=2))
    return dataclasses.replace(library, trt=trt)


def test_an_engine_for_larger_batches_is_used_and_a_too_small_one_is_not(box: Bench) -> None:
    prepare(box.job(), OptimisationProfile(best=16, most=16))
    box.use(max_batch=16)
    assert len(box.built) == 1
    box.use(max_batch=32)
    assert len(box.built) == 2
    assert "batches up to 16 → 32" in box.said[-2]


def test_a_unet_on_a_small_gpu_runs_at_batch_one_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = Bench(tmp_path, monkeypatch, task="segment")
    box.cuda.gpu = dataclasses.replace(FAKE_GPU, name="Orin", memory_bytes=7620 << 20)
    with box.open(32) as network:
        assert (network.max_batch, network.describe().profile) == (1, "1/1/1")
    assert box.said[0] == "Orin has 7.4 GiB: batches up to 1"
    assert str(box.record().key.profile) == "1/1/1"
    with box.open(4, insist=True) as network:  # whoever asks for it by name gets it, where it fits
        assert (network.max_batch, network.describe().profile) == (4, "1/4/4")


def test_what_does_not_fit_is_tried_smaller_and_its_profile_reported(box: Bench) -> None:
    box.use(max_batch=32)
    box.fits = 8
    with box.open(32) as network:
        assert (network.max_batch, network.describe().profile) == (8, "1/8/8")
    assert any(
        line.startswith("no memory for the engine of fp32 with batches up to 32; trying 8 (") for line in box.said
    )
    box.said.clear()
    box.open(32).close()
    assert not any(line.startswith("building") for line in box.said)


def test_where_nothing_fits_the_end_says_how_much_is_missing(box: Bench) -> None:
    box.fits = 0
    box.cuda.memory_bytes = 1 << 20
    with pytest.raises(
        DeviceError, match=r"batches up to 1 \(3 MiB more did not fit into 1 MiB: 2 MiB missing\)"
    ) as end:
        box.open()
    assert end.value.fix == "other programs off the GPU, another --artifact, or --device cpu"
    box.fits, box.cuda.memory_bytes = 64, 1000  # now for lack of room for a golden, 1024 bytes
    with pytest.raises(DeviceError, match=r"\(1,024 bytes more did not fit into 1,000 bytes: 24 bytes missing\)"):
        box.open()
    assert box.cuda.leaks() == {}


def test_export_tries_smaller_too_but_not_than_was_asked_for(box: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def build_it(**options: Any) -> None:
        asked = bundle_engines.EngineOptions(engine_cache=box.cache.folder, **options)
        built = bundle_engines.build_engines(
            box.bundle, asked, say=box.said.append, progress=lambda _: nullcontext(lambda share, phase: None)
        )
        for engine in built.values():
            if isinstance(engine, UserError):
                raise engine

    monkeypatch.setattr(bundle_engines.EngineOptions, "tools", lambda _: (box.library, ()))
    box.fits = 8
    build_it()
    assert [str(record.key.profile) for record in box.cache.records() if record.proof] == ["1/8/8"]
    box.cuda.memory_bytes = 1 << 20
    with pytest.raises(DeviceError, match=r"batches up to 16 .*missing.*--max-batch smaller") as end:
        build_it(max_batch=16)
    assert isinstance(end.value.__cause__, DeviceOutOfMemory)


def test_the_runtimes_compiled_kernels_are_kept_for_this_gpu_and_driver(box: Bench) -> None:
    box.library = _knows(fake_library("rtx", "1.7.1.116"))
    box.use()
    (kept,) = box.cache.folder.glob("runtime-*.cache")
    assert kept.read_bytes() == b"compiled"
    assert "NVIDIA_RTX_A2000-580.95.05" in kept.name


def test_an_engine_in_another_precision_than_its_name_is_reported(box: Bench) -> None:
    box.types = "fp16"
    box.use()
    assert any("does not compute in fp32: of its heavy layers 1 in fp16 (build log)" in line for line in box.said)
    assert box.record().as_built["heavy"] == {"fp16": 1}


def test_an_altered_model_is_refused_before_anything_is_built(box: Bench) -> None:
    (box.bundle.folder / "model.onnx").write_bytes(b"other weights")
    with pytest.raises(BundleError, match="altered"):
        box.use()
    assert box.built == []


def test_no_gpu_and_no_target_says_both_ways_out(box: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_engines, "gpu_here", lambda: False)
    with pytest.raises(DeviceError, match="--compute-capability sm86,sm89"):
        bundle_engines.EngineOptions().tools()
    with pytest.raises(EngineError, match="--trt-flavour rtx"):
        prepare(box.job(cuda=None, targets=("sm86",)), OptimisationProfile())
    with pytest.raises(DeviceError, match="not on the cpu"):
        open_tensorrt(box.bundle, box.bundle.artifact(), device=Device("cpu"), wanted=("logits",), max_batch=8)


def test_a_build_that_fails_leaves_nothing_in_the_cache(box: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Built:
        raise EngineError("TensorRT cannot build it: node_linear.", fix="another --precision")

    monkeypatch.setattr(prepare_module, "build", refuse)
    with pytest.raises(EngineError, match="node_linear"):
        box.use()
    assert box.cache.records() == []
    assert list(box.cache.folder.glob("*.engine")) == []


def test_artifacts_by_precision(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle", size=SIZE, crop=24)
    first = bundle.artifact()
    half = dataclasses.replace(first, name="fp16", precision="fp16")
    bundle = Bundle(bundle.folder, dataclasses.replace(bundle.manifest, artifacts=(first, half)), bundle.sha256)
    assert [a.name for a in artifacts_for(bundle)] == ["fp32", "fp16"]
    assert [a.name for a in artifacts_for(bundle, ("fp16", "fp16", "fp32"))] == ["fp16", "fp32"]
    cpu_only = dataclasses.replace(first, name="int8-cpu", precision="int8", runtimes=("onnxruntime", "openvino"))
    bundle = Bundle(
        bundle.folder, dataclasses.replace(bundle.manifest, artifacts=(first, half, cpu_only)), bundle.sha256
    )
    assert cpu_only not in artifacts_for(bundle)
    with pytest.raises(UserError, match="int8-cpu is not placed for TensorRT"):
        prepare(
            EngineJob(bundle=bundle, artifact=cpu_only, library=fake_library(), cache=EngineCache(tmp_path / "e")),
            OptimisationProfile(),
        )
    with pytest.raises(UserError, match=r"no int8 file for TensorRT \(it has: fp32, fp16, tf32\).*--int8"):
        artifacts_for(bundle, ("int8",))
